/** What each entry of the package exports at run time, and that no other entries are there: whoever changes this changes what others depend on. */
import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

const SURFACE: Readonly<Record<string, { readonly file: string; readonly names: readonly string[] }>> = {
  ".": {
    file: "index",
    names: [
      "AcquireTimeoutError",
      "CHANNEL_NAME",
      "ConfigError",
      "DeadlockError",
      "HoldfastError",
      "LeaseLostError",
      "LockerClosedError",
      "OptionRangeError",
      "QueueFullError",
      "QuorumUnreachableError",
      "createLocker",
      "exponentialRetry",
      "fixedRetry",
      "isHoldfastError",
      "loadConfig",
    ],
  },
  "./chaos": {
    file: "chaos/index",
    names: ["SCENARIOS", "chaosCommand", "drawScenario", "renderReport", "renderTable", "runScenarios"],
  },
  "./iovalkey": { file: "iovalkey/index", names: ["iovalkey"] },
  "./node-redis": { file: "node-redis/index", names: ["nodeRedis"] },
  "./opentelemetry": { file: "observe/opentelemetry", names: ["openTelemetryObserver"] },
  "./prometheus": { file: "observe/prometheus", names: ["prometheusObserver"] },
  "./redlock": {
    file: "redlock/index",
    names: ["ExecutionError", "Lock", "Redlock", "ResourceLockedError", "default"],
  },
  "./sim": { file: "sim/index", names: ["CALM", "Simulation"] },
};

const ENTRIES: Readonly<Record<string, () => Promise<object>>> = {
  index: () => import("../../src/index.ts"),
  "chaos/index": () => import("../../src/chaos/index.ts"),
  "iovalkey/index": () => import("../../src/iovalkey/index.ts"),
  "node-redis/index": () => import("../../src/node-redis/index.ts"),
  "observe/opentelemetry": () => import("../../src/observe/opentelemetry.ts"),
  "observe/prometheus": () => import("../../src/observe/prometheus.ts"),
  "redlock/index": () => import("../../src/redlock/index.ts"),
  "sim/index": () => import("../../src/sim/index.ts"),
};

test.each(Object.entries(SURFACE))("%s", async (_, { file, names }) => {
  expect(Object.keys((await ENTRIES[file]?.()) ?? {}).sort()).toEqual(names);
});

test("there are no other entries", () => {
  const { exports } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    exports: Record<string, { default: string } | string>;
  };
  const { "./package.json": own, ...entries } = exports;
  expect(own).toBe("./package.json");
  const files = Object.entries(entries).map(([name, target]) => [
    name,
    (target as { default: string }).default,
  ]);
  expect(Object.fromEntries(files)).toEqual(
    Object.fromEntries(Object.entries(SURFACE).map(([name, { file }]) => [name, `./dist/${file}.js`])),
  );
});
