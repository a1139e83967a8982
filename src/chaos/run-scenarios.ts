/** Scenarios of any origin, run where the caller says: what the command line and a user's own program have in common. */
import { randomInt } from "node:crypto";
import { availableParallelism } from "node:os";

import { obstacleTo } from "./real/abilities.ts";
import { RealWorld } from "./real/real-world.ts";
import type { ScenarioResult } from "./result.ts";
import type { Scenario } from "./scenario.ts";
import { SimulatedWorld, simulationObstacleTo } from "./simulated/simulated-world.ts";
import { runSuite } from "./suite.ts";
import type { World } from "./world.ts";

export interface RunOptions {
  /** What chance comes from: how long sections and rests last. Default: drawn; it is in every result. */
  readonly seed?: string | undefined;
  /** How many scenarios at once. At least 1; default one more than there are cores, since they mostly wait. */
  readonly concurrency?: number | undefined;
  /**
   * `redis://` URLs of nodes that exist. Nothing is done to them: scenarios that need to are not run. Default: servers are started for
   * each scenario, from `HOLDFAST_REDIS_SERVER`, or `redis-server` or `valkey-server` on PATH.
   */
  readonly nodes?: readonly string[] | undefined;
  /** On simulated servers and a virtual clock. Default false. */
  readonly simulated?: boolean | undefined;
  /** Hears of each as soon as it is over. `index`: its place among the scenarios. */
  readonly finished?: ((result: ScenarioResult, index: number) => void) | undefined;
}

/**
 * Resolves to the results in the order of the scenarios. What a scenario finds wrong is in its result; rejects only where the
 * scenarios could not be run at all, such as `RangeError` for an address that is none.
 */
export async function runScenarios(
  scenarios: Iterable<Scenario>,
  options: RunOptions = {},
): Promise<ScenarioResult[]> {
  const results: ScenarioResult[] = [];
  await runEach(scenarios, {
    ...options,
    finished: (result, index) => {
      results[index] = result;
      options.finished?.(result, index);
    },
  });
  return results;
}

/** The same without keeping the results: a long run has more histories than memory should hold. */
export async function runEach(scenarios: Iterable<Scenario>, options: RunOptions): Promise<void> {
  const { concurrency = availableParallelism() + 1, finished = () => {} } = options;
  if (!Number.isSafeInteger(concurrency) || concurrency < 1)
    throw new RangeError(`concurrency must be a whole number above 0, got ${concurrency}`);
  const seed = options.seed ?? drawnSeed();
  await runSuite({
    scenarios,
    seed,
    concurrency,
    open: (scenario, own) => worldFor(scenario, own, options),
    finished,
  });
}

export function drawnSeed(): string {
  return String(randomInt(1, 2 ** 40));
}

function worldFor(scenario: Scenario, seed: string, { simulated, nodes }: RunOptions): World | string {
  if (simulated === true) return simulationObstacleTo(scenario) ?? new SimulatedWorld(scenario, seed);
  return obstacleTo(scenario, nodes?.length) ?? new RealWorld(scenario, seed, { urls: nodes });
}
