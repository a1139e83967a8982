/** Who goes when, where calls of one process want keys that overlap: in order, past those that are stuck, and nobody waits for good. */
import { setMaxListeners } from "node:events";

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { VirtualClock } from "../../../src/clock/virtual-clock.ts";
import { type Place, Turnstile } from "../../../src/wait/turnstile.ts";

type Spot = Place<string, string>;

function setUp() {
  const clock = new VirtualClock(1_000);
  const turnstile = new Turnstile<string, string>(clock);
  const join = (...keys: string[]): Spot => turnstile.join(keys, keys.join(""));
  /** As somebody who has what it came for. */
  const hold = (...keys: string[]): Spot => {
    const place = join(...keys);
    expect(place.isFirst).toBe(true);
    place.hold();
    return place;
  };
  return { clock, turnstile, join, hold };
}

describe("past somebody who is stuck", () => {
  test.each([[["a", "b"]], [["b", "a"]]])("whoever wants another key of %j goes at once", (both) => {
    const { turnstile, join, hold } = setUp();
    const b = hold("b");
    const ab = join(...both);
    expect(ab.isFirst).toBe(false);
    const a = join("a");
    expect(a.isFirst).toBe(true);
    a.hold();
    expect(join("b").isFirst).toBe(false);
    expect(join("a", "c").isFirst).toBe(false);
    expect(join("c").isFirst).toBe(true); // Past the one before, which waits for `a`.
    a.leave();
    b.leave();
    expect(ab.isFirst).toBe(true);
    expect(turnstile.waiting).toBe(2);
  });

  test("also where it was called, and the nodes say what it is stuck on", () => {
    const { join } = setUp();
    const ab = join("a", "b");
    const [early, other] = [join("a"), join("b")];
    expect([early.isFirst, other.isFirst]).toEqual([false, false]);
    ab.stuck(["b"]);
    expect([early.isFirst, other.isFirst]).toEqual([true, false]);
    ab.stuck(["a"]); // By the one that went past.
    expect(join("a").isFirst).toBe(false);
  });

  test("but not past one that has what it came for, nor one that may go", () => {
    const { join } = setUp();
    const ab = join("a", "b");
    ab.stuck(["b"]);
    ab.hold();
    expect(join("a").isFirst).toBe(false);
    const cd = join("c", "d");
    expect(cd.isFirst).toBe(true);
    expect(join("c").isFirst).toBe(false);
  });

  test("through chains: whoever waits for somebody that waits is stuck, too", () => {
    const { join, hold } = setUp();
    const d = hold("d");
    const places = [join("c", "d"), join("b", "c"), join("a", "b")];
    // `cd` waits for `d`, so `bc` goes past it, and `ab` waits for `bc`.
    expect(places.map(({ isFirst }) => isFirst)).toEqual([false, true, false]);
    expect(join("a").isFirst).toBe(true);
    d.leave();
    expect(places[0]?.isFirst).toBe(false);
    places[1]?.leave();
    expect(places[0]?.isFirst).toBe(true);
  });

  test("a lock is handed on past it", () => {
    const { join, hold } = setUp();
    hold("b");
    const ab = join("a", "b");
    const [first, second] = [join("a"), join("a")];
    first.hold();
    expect(first.after()).toBe(second);
    expect(second.hand("granted")).toBe(true);
    first.leave();
    expect([second.isFirst, ab.isFirst]).toEqual([true, false]);
  });
});

