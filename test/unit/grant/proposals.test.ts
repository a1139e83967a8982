/** Proposals of one client are never equal and never below what it has learnt (rule C2). */
import fc from "fast-check";
import { expect, test } from "vitest";

import { Proposals } from "../../../src/grant/proposals.ts";

test("increase for every key, above every fence and floor learnt", () => {
  const step = fc.record({
    key: fc.constantFrom("a", "b"),
    tau: fc.integer({ min: 0, max: 1_000 }),
    learn: fc.option(fc.integer({ min: 0, max: 2_000 })),
    floor: fc.option(fc.integer({ min: 0, max: 1_500 }), { freq: 5 }),
  });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const proposals = new Proposals();
      const least: Record<string, number> = { a: 0, b: 0 };
      for (const { key, tau, learn, floor } of steps) {
        if (floor !== null) {
          proposals.learnFloor(floor);
          for (const each of Object.keys(least)) least[each] = Math.max(least[each] ?? 0, floor);
        }
        if (learn !== null) {
          proposals.learn([key], learn);
          least[key] = Math.max(least[key] ?? 0, learn);
        }
        const proposal = proposals.next([key], tau);
        expect(proposal).toBeGreaterThan(least[key] ?? 0);
        expect(proposal).toBeGreaterThanOrEqual(tau);
      }
    }),
  );
});

test("are the nodes' time where nothing is ahead of it", () => {
  const proposals = new Proposals();
  expect([proposals.next(["a"], 100), proposals.next(["a"], 100), proposals.next(["b"], 200)]).toEqual([
    100, 101, 200,
  ]);
});
