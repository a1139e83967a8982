/**
 * What `close` means to those who hold locks: they are told at once, and nobody gets in beside them while they stop. In every mode; two
 * lockers stand for two processes, and holders are counted.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { sleep, waitFor } from "../../src/chaos/machine/wait-for.ts";
import { type Cluster, startCluster } from "../../src/chaos/servers/cluster.ts";
import {
  createLocker,
  type Lease,
  LeaseLostError,
  type Locker,
  LockerClosedError,
  type LockerOptions,
} from "../../src/index.ts";
import { failure } from "../harness/failure.ts";

const TTL_MS = 1_500;

const SETTINGS = [
  { name: "memory", servers: 0, mode: "memory" },
  { name: "single", servers: 1, mode: "single" },
  { name: "quorum of 3", servers: 3, mode: "quorum" },
] as const;

describe.each(SETTINGS)("$name", ({ name, servers, mode }) => {
  let cluster: Cluster;
  const lockers: Locker[] = [];
  let keys = 0;
  let key: string;

  beforeAll(async () => {
    cluster = await startCluster(servers);
    await using operator = createLocker(options());
    await operator.init();
  });
  afterAll(() => cluster.stop());
  afterEach(async () => {
    await Promise.all(lockers.splice(0).map((locker) => locker.close({ withinMs: 0 })));
  });

  function options(): LockerOptions {
    const nodes = mode === "memory" ? {} : { nodes: cluster.urls };
    return { mode, ttlMs: TTL_MS, nodeTimeoutMs: TTL_MS / 3, ...nodes } as LockerOptions;
  }

  async function client(): Promise<Locker> {
    const locker = createLocker(options());
    lockers.push(locker);
    await locker.ready();
    key = `closing:${name}:${keys++}`;
    return locker;
  }

  /** Works under the key as long as it is told, whatever the signal says. */
  class Workshop {
    most = 0;
    isClosed = false;
    #inside = 0;

    work(ms: number): (lease: Lease) => Promise<number> {
      return async (lease) => {
        this.most = Math.max(this.most, ++this.#inside);
        await sleep(ms);
        this.#inside--;
        return lease.fence;
      };
    }
  }

  test("whoever works is told at once, and nobody works beside it until it has settled", async () => {
    const [mine, theirs] = [await client(), await client()];
    const shop = new Workshop();
    let told: unknown;
    const one = mine.using(key, (lease) => {
      lease.signal.addEventListener("abort", () => (told = lease.signal.reason));
      return shop.work(600)(lease);
    });
    await waitFor(() => shop.most === 1, { what: "the first is at work" });
    const other = theirs.using(key, shop.work(50));
    const closing = mine.close();
    expect(told).toBeInstanceOf(LeaseLostError);
    expect(told).toMatchObject({ code: "LEASE_LOST", lossCause: "closed" });
    void closing.then(() => (shop.isClosed = true));
    const fence = await one; // It was done under the lock to its end, so it counts.
    expect(shop.isClosed).toBe(false);
    await closing;
    expect(await other).toBeGreaterThan(fence);
    expect(shop.most).toBe(1);
  });

  test("whoever does not stop has the lock to the end of its validity, and not longer", async () => {
    const [mine, theirs] = [await client(), await client()];
    let validMs = 0;
    let stop = (): void => {};
    const stubborn = mine.using(key, async (lease) => {
      await sleep(TTL_MS); // It is extended as long as the locker is open.
      validMs = lease.remainingMs();
      void mine.close();
      expect(await theirs.tryAcquire(key)).toBeUndefined();
      expect(lease.isHeld()).toBe(true);
      expect(() => lease.assertHeld()).toThrow(LeaseLostError);
      expect(await failure(lease.extend())).toMatchObject({ lossCause: "closed" });
      await new Promise<void>((resolve) => (stop = resolve));
    });
    await waitFor(() => validMs > 0, { what: "it closes" });
    const next = await theirs.acquire(key, { waitMs: 5 * TTL_MS });
    await mine.close(); // Though the body is still at work.
    stop();
    expect(await failure(stubborn)).toMatchObject({ code: "LEASE_LOST", lossCause: "closed" });
    expect(next.isHeld()).toBe(true);
  });

  test("a lease of acquire is told, and its holder gives it back", async () => {
    const [mine, theirs] = [await client(), await client()];
    const lease = await mine.acquire(key, { autoExtend: true });
    const events: string[] = [];
    lease.signal.addEventListener("abort", () => events.push("told"));
    const closing = mine.close().then(() => events.push("closed"));
    events.push("asked");
    await sleep(200);
    expect(lease.isHeld()).toBe(true);
    expect(mine.leases()).toEqual([]);
    expect(await theirs.tryAcquire(key)).toBeUndefined();
    events.push("releases");
    expect(await lease.release()).toMatchObject({ outcome: "released" });
    await closing;
    expect(events).toEqual(["told", "asked", "releases", "closed"]);
    expect(await theirs.tryAcquire(key)).toBeDefined();
  });

  test("a release on the spot, and one that is under way, are waited for", async () => {
    const [mine, theirs] = [await client(), await client()];
    const [a, b] = [await mine.acquire(`${key}:a`), await mine.acquire(`${key}:b`)];
    a.signal.addEventListener("abort", () => void a.release());
    void b.extend();
    void b.release();
    await mine.close();
    expect(await theirs.tryAcquire([`${key}:a`, `${key}:b`])).toBeDefined();
  });

  test("within a time that is over nothing is freed: what is still held expires", async () => {
    const [mine, theirs] = [await client(), await client()];
    const shop = new Workshop();
    const one = mine.using(key, shop.work(700));
    const left = await mine.acquire(`${key}:left`);
    await waitFor(() => shop.most === 1, { what: "the first is at work" });
    await Promise.race([
      mine.close({ withinMs: 50 }),
      one.then(() => expect.unreachable("it waited for the body")),
    ]);
    expect(left.isHeld()).toBe(true);
    expect(await theirs.tryAcquire(`${key}:left`)).toBeUndefined();
    const other = theirs.using(key, { waitMs: 5 * TTL_MS }, shop.work(10));
    expect(await one).toBeGreaterThan(0);
    expect(await left.release()).toMatchObject({ outcome: "uncertain" });
    expect((await left.release()).uncertain).toHaveLength(Math.max(1, servers));
    await other;
    expect(shop.most).toBe(1);
  });

  test("closed twice, the earliest end counts", async () => {
    const mine = await client();
    const lease = await mine.acquire(key);
    const settled = [
      mine.close(),
      mine.close({ withinMs: 60_000 }),
      mine.close({ withinMs: 30 }),
      mine.close(),
    ];
    await Promise.all(settled);
    expect(lease.isHeld()).toBe(true);
    await Promise.all([mine.close(), mine.close({ withinMs: 10 }), mine[Symbol.asyncDispose]()]);
  });

  test("whoever waits is refused at once, though a holder takes its time", async () => {
    const [mine, theirs] = [await client(), await client()];
    const other = await theirs.acquire(`${key}:theirs`, { autoExtend: true });
    const lease = await mine.acquire(key, { autoExtend: true });
    const waiting = [
      mine.acquire(key),
      mine.acquire(`${key}:theirs`),
      mine.using(key, () => "never"),
      mine.using(key, { within: lease }, async () => {
        await sleep(50);
        return mine.acquire(`${key}:more`);
      }),
    ].map(failure);
    await sleep(20);
    void mine.close();
    for (const error of await Promise.all(waiting)) expect(error).toBeInstanceOf(LockerClosedError);
    expect(lease.isHeld()).toBe(true);
    expect(await failure(mine.using(key, { within: lease }, () => "never"))).toMatchObject({
      lossCause: "closed",
    });
    await lease.release();
    await mine.close();
    await other.release();
  });

  test("bodies that work within a lease of using are waited for", async () => {
    const [mine, theirs] = [await client(), await client()];
    const shop = new Workshop();
    let inner: Promise<unknown> = Promise.resolve();
    void mine.using(key, (lease) => {
      inner = mine.using(key, { within: lease }, shop.work(400));
    });
    await waitFor(() => shop.most === 1, { what: "the inner one is at work" });
    const other = theirs.using(key, shop.work(10));
    await Promise.all([mine.close(), inner, other]);
    expect(shop.most).toBe(1);
  });

  test.each([[-1], [Number.NaN], ["5s"]])(
    "withinMs %s is refused, and nothing is closed",
    async (withinMs) => {
      const mine = await client();
      expect(await failure(mine.close({ withinMs: withinMs as number }))).toMatchObject({
        code: "OPTION_RANGE",
        option: "withinMs",
      });
      expect(await failure(mine.close({ within: 1 } as object))).toMatchObject({ code: "CONFIG_INVALID" });
      expect(await mine.using(key, (lease) => lease.isHeld())).toBe(true);
    },
  );
});
