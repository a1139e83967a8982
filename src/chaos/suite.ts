/** Runs scenarios, a few at a time, each in a world of its own; what a world cannot do is not run, and said so. */
import type { ScenarioResult } from "./result.ts";
import { runIn } from "./runner.ts";
import type { Scenario } from "./scenario.ts";
import type { World } from "./world.ts";

export interface Suite {
  readonly scenarios: readonly Scenario[];
  readonly seed: string;
  /** How many at once. */
  readonly concurrency: number;
  /** A world for this scenario, or why there is none, in words. */
  readonly open: (scenario: Scenario, seed: string) => World | string;
  /** Hears of each as soon as it is over. */
  readonly finished?: (result: ScenarioResult) => void;
}

/** Results come in the order of the scenarios. */
export async function runSuite({ scenarios, concurrency, ...terms }: Suite): Promise<ScenarioResult[]> {
  const results: ScenarioResult[] = [];
  const queue = scenarios.entries();
  const work = async (): Promise<void> => {
    for (const [index, scenario] of queue) results[index] = await runOne(scenario, terms);
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return results;
}

async function runOne(
  scenario: Scenario,
  { seed, open, finished }: Omit<Suite, "scenarios" | "concurrency">,
): Promise<ScenarioResult> {
  const own = `${seed}/${scenario.name}`;
  const world = open(scenario, own);
  const result: ScenarioResult =
    typeof world === "string"
      ? { verdict: "not run", scenario, reason: world }
      : await runIn(world, scenario, own);
  finished?.(result);
  return result;
}
