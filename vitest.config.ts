import { defineConfig } from "vitest/config";

/** Tests that start real servers and processes; everything else under test/ is a unit test, so none is forgotten. */
const contract = "test/contract/**/*.test.ts";
const integration = "test/integration/**/*.test.ts";
const chaos = "test/chaos/**/*.test.ts";

/** The harness forks processes, and Node 20 can run them only from build/. */
const forksProcesses = { globalSetup: ["scripts/build-before-tests.mjs"] };

/** The other end of the peer range: `npm run matrix`. */
const alias: Record<string, string> =
  process.env["HOLDFAST_TEST_IOREDIS"] === "5" ? { ioredis: "ioredis5" } : {};

export default defineConfig({
  resolve: { alias },
  test: {
    pool: "forks",
    // Real time is being measured: more workers than cores would measure the scheduler.
    maxWorkers: 2,
    // A rejection nobody handled fails the run; the library promises there is none.
    dangerouslyIgnoreUnhandledErrors: false,
    reporters: ["default", "./scripts/summary-reporter.mjs"],
    // The groups run one after the other, cheapest first: what is broken shows early, and what
    // measures time shares the machine only with its own kind.
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: [contract, integration, chaos],
          // What hangs ends; how long the others take is the machine's affair.
          testTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "contract",
          include: [contract],
          ...forksProcesses,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: [integration],
          ...forksProcesses,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          name: "chaos",
          include: [chaos],
          ...forksProcesses,
          // Scenarios mostly wait: as many at once as `npm run chaos` runs on two cores.
          maxConcurrency: 3,
          testTimeout: 120_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
