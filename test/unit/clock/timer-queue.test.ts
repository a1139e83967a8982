/** The heap of timers against a sorted list, cancels included. */
import fc from "fast-check";
import { expect, test } from "vitest";

import { TimerQueue } from "../../../src/clock/timer-queue.ts";

test("runs in order of time, then of arrival, and never what was cancelled", () => {
  const entry = fc.record({ at: fc.integer({ min: 0, max: 20 }), isCancelled: fc.boolean() });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 60 }), fc.infiniteStream(fc.nat()), (entries, chance) => {
      const queue = new TimerQueue();
      const ran: number[] = [];
      const timers = entries.map(({ at }, index) => queue.add(at, () => ran.push(index)));
      const order = entries
        .map((_, index) => index)
        .sort((a, b) => chance.next().value - chance.next().value || a - b);
      for (const index of order) if (entries[index]?.isCancelled) timers[index]?.cancel();
      for (let run = queue.takeDue(Infinity); run !== undefined; run = queue.takeDue(Infinity)) run();
      const expected = entries
        .map(({ at, isCancelled }, index) => ({ at, isCancelled, index }))
        .filter(({ isCancelled }) => !isCancelled)
        .sort((a, b) => a.at - b.at || a.index - b.index);
      expect(ran).toEqual(expected.map(({ index }) => index));
      expect(queue.size).toBe(0);
    }),
  );
});

test("takes nothing before its time", () => {
  const queue = new TimerQueue();
  queue.add(10, () => {});
  expect(queue.takeDue(9.999)).toBeUndefined();
  expect(queue.takeDue(10)).toBeDefined();
});
