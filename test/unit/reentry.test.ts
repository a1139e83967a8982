/**
 * Re-entry where it was asked for, and what it costs a process: nothing that grows with its lockers, and no memory of work that is done.
 */
import { executionAsyncResource } from "node:async_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { describe, expect, test } from "vitest";

import { createLocker, type Locker } from "../../src/index.ts";

test("any number of lockers leave one mark on the promises of a process", async () => {
  const first = createLocker({ mode: "memory" });
  await first.using("reentry:marks", marks);
  const before = await first.using("reentry:marks", marks);
  const many = Array.from({ length: 50 }, () => createLocker({ mode: "memory" }));
  for (const [index, locker] of many.entries()) await locker.using(`reentry:marks:${index}`, () => {});
  expect(await first.using("reentry:marks", marks)).toBe(before);
  await Promise.all([first, ...many].map((locker) => locker.close()));
});

test("whoever did not ask for it waits for the stranger in whose context it runs", async () => {
  await using locker = createLocker({ mode: "memory" });
  const key = "reentry:strangers";
  const order: string[] = [];
  let stranger: Promise<unknown> = Promise.resolve();
  await locker.using(key, async () => {
    stranger = locker.using(key, () => order.push("stranger"));
    await new Promise((resolve) => setTimeout(resolve, 10));
    order.push("first");
  });
  await stranger;
  expect(order).toEqual(["first", "stranger"]);
});

test("within a lease that does not hold the key nothing runs", async () => {
  await using locker = createLocker({ mode: "memory" });
  await locker.using("reentry:held", async (lease) => {
    for (const [keys, code] of [
      ["reentry:other", "OPTION_RANGE"],
      [["reentry:held", "reentry:other"], "DEADLOCK"],
    ] as const)
      await expect(locker.using(keys, { within: lease }, () => "never")).rejects.toMatchObject({ code });
  });
});

test("a body that works within is waited for before the lock is given back", async () => {
  await using locker = createLocker({ mode: "memory" });
  await using others = createLocker({ mode: "memory" });
  const key = "reentry:within";
  let seen: unknown = "nothing";
  await locker.using(key, (lease) => {
    void locker.using(key, { within: lease }, async () => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      seen = await others.tryAcquire(key);
    });
  });
  expect(seen).toBeUndefined();
});

test("a using inside another locker's using of the same key waits like anybody else", async () => {
  await using mine = createLocker({ mode: "memory", reentrant: true });
  await using theirs = createLocker({ mode: "memory", reentrant: true });
  const key = "reentry:two-lockers";
  await mine.using(key, async () => {
    expect(theirs.depth(key)).toBe(0);
    await expect(theirs.using(key, { waitMs: 20 }, () => "never")).rejects.toMatchObject({
      code: "ACQUIRE_TIMEOUT",
    });
    await theirs.using(`${key}:other`, async (lease) => {
      expect(await mine.using(key, () => mine.depth(key))).toBe(2);
      expect(await theirs.using(`${key}:other`, (again) => again)).toBe(lease);
    });
  });
});

describe("a job that starts its successor inside its own using does not remember its ancestors", () => {
  test("when it starts it for later", async () => {
    await using locker = createLocker({ mode: "memory" });
    expect(await survivors(locker, (start) => void setTimeout(start, 2))).toBeLessThan(5);
  });

  test("when both are at work for a while", async () => {
    await using locker = createLocker({ mode: "memory" });
    const pause = () => new Promise((resolve) => setTimeout(resolve, 2));
    const overlap = async (start: () => void) => {
      await pause();
      start();
      await pause();
    };
    expect(await survivors(locker, overlap)).toBeLessThan(5);
  });
});

/** How many jobs of fifty something still remembers when the last is at work: its keys are held by its lease and by its context. */
async function survivors(
  locker: Locker,
  startNext: (start: () => void) => void | Promise<void>,
): Promise<number> {
  let ended = 0;
  let last: Promise<void> = Promise.resolve();
  const registry = new FinalizationRegistry(() => ended++);
  await new Promise<void>((resolve) => {
    const start = (left: number): void => {
      last = locker.using(`reentry:job:${left}`, async (lease) => {
        registry.register(lease.keys, undefined);
        if (left > 1) return startNext(() => start(left - 1));
        await collected();
        resolve();
      });
    };
    start(50);
  });
  await last;
  return 50 - ended;
}

function marks(): number {
  return Object.getOwnPropertySymbols(executionAsyncResource()).length;
}

async function collected(): Promise<void> {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    gc();
  }
}