describe("whoever was passed", () => {
  test("is next once it could go but for those who went past, whatever comes meanwhile", () => {
    const { clock, join, hold } = setUp();
    const b = hold("b");
    const ab = join("a", "b");
    const a = join("a");
    a.hold();
    const later = join("a");
    b.leave(); // Only `a` is in its way now.
    const other = join("b");
    expect([other.isFirst, a.after(), ab.isFirst]).toEqual([false, undefined, false]);
    a.leave();
    expect([ab.isFirst, later.isFirst, other.isFirst]).toEqual([true, false, false]);
    ab.leave();
    expect([later.isFirst, other.isFirst]).toEqual([true, true]);
    expect(clock.pending).toBe(0);
  });

  test("keeps nobody from a key for long while a lease does not end, and once for each of those", async () => {
    const { clock, join, hold } = setUp();
    const b = hold("b");
    join("a", "b");
    join("a").hold();
    b.leave();
    const others = [join("b"), join("b")];
    await clock.advance(99);
    expect(others.map(({ isFirst }) => isFirst)).toEqual([false, false]);
    await clock.advance(1);
    expect(others.map(({ isFirst }) => isFirst)).toEqual([true, false]);
    others[0]?.leave(); // The same lease is still in its way: that is no other chance lost.
    expect(others[1]?.isFirst).toBe(true);
    expect(clock.pending).toBe(0);
  });

  test("asks for what its own process has last, so that the nodes say what else is taken", () => {
    const { join } = setUp();
    const ab = join("a", "b");
    expect(ab.inAskingOrder()).toBe(ab.keys);
    ab.stuck(["b"]);
    const a = join("a");
    a.hold();
    expect(ab.inAskingOrder()).toEqual(["b", "a"]);
    a.leave();
    expect(ab.inAskingOrder()).toBe(ab.keys);
  });

  test("leaves nothing behind when it gives up", async () => {
    const { clock, turnstile, join, hold } = setUp();
    const b = hold("b");
    const ab = join("a", "b");
    const a = join("a");
    a.hold();
    b.leave();
    const other = join("b");
    ab.leave();
    expect(other.isFirst).toBe(true);
    for (const place of [a, other]) place.leave();
    expect([clock.pending, turnstile.waiting, turnstile.isFree(["a", "b"])]).toEqual([0, 0, true]);
  });
});

/** Calls that come, hold and leave. `waitedMs` of each, in the order in which they came. */
async function run(
  calls: readonly { atMs: number; keys: readonly string[]; holdMs: number }[],
): Promise<number[]> {
  const { clock, turnstile } = setUp();
  const began = clock.now();
  const taken = new Set<string>();
  const waitedMs: number[] = calls.map(() => Infinity);
  const closing = new AbortController().signal;
  setMaxListeners(0, closing);
  calls.forEach(({ atMs, keys, holdMs }, index) =>
    clock.at(began + atMs, () => {
      const place = turnstile.join(keys, String(index));
      const came = clock.now();
      void place.turn({ deadline: Infinity, signal: undefined, closing }, clock).then(() => {
        expect(keys.some((key) => taken.has(key))).toBe(false);
        keys.forEach((key) => taken.add(key));
        waitedMs[index] = clock.now() - came;
        place.hold();
        clock.at(clock.now() + holdMs, () => {
          keys.forEach((key) => taken.delete(key));
          place.leave();
        });
      });
    }),
  );
  await clock.advance(60_000);
  expect([turnstile.waiting, clock.pending]).toEqual([0, 0]);
  return waitedMs;
}

describe("any mixture of overlapping keys", () => {
  test("is exclusive, ends, and leaves nothing", async () => {
    const keys = fc.uniqueArray(fc.constantFrom("a", "b", "c", "d"), { minLength: 1, maxLength: 4 });
    const call = fc.record({ atMs: fc.nat(200), keys, holdMs: fc.integer({ min: 1, max: 50 }) });
    const property = fc.asyncProperty(fc.array(call, { minLength: 2, maxLength: 30 }), async (calls) => {
      for (const waited of await run(calls)) expect(waited).toBeLessThan(60_000);
    });
    await fc.assert(property, { numRuns: 300 });
  });

  test.each([5, 50, 300, 1_500])(
    "whoever wants two keys is not starved by leases of %d ms that always overlap on one of them",
    async (holdMs) => {
      const stream = (key: string, offsetMs: number) =>
        Array.from({ length: 200 }, (_, turn) => ({
          atMs: offsetMs + turn * holdMs * 0.9,
          keys: [key],
          holdMs,
        }));
      const pair = { atMs: 0.7 * holdMs, keys: ["a", "b"], holdMs };
      const calls = [...stream("a", 0), ...stream("b", 0.5 * holdMs), pair].filter(
        ({ atMs }) => atMs < 20_000,
      );
      const waited = await run(calls);
      expect(waited.at(-1)).toBeLessThan(300 + 8 * holdMs);
    },
  );

  test("whoever wants one key that is free waits for nobody who is stuck for long", async () => {
    const calls = [
      { atMs: 0, keys: ["b"], holdMs: 30_000 },
      { atMs: 1, keys: ["a", "b"], holdMs: 10 },
      ...Array.from({ length: 100 }, (_, turn) => ({ atMs: 10 + 20 * turn, keys: ["a"], holdMs: 10 })),
    ];
    const [, pair, ...singles] = await run(calls);
    expect(singles).toEqual(singles.map(() => 0));
    expect(pair).toBeCloseTo(29_999, 0);
  });
});
