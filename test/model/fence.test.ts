/**
 * Every interleaving of a small scope: no two leases share a fence (S3), a later one has a larger one (S2), and nothing is left on a
 * node that executed a release (S9). `npm run model` explores the full scope; what is wrong on purpose must be found here.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { explore, type Model } from "./explore.ts";
import { FenceProtocol } from "./fence-protocol.ts";
import { messagesByColumn, tabulate } from "./node-table.ts";
import { proposalOrders } from "./orders.ts";
import { refuted } from "./refuted.ts";
import { FENCE_RULE, nodeWith, productionNode } from "./specimen-nodes.ts";

const PATIENCE_MS = 60_000;

describe("the fence rule, over NodeState", () => {
  test.each(proposalOrders(3))(
    "holds on three nodes with proposals %i %i %i",
    { timeout: PATIENCE_MS },
    (...proposals) => {
      const { counterexample, states } = explore(
        new FenceProtocol({ nodes: 3, proposals, node: productionNode }),
      );
      expect(counterexample).toBeUndefined();
      expect(states).toBeGreaterThan(5_000);
    },
  );

  test.each(proposalOrders(2))(
    "holds on five nodes with proposals %i %i",
    { timeout: PATIENCE_MS },
    (...proposals) => {
      const model = new FenceProtocol({ nodes: 5, proposals, node: productionNode });
      expect(explore(model).counterexample).toBeUndefined();
    },
  );

  test("the tombstone is needed for S9 only", { timeout: PATIENCE_MS }, () => {
    const node = nodeWith({ ...FENCE_RULE, leavesTombstone: false });
    const model = new FenceProtocol({ nodes: 3, proposals: [1, 2, 3], node });
    expect(["S2", "S3"].map((property) => explore(model, property).counterexample)).toEqual([
      undefined,
      undefined,
    ]);
  });
});

describe("what is wrong is found", () => {
  test.each(refuted)("$name breaks $property", { timeout: PATIENCE_MS }, ({ model, property }) => {
    expect(explore(model, property).counterexample?.property).toBe(property);
  });

  test("the counters' shortest way back, from 2, 1, 0", () => {
    const model = refuted.find(({ name }) => name === "counters from 2, 1, 0")?.model;
    const trace = explore(model as Model, "S2").counterexample?.trace ?? [];
    const wins = trace.map((line) => /\w wins with token \d/.exec(line)?.[0]).filter(Boolean);
    expect(wins).toEqual(["A wins with token 3", "B wins with token 2"]);
  });
});

describe("the table of a node", () => {
  const proposals = [1, 2, 2, 3];

  test("is what NodeState answers to any sequence of messages", () => {
    const table = tabulate(productionNode, proposals);
    const messages = messagesByColumn(proposals.length);
    const sequences = fc.array(fc.nat(messages.length - 1), { maxLength: 60 });
    fc.assert(
      fc.property(sequences, (columns) => {
        const node = productionNode(proposals);
        let row = 0;
        for (const column of columns) {
          const isGranted = node.receive(messages[column] ?? { kind: "expiry" });
          expect(isGranted).toBe(table.granted[row]?.[column]);
          row = table.next[row]?.[column] ?? -1;
          expect(node.memory()).toEqual(table.memories[row]);
        }
      }),
    );
  });

  test.each(proposalOrders(4))(
    "is that of the rule whose mutants are explored, for %i %i %i %i",
    (...each) => {
      expect(tabulate(nodeWith(FENCE_RULE), each)).toEqual(tabulate(productionNode, each));
    },
  );
});

test("the explorer visits every state once, whatever the order of the nodes", () => {
  // Three nodes that count to nine: as many states as there are multisets of three from ten.
  const { states, counterexample } = explore(counting(undefined));
  expect(states).toBe(220);
  expect(counterexample).toBeUndefined();
});

test("the explorer shows the shortest way", () => {
  expect(explore(counting(3)).counterexample?.trace).toHaveLength(4);
});

function counting(forbidden: number | undefined): Model {
  return {
    nodes: 3,
    initial: new Uint32Array(3),
    steps(state, take) {
      for (const [node, count] of state.entries()) {
        if (count === 9) continue;
        const next = state.slice();
        next[node] = count + 1;
        const total = next.reduce((sum, each) => sum + each, 0);
        take(next, node, total === forbidden ? "forbidden" : undefined);
      }
    },
    describe: (node) => `n${node + 1} counts`,
    show: (state) => state.join(" "),
  };
}
