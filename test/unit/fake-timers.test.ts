/**
 * Programs under test replace the timers and clocks of the process, for a while. A locker goes on by the machine's: memory mode settles
 * under them, and no locker is left without its alarm when they are gone.
 */
import { afterEach, expect, test, vi } from "vitest";

import { createLocker, type Locker } from "../../src/index.ts";
import { failure } from "../harness/failure.ts";

/** All that fake timers can take of what a locker could use, as Jest does by default; here the test runner needs `nextTick`. */
const EVERYTHING = [
  "Date",
  "clearImmediate",
  "clearInterval",
  "clearTimeout",
  "hrtime",
  "performance",
  "queueMicrotask",
  "setImmediate",
  "setInterval",
  "setTimeout",
] as const;

const real = { setTimeout, now: performance.now.bind(performance) };
const lockers: Locker[] = [];

afterEach(async () => {
  vi.useRealTimers();
  vi.resetModules();
  await Promise.all(lockers.splice(0).map((locker) => locker.close({ withinMs: 0 })));
});

function fakeTimers(): void {
  // oxlint-disable-next-line no-restricted-properties -- what this file is about
  vi.useFakeTimers({ toFake: [...EVERYTHING] });
}

function memoryLocker(create = createLocker): Locker {
  const locker = create({ mode: "memory" });
  lockers.push(locker);
  return locker;
}

function realSleep(ms: number): Promise<void> {
  return new Promise((resolve) => real.setTimeout(resolve, ms));
}

async function realTimeOf(wait: () => Promise<unknown>): Promise<number> {
  const began = real.now();
  await wait();
  return real.now() - began;
}

test("memory mode acquires, hands on, waits, extends and tells of losses while everything is faked", async () => {
  const locker = memoryLocker();
  fakeTimers();
  const first = await locker.acquire("fake:a", { ttlMs: 1_000, autoExtend: true });
  const next = locker.acquire("fake:a");
  await first.release();
  const second = await next;
  expect(second.fence).toBeGreaterThan(first.fence);
  const tookMs = await realTimeOf(async () => {
    expect(await failure(locker.acquire("fake:a", { waitMs: 300 }))).toMatchObject({
      code: "ACQUIRE_TIMEOUT",
    });
  });
  expect(tookMs).toBeGreaterThanOrEqual(299);
  const [kept, unkept] = [
    await locker.acquire("fake:b", { ttlMs: 500, autoExtend: true }),
    await locker.acquire("fake:c", { ttlMs: 500 }),
  ];
  await realSleep(800);
  expect([kept.isHeld(), unkept.isHeld(), unkept.signal.aborted]).toEqual([true, false, true]);
  expect(await locker.using("fake:d", () => "done")).toBe("done");
});

test("time that is made to pass does not end a lease, nor does a date that is set", async () => {
  const locker = memoryLocker();
  const lease = await locker.acquire("fake:time", { ttlMs: 5_000 });
  fakeTimers();
  vi.setSystemTime(new Date("2099-01-01"));
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(lease.remainingMs()).toBeGreaterThan(3_000);
  vi.useRealTimers();
  expect(lease.remainingMs()).toBeGreaterThan(3_000);
});

test("a locker that was made and used under fakes works when they are gone", async () => {
  fakeTimers();
  const locker = memoryLocker();
  await locker.acquire("fake:gone");
  vi.useRealTimers();
  await everythingWorks(locker, "fake:gone:2");
});

test("a library that was loaded under fakes works when they are gone", async () => {
  fakeTimers();
  vi.resetModules();
  const { createLocker: create } = await import("../../src/index.ts");
  const locker = memoryLocker(create);
  const lease = await locker.acquire("fake:loaded", { ttlMs: 600, autoExtend: true });
  vi.useRealTimers();
  await everythingWorks(locker, "fake:loaded:2");
  expect(lease.isHeld()).toBe(true);
});

test("a setTimeout that somebody replaced by one that never rings takes nothing with it", async () => {
  const locker = memoryLocker();
  vi.stubGlobal("setTimeout", () => ({ ref: () => {}, unref: () => {} }));
  await locker.acquire("fake:stub");
  vi.unstubAllGlobals();
  await everythingWorks(locker, "fake:stub:2");
});

test("a DOM's timers, which are numbers, are no way to break a locker", async () => {
  vi.stubGlobal("setTimeout", () => 17);
  const locker = memoryLocker();
  expect(
    await failure(locker.acquire("fake:dom").then(() => locker.acquire("fake:dom", { waitMs: 50 }))),
  ).toMatchObject({
    code: "ACQUIRE_TIMEOUT",
  });
  vi.unstubAllGlobals();
});

/** Waits end, leases are extended, losses are told. */
async function everythingWorks(locker: Locker, key: string): Promise<void> {
  const [kept, unkept] = [
    await locker.acquire(key, { ttlMs: 500, autoExtend: true }),
    await locker.acquire(`${key}:unkept`, { ttlMs: 500 }),
  ];
  expect(await failure(locker.acquire(key, { waitMs: 200 }))).toMatchObject({ code: "ACQUIRE_TIMEOUT" });
  await new Promise((resolve) => unkept.signal.addEventListener("abort", resolve));
  await realSleep(600);
  expect([kept.isHeld(), kept.signal.aborted]).toEqual([true, false]);
}
