/** The fence rule, exhaustively in a small scope; and the explorer refutes what is known to be wrong. */
import { describe, expect, test } from "vitest";

import { counterModel } from "./counter-protocol.ts";
import { explore } from "./explore.ts";
import { fenceModel, type NodeRule, productionRule, weakOrders } from "./fence-protocol.ts";

/** A client with two attempts against one with one; `npm run model` has the whole scope. */
const CLIENTS = [[0, 1], [2]];
const ORDERS = weakOrders(3);

function firstCounterexample(rule: NodeRule): readonly string[] {
  for (const order of ORDERS) {
    const { counterexample } = explore(fenceModel(order, CLIENTS, rule));
    if (counterexample.length > 0) return counterexample;
  }
  return [];
}

/** The production rule with one of its answers changed. */
function bent(bend: (rule: NodeRule) => NodeRule): NodeRule {
  return bend(productionRule());
}

test("no two leases share or invert a fence, whatever is lost, late or doubled, and whenever locks expire (S2, S3)", () => {
  let states = 0;
  for (const order of ORDERS) {
    const result = explore(fenceModel(order, CLIENTS));
    expect(result.counterexample, `proposals ${order.join(" ")}`).toEqual([]);
    states += result.states;
  }
  expect(ORDERS).toHaveLength(13);
  expect(states).toBeGreaterThan(10_000);
});

describe("is refuted", () => {
  test("a node that grants an equal token (N7)", () => {
    const lax = bent(
      (rule) => (memory, request, attempt, proposal) =>
        request === "acquire" && memory.holder === -1 && proposal === memory.fence
          ? { memory: { fence: proposal, holder: attempt }, isGranted: true }
          : rule(memory, request, attempt, proposal),
    );
    expect(firstCounterexample(lax).at(-1)).toMatch(/^S[23]/);
  });

  test("a node that grants any token (N7)", () => {
    const blind = bent(
      (rule) => (memory, request, attempt, proposal) =>
        request === "acquire" && memory.holder === -1
          ? { memory: { fence: proposal, holder: attempt }, isGranted: true }
          : rule(memory, request, attempt, proposal),
    );
    expect(firstCounterexample(blind).at(-1)).toMatch(/^S[23]/);
  });

  test("a node that forgets its fence with the lock (N9)", () => {
    const forgetful = bent((rule) => (memory, request, attempt, proposal) => {
      const outcome = rule(
        memory.holder === -1 ? { ...memory, fence: 0 } : memory,
        request,
        attempt,
        proposal,
      );
      return outcome;
    });
    expect(firstCounterexample(forgetful).at(-1)).toMatch(/^S[23]/);
  });

  test("a counter on every node, its largest value written back", () => {
    const { counterexample } = explore(counterModel([2, 1, 0], 2));
    expect(counterexample.at(-1)).toBe("S2: attempt 2 has token 2 after a lease with 3");
  });
});

test("S9: where a release was executed, its own acquire never puts the lock back", () => {
  const rule = productionRule();
  for (const fence of [0, 1, 2, 3]) {
    for (const holder of [-1, 0, 1]) {
      for (const proposal of [1, 2, 3]) {
        const released = rule({ fence, holder }, "release", 0, proposal).memory;
        expect(released.holder).not.toBe(0);
        // Others may come between: fences only grow, and locks come and go.
        for (const between of [
          released,
          rule(released, "acquire", 1, 3).memory,
          { ...released, holder: -1 },
        ]) {
          expect(rule(between, "acquire", 0, proposal).memory.holder).not.toBe(0);
        }
      }
    }
  }
});
