/** The elapsed clock is never behind the monotonic, the wall or the boot clock, whatever any of them does (rule L6). */
import fc from "fast-check";
import { expect, test } from "vitest";

import { type Alarm, type ClockSource, SystemClock } from "../../../src/clock/system-clock.ts";

class Clocks implements ClockSource {
  monotonic = 1_000;
  wall = 1.8e12;
  boot: number | undefined = 5_000;
  /** What is read in place of it. */
  lie: ((bootMs: number | undefined) => number | undefined) | undefined;
  readonly alarms: { readonly delayMs: number; readonly ring: () => void; isCancelled: boolean }[] = [];

  monotonicMs(): number {
    return this.monotonic;
  }
  wallMs(): number {
    return this.wall;
  }
  bootMs(): number | undefined {
    return this.lie === undefined ? this.boot : this.lie(this.boot);
  }
  alarm(delayMs: number, ring: () => void): Alarm {
    const alarm = { delayMs, ring, isCancelled: false };
    this.alarms.push(alarm);
    return { cancel: () => (alarm.isCancelled = true), hold: () => {} };
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

interface Setting {
  readonly clocks: Clocks;
  readonly clock: SystemClock;
  readonly jumps: number[];
  readonly dropped: string[];
}

function setUp(clocks = new Clocks()): Setting {
  const [jumps, dropped]: [number[], string[]] = [[], []];
  const clock = new SystemClock(
    clocks,
    (jump) => jumps.push(jump),
    (detail) => dropped.push(detail),
  );
  return { clocks, jumps, dropped, clock };
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

test("a suspend counts, even where a step of the wall clock takes more back than it gave, 10 ms later", () => {
  const { clocks, clock } = setUp();
  const before = clock.now();
  clocks.suspend(10_000);
  clocks.wall -= 10_037;
  clocks.pass(10);
  expect(clock.now() - before).toBeGreaterThanOrEqual(10_000 - 12);
});

test("a suspend between the readings of two clocks counts once", () => {
  const { clocks, clock, jumps, dropped } = setUp();
  clocks.pass(10);
  const before = clock.now();
  clocks.pass(10);
  clocks.lie = (boot) => {
    clocks.lie = undefined;
    clocks.suspend(60_000);
    return (boot ?? 0) + 60_000;
  };
  expect(clock.now() - before).toBe(60_010);
  expect([jumps, dropped]).toEqual([[60_000], []]);
});

/** What /proc/uptime was seen to be in containers, and what it may be. */
const LIES: Readonly<Record<string, (boot: number | undefined, reading: number) => number | undefined>> = {
  "fails (lxcfs was restarted)": () => {
    throw Object.assign(new Error("ENOTCONN: socket is not connected, read"), { code: "ENOTCONN" });
  },
  "throws something that is no error": () => {
    // oxlint-disable-next-line typescript/only-throw-error -- what it may be
    throw null;
  },
  "is no number": () => Number.NaN,
  "is endless": () => Infinity,
  "jumps by an hour": (boot = 0) => boot + 3_600_000,
  "jumps by half a second": (boot = 0) => boot + 500,
  "goes back": (boot = 0) => boot - 4_000,
  "stands still": () => 5_000,
  "counts in seconds": (boot = 0) => Math.floor(boot / 1_000) * 1_000,
  "counts in minutes": (boot = 0) => Math.floor(boot / 60_000) * 60_000,
  "is another one every time": (boot = 0, reading) => boot + (reading % 2) * 90_000,
};

test.each(Object.keys(LIES))("a boot clock that %s is dropped, once, and costs no time", (name) => {
  const { clocks, clock, jumps, dropped } = setUp();
  const before = clock.now();
  let readings = 0;
  clocks.lie = (boot) => LIES[name]?.(boot, ++readings);
  for (let ms = 0; ms < 120_000; ms += 20) {
    clocks.pass(20);
    clock.now();
  }
  expect(clock.now() - before).toBe(120_000);
  expect([jumps, dropped.length]).toEqual([[], 1]);
  const last = readings;
  clocks.suspend(30_000);
  expect(clock.now() - before).toBe(150_000);
  expect([jumps, readings]).toEqual([[30_000], last]);
});

test("a boot clock that is nonsense from the beginning is dropped", () => {
  const clocks = new Clocks();
  clocks.lie = () => Number.NaN;
  const { clock, dropped } = setUp(clocks);
  const before = clock.now();
  clocks.pass(100);
  expect(clock.now() - before).toBe(100);
  expect(dropped).toEqual(["what it says is no time"]);
});

test("a wall clock that says no time for a while changes nothing", () => {
  const { clocks, clock, jumps } = setUp();
  const before = clock.now();
  const { wall } = clocks;
  clocks.wall = Number.NaN;
  clocks.monotonic += 100;
  expect(clock.now() - before).toBe(100);
  clocks.wall = wall + 100;
  clocks.suspend(5_000);
  expect(clock.now() - before).toBe(5_100);
  expect(jumps).toEqual([5_000]);
});

test("nor one that says none in the beginning", () => {
  const clocks = new Clocks();
  const { wall } = clocks;
  clocks.wall = Number.NaN;
  const { clock, jumps } = setUp(clocks);
  clocks.wall = wall;
  const before = clock.now();
  clocks.suspend(5_000);
  expect(clock.now() - before).toBe(5_000);
  expect(jumps).toEqual([5_000]);
});

test("time goes on at the pace it is told, and alarms come in time", () => {
  const { clocks, clock } = setUp();
  const before = clock.now();
  clock.at(before + 625, () => {});
  clock.follow(1.25, 0);
  expect(clock.now()).toBeCloseTo(before, 6);
  expect(clocks.alarms.map(({ delayMs, isCancelled }) => [delayMs, isCancelled])).toEqual([
    [625, true],
    [500, false],
  ]);
  clocks.pass(100);
  expect(clock.now() - before).toBeCloseTo(125, 6);
  clock.follow(1, 40);
  expect(clock.glance() - before).toBeCloseTo(165, 6);
  clocks.pass(100);
  expect(clock.now() - before).toBeCloseTo(265, 6);
});

test("an alarm that never rang is set again by whatever happens next", () => {
  const { clocks, clock } = setUp();
  const rang: string[] = [];
  clock.at(clock.now() + 100, () => rang.push("first"));
  clocks.pass(400); // A fake timer took it.
  clock.now();
  expect(clocks.alarms.map(({ delayMs, isCancelled }) => [delayMs, isCancelled])).toEqual([
    [100, true],
    [0, false],
  ]);
  clocks.pass(400); // The next one, too.
  clock.at(clock.glance() + 10_000, () => {});
  expect(clocks.alarms).toHaveLength(3);
  clocks.alarms[2]?.ring();
  expect(rang).toEqual(["first"]);
  expect(clocks.alarms).toHaveLength(4);
});

test("an alarm that was lost while nobody waited is not waited for by the next one", () => {
  const { clocks, clock } = setUp();
  clock.at(clock.now() + 100, () => {}).cancel();
  for (let second = 0; second < 3; second++) {
    clocks.pass(1_000);
    clock.now();
  }
  clock.at(clock.now() + 500, () => {});
  expect(clocks.alarms.map(({ delayMs, isCancelled }) => [delayMs, isCancelled])).toEqual([
    [100, true],
    [500, false],
  ]);
});

test("an alarm that is only a little late is left alone", () => {
  const { clocks, clock } = setUp();
  clock.at(clock.now() + 100, () => {});
  clocks.pass(200);
  clock.now();
  clock.at(clock.glance() + 10_000, () => {});
  expect(clocks.alarms).toHaveLength(1);
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
