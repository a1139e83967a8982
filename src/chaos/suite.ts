/** Runs scenarios, a few at a time, each in a world of its own; what a world cannot do is not run, and said so. */
import type { ScenarioResult } from "./result.ts";
import { runIn } from "./runner.ts";
import type { Scenario } from "./scenario.ts";
import type { World } from "./world.ts";

export interface Suite {
  /** Drawn one by one, so that there may be as many as there is time for. */
  readonly scenarios: Iterable<Scenario>;
  readonly seed: string;
  /** How many at once. */
  readonly concurrency: number;
  /** A world for this scenario, or why there is none, in words. */
  readonly open: (scenario: Scenario, seed: string) => World | string;
  /** Hears of each as soon as it is over. */
  readonly finished: (result: ScenarioResult, index: number) => void;
}

/** Resolves when all are over. */
export async function runSuite({ scenarios, concurrency, ...terms }: Suite): Promise<void> {
  const queue = scenarios[Symbol.iterator]();
  let started = 0;
  const work = async (): Promise<void> => {
    for (let next = queue.next(); next.done !== true; next = queue.next())
      await runOne(next.value, started++, terms);
  };
  await Promise.all(Array.from({ length: concurrency }, work));
}

async function runOne(
  scenario: Scenario,
  index: number,
  { seed, open, finished }: Omit<Suite, "scenarios" | "concurrency">,
): Promise<void> {
  const own = `${seed}/${scenario.name}`;
  const world = open(scenario, own);
  const result: ScenarioResult =
    typeof world === "string"
      ? { verdict: "not run", scenario, reason: world }
      : await world.run(runIn(world, scenario, own));
  finished(result, index);
}
