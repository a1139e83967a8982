/**
 * The standard suite on real servers. Which faults hit, and when, is said by the scenarios; how long sections last comes from the seed.
 * A failure leaves its history behind: `npm run chaos -- --seed S --only NAME` runs it again, with a picture.
 */
import { randomInt } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { obstacleTo } from "../../src/chaos/real/abilities.ts";
import { RealWorld } from "../../src/chaos/real/real-world.ts";
import type { FinishedScenario } from "../../src/chaos/result.ts";
import { runIn } from "../../src/chaos/runner.ts";
import { SCENARIOS } from "../../src/chaos/scenarios/index.ts";

const SEED = process.env["HOLDFAST_CHAOS_SEED"] ?? String(randomInt(1, 2 ** 40));
const FOLDER = join("reports", "chaos-failures");

describe(`scenarios (seed ${SEED})`, () => {
  for (const scenario of SCENARIOS) {
    const obstacle = obstacleTo(scenario);
    const name = obstacle === undefined ? scenario.name : `${scenario.name} (not run: ${obstacle})`;
    test.skipIf(obstacle !== undefined).concurrent(name, async () => {
      const seed = `${SEED}/${scenario.name}`;
      const result = await runIn(new RealWorld(scenario, seed), scenario, seed);
      if (result.verdict === "failed") keep(result);
      expect({ failures: result.failures, violations: result.violations }).toEqual({
        failures: [],
        violations: [],
      });
    });
  }
});

function keep({ scenario, history }: FinishedScenario): void {
  mkdirSync(FOLDER, { recursive: true });
  const lines = history.map((event) => JSON.stringify(event));
  writeFileSync(join(FOLDER, `${scenario.name}.jsonl`), `${lines.join("\n")}\n`);
}
