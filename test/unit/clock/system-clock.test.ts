/** The elapsed clock is never behind the monotonic, the wall or the boot clock, whatever any of them does (rule L6). */
import fc from "fast-check";
import { expect, test } from "vitest";

import { type Alarm, type ClockSource, SystemClock } from "../../../src/clock/system-clock.ts";

class Clocks implements ClockSource {
  monotonic = 1_000;
  wall = 1.8e12;
  boot: number | undefined = 5_000;

  monotonicMs(): number {
    return this.monotonic;
  }
  wallMs(): number {
    return this.wall;
  }
  bootMs(): number | undefined {
    return this.boot;
  }
  alarm(): Alarm {
    return { cancel: () => {}, hold: () => {} };
  }
  close(): void {}

  pass(ms: number): void {
    this.monotonic += ms;
    this.suspend(ms);
  }
  suspend(ms: number): void {
    this.wall += ms;
    if (this.boot !== undefined) this.boot += ms;
  }
}

function setUp(): { clocks: Clocks; clock: SystemClock; jumps: number[] } {
  const clocks = new Clocks();
  const jumps: number[] = [];
  return { clocks, jumps, clock: new SystemClock(clocks, (jump) => jumps.push(jump)) };
}

test("follows the monotonic clock", () => {
  const { clocks, clock, jumps } = setUp();
  const before = clock.now();
  clocks.pass(250);
  expect(clock.now() - before).toBe(250);
  expect(jumps).toEqual([]);
});

test("a step of the wall clock forward is time that has passed, and is reported", () => {
  const { clocks, clock, jumps } = setUp();
  const before = clock.now();
  clocks.pass(100);
  clocks.wall += 3_600_000;
  expect(clock.now() - before).toBe(3_600_100);
  expect(jumps).toEqual([3_600_000]);
});

test("a step of the wall clock back changes nothing", () => {
  const { clocks, clock } = setUp();
  const before = clock.now();
  clocks.wall -= 3_600_000;
  clocks.pass(100);
  expect(clock.now() - before).toBe(100);
  clocks.pass(100);
  expect(clock.now() - before).toBe(200);
});

test("time goes on after a step forward and back", () => {
  const { clocks, clock } = setUp();
  clocks.wall += 60_000;
  const stepped = clock.now();
  clocks.wall -= 60_000;
  clocks.pass(500);
  expect(clock.now() - stepped).toBe(500);
});

test("a suspend counts, even where a step of the wall clock hides it, 10 ms later", () => {
  const { clocks, clock } = setUp();
  const before = clock.now();
  clocks.suspend(10_000);
  clocks.wall -= 10_000;
  clocks.pass(10);
  expect(clock.now() - before).toBeGreaterThanOrEqual(10_000 - 12);
});

test("is never behind any clock by more than its noise, and never goes back", () => {
  const happening = fc.oneof(
    fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 0, max: 5_000 }) }),
    fc.record({ kind: fc.constant("suspend" as const), ms: fc.integer({ min: 0, max: 5_000 }) }),
    fc.record({ kind: fc.constant("step" as const), ms: fc.integer({ min: -5_000, max: 5_000 }) }),
  );
  fc.assert(
    fc.property(fc.array(happening, { maxLength: 30 }), (happenings) => {
      const { clocks, clock } = setUp();
      const start = { now: clock.now(), monotonic: clocks.monotonic, wall: clocks.wall, boot: clocks.boot };
      let last = start.now;
      for (const { kind, ms } of happenings) {
        if (kind === "pass") clocks.pass(ms);
        if (kind === "suspend") clocks.suspend(ms);
        if (kind === "step") clocks.wall += ms;
        const now = clock.now();
        const elapsed = now - start.now;
        expect(now).toBeGreaterThanOrEqual(last);
        expect(elapsed).toBeGreaterThanOrEqual(clocks.monotonic - start.monotonic);
        expect(elapsed).toBeGreaterThanOrEqual(clocks.wall - start.wall - 2);
        expect(elapsed).toBeGreaterThanOrEqual((clocks.boot ?? 0) - (start.boot ?? 0) - 12);
        last = now;
      }
    }),
  );
});
