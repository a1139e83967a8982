/** The standard suite on simulated servers: what it says of a lock does not depend on a machine, and the same seed says it again. */
import { describe, expect, test } from "vitest";

import { drawScenario } from "../../../src/chaos/random.ts";
import type { FinishedScenario } from "../../../src/chaos/result.ts";
import { runIn } from "../../../src/chaos/runner.ts";
import type { Scenario } from "../../../src/chaos/scenario.ts";
import { SCENARIOS } from "../../../src/chaos/scenarios/index.ts";
import { SimulatedWorld, simulationObstacleTo } from "../../../src/chaos/simulated/simulated-world.ts";

function simulated(scenario: Scenario, seed: string): Promise<FinishedScenario> {
  const world = new SimulatedWorld(scenario, seed);
  return world.run(runIn(world, scenario, seed));
}

const able = SCENARIOS.filter((scenario) => simulationObstacleTo(scenario) === undefined);

test("most scenarios can be simulated", () => {
  expect(able.length).toBeGreaterThan(SCENARIOS.length / 2);
});

describe("each passes, and the same seed gives the same history", () => {
  test.each(able.map((scenario) => [scenario.name, scenario] as const))("%s", async (_, scenario) => {
    const result = await simulated(scenario, "1");
    expect({ failures: result.failures, violations: result.violations }).toEqual({
      failures: [],
      violations: [],
    });
    const again = await simulated(scenario, "1");
    expect(told(again)).toBe(told(result));
  });
});

function told({ history }: FinishedScenario): string {
  return JSON.stringify(history);
}

test("a scenario that expects what does not happen fails, in words", async () => {
  const scenario: Scenario = {
    name: "wrong",
    title: "Two of three nodes die, and the holder is expected to keep its lease.",
    work: { kind: "long-hold" },
    steps: [{ once: { client: 1, has: "acquired" }, fault: { do: "kill", nodes: [1, 2] } }],
    afterMs: 1_500,
    expect: { outcomes: [{ is: "kept", client: 1 }] },
  };
  const { verdict, failures } = await simulated(scenario, "1");
  expect(verdict).toBe("failed");
  expect(failures.join()).toContain("c1 should have kept its lease");
});

test("a cue that never comes fails the scenario, and ends it", async () => {
  const scenario: Scenario = {
    name: "in-vain",
    title: "Nobody is lost, and somebody waits for it.",
    work: { kind: "mutex" },
    steps: [{ once: { client: 1, has: "lost" }, fault: { do: "kill", nodes: [1] } }],
    expect: {},
  };
  const { failures } = await simulated(scenario, "1");
  expect(failures.join()).toContain("waited 10000 ms in vain for this: client 1 has lost");
});

test("drawn scenarios keep to the seed, and within the assumptions", () => {
  const rounds = Array.from({ length: 200 }, (_, index) => drawScenario("s", index + 1));
  expect(drawScenario("s", 7)).toEqual(rounds[6]);
  for (const { steps, cluster, expect: expected } of rounds) {
    const nodes = cluster?.nodes ?? 3;
    const wrong = new Set(
      steps.flatMap(({ fault }) => (/clock/.test(fault.do) && "nodes" in fault ? fault.nodes : [])),
    );
    expect(wrong.size).toBeLessThan(nodes / 2);
    expect(steps.some(({ fault }) => fault.do === "swing the clock")).toBe(false);
    expect(expected.breaks).toBeUndefined();
  }
});
