/** Proposals are above all that was learnt and could be granted, and never so far ahead that they could not be (rules C2, N8). */
import fc from "fast-check";
import { expect, test } from "vitest";

import { Proposals } from "../../../src/grant/proposals.ts";

const LEAD_MS = 1;
const LEAD_US = 1_000;

function raise(values: Record<string, number>, key: string, value: number): void {
  values[key] = Math.max(values[key] ?? 0, value);
}

test("are above every fence and floor learnt that a node could have accepted, and within the lead", () => {
  const step = fc.record({
    key: fc.constantFrom("a", "b"),
    tau: fc.integer({ min: 0, max: 1_000 }),
    learn: fc.option(fc.integer({ min: 0, max: 2_000 })),
    floor: fc.option(fc.integer({ min: 0, max: 1_500 }), { freq: 5 }),
  });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const proposals = new Proposals(LEAD_MS);
      const least: Record<string, number> = { a: 0, b: 0 };
      const largestLearnt: Record<string, number> = { a: 0, b: 0 };
      let largestMade = 0;
      for (const { key, tau, learn, floor } of steps) {
        if (floor !== null) {
          proposals.learnFloor(floor);
          for (const each of Object.keys(least)) raise(least, each, floor);
          for (const each of Object.keys(least)) raise(largestLearnt, each, floor);
        }
        if (learn !== null) {
          proposals.learn([key], learn);
          raise(largestLearnt, key, learn);
          // What is below its own proposals need not be remembered, even where its clock goes back behind both.
          if (learn >= largestMade) raise(least, key, learn);
        }
        // Its clock has gone back behind its own proposals: what they had covered is forgotten.
        if (largestMade >= tau + LEAD_US) {
          for (const each of Object.keys(least)) if ((least[each] ?? 0) < largestMade) least[each] = 0;
          largestMade = 0;
        }
        const proposal = proposals.next([key], tau);
        if ((largestLearnt[key] ?? 0) < tau + LEAD_US) expect(proposal).toBeGreaterThan(least[key] ?? 0);
        expect(proposal).toBeLessThanOrEqual(tau + LEAD_US);
        expect(proposal).toBeGreaterThanOrEqual(tau);
        largestMade = Math.max(largestMade, proposal);
      }
    }),
  );
});

test("are the nodes' time where nothing is ahead of it", () => {
  const proposals = new Proposals(LEAD_MS);
  expect([proposals.next(["a"], 100), proposals.next(["a"], 100), proposals.next(["b"], 200)]).toEqual([
    100, 101, 200,
  ]);
});

test("are never made twice for a key, though its fence or the floor is ahead of the nodes' time", () => {
  const proposals = new Proposals(LEAD_MS);
  proposals.learnFloor(500);
  proposals.learn(["b"], 600);
  const made = [100, 101, 102].flatMap((tau) => [proposals.next(["a"], tau), proposals.next(["b"], tau)]);
  expect(made).toEqual([501, 601, 502, 602, 503, 603]);
});

test("come back when the estimate was wrong: a jump of the client's clock must not shut it out for as long as it jumped", () => {
  const proposals = new Proposals(LEAD_MS);
  const hourUs = 3_600_000_000;
  expect(proposals.next(["a"], hourUs + 100)).toBe(hourUs + 100);
  expect(proposals.next(["a"], 200)).toBe(200);
});

test("are not led astray by one node whose fence nobody else could accept", () => {
  const proposals = new Proposals(LEAD_MS);
  proposals.learn(["a"], 1_000_000);
  expect(proposals.next(["a"], 100)).toBe(100);
});
