/** The swarm: a fixed set of seeds, and a fresh one that is printed when it finds something. */
import { randomInt } from "node:crypto";

import { expect, test } from "vitest";

import { runSeed } from "../../../src/sim/swarm.ts";

const RUNS = 100;
const FRESH = randomInt(1, 2 ** 40);

test.each([
  ["fixed seeds", 1],
  ["fresh seeds", FRESH],
])("%s keep every property", { timeout: 120_000 }, async (_, from) => {
  let leases = 0;
  for (let seed = from; seed < from + RUNS; seed++) {
    const { history, violations } = await runSeed(String(seed));
    expect(violations, `replay: npm run sim -- --seed ${seed}`).toEqual([]);
    leases += history.filter(({ type }) => type === "acquired").length;
  }
  // Runs in which nothing is ever acquired would keep every property, too.
  expect(leases).toBeGreaterThan(5 * RUNS);
});
