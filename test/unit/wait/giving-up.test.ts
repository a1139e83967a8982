/** Whoever gives up at the very moment of a grant leaves no lock behind: at every step between the answer and the lease. */
import { expect, test } from "vitest";

import { createLocker, type Lease } from "../../../src/index.ts";

async function steps(count: number): Promise<void> {
  for (let step = 0; step < count; step++) await Promise.resolve();
}

test("the quicker of two wins, and the other is given up", async () => {
  await using locker = createLocker({ mode: "memory" });
  let wins = 0;
  for (let late = 0; late < 40; late++) {
    const giveUp = new AbortController();
    const [one, other] = [`one:${late}`, `other:${late}`];
    const first = locker.acquire(one);
    const second: Promise<Lease | undefined> = locker
      .acquire(other, { signal: giveUp.signal })
      .catch(() => undefined);
    await steps(late);
    giveUp.abort();
    const lease = await second;
    if (lease !== undefined) wins++;
    await (await first).release();
    await lease?.release();
    await new Promise((resolve) => setTimeout(resolve, 2));
    for (const key of [one, other])
      expect((await locker.inspect(key)).holder, `${late}: ${key}`).toBeUndefined();
  }
  // Both outcomes are reached, or the story says nothing.
  expect(wins).toBeGreaterThan(0);
  expect(wins).toBeLessThan(40);
});

test("handed on to somebody who gives up meanwhile", async () => {
  await using locker = createLocker({ mode: "memory" });
  let wins = 0;
  for (let late = 0; late < 60; late++) {
    const giveUp = new AbortController();
    const key = `handed:${late}`;
    const first = await locker.acquire(key);
    const second: Promise<Lease | undefined> = locker
      .acquire(key, { signal: giveUp.signal })
      .catch(() => undefined);
    await steps(50);
    const released = first.release();
    await steps(late);
    giveUp.abort();
    const lease = await second;
    if (lease !== undefined) wins++;
    await released;
    await lease?.release();
    await new Promise((resolve) => setTimeout(resolve, 2));
    expect((await locker.inspect(key)).holder, `${late}`).toBeUndefined();
  }
  expect(wins).toBeGreaterThan(0);
  expect(wins).toBeLessThan(60);
});

test("closed at any step of an acquire, a hand-over, an extension or a release", async () => {
  await using other = createLocker({ mode: "memory" });
  for (let late = 0; late < 60; late++) {
    const locker = createLocker({ mode: "memory" });
    const keys = ["acquired", "handed", "extended", "released"].map((name) => `${name}:${late}`);
    const [acquired = "", handed = "", extended = "", released = ""] = keys;
    const [lease, waitedFor, done] = [
      await locker.acquire(extended).then(givenBackOnClose),
      await locker.acquire(handed),
      await locker.acquire(released),
    ];
    const calls: Promise<unknown>[] = [
      locker.acquire(acquired).then(givenBackOnClose),
      locker.acquire(handed).then(givenBackOnClose),
      waitedFor.release(),
      lease.extend(),
      done.release(),
    ];
    const settled = Promise.allSettled(calls);
    await steps(late);
    await locker.close();
    await settled;
    for (const key of keys) expect((await other.inspect(key)).holder, `${late}: ${key}`).toBeUndefined();
  }
});

/** A holder that stops as soon as it is told. */
function givenBackOnClose(lease: Lease): Lease {
  const { signal } = lease;
  if (signal.aborted) void lease.release();
  signal.addEventListener("abort", () => void lease.release());
  return lease;
}

test("a locker that closes waits for the work under its locks, and gives them back", async () => {
  await using locker = createLocker({ mode: "memory" });
  await using other = createLocker({ mode: "memory" });
  const work = locker.using("closing:work", () => new Promise((resolve) => setTimeout(resolve, 20, "done")));
  await locker.using("closing:started", () => {});
  await locker.close();
  expect((await other.inspect("closing:work")).holder).toBeUndefined();
  expect(await work).toBe("done");
});
