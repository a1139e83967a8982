/**
 * Calls of one process whose keys overlap: whoever wants a free key gets it, though others of the process wait for it and for more; and
 * those get theirs, too. In every mode, where the rest is held by another process and where it is held here.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { sleep } from "../../src/chaos/machine/wait-for.ts";
import { type Cluster, startCluster } from "../../src/chaos/servers/cluster.ts";
import { createLocker, type Lease, type Locker, type LockerOptions } from "../../src/index.ts";

const SETTINGS = [
  { name: "memory", servers: 0, mode: "memory" },
  { name: "single", servers: 1, mode: "single" },
  { name: "quorum of 3", servers: 3, mode: "quorum" },
] as const;

describe.each(SETTINGS)("$name", ({ name, servers, mode }) => {
  let cluster: Cluster;
  const lockers: Locker[] = [];
  let tests = 0;
  let [a, b, c] = ["", "", ""];

  beforeAll(async () => {
    cluster = await startCluster(servers);
    await using operator = createLocker(options());
    await operator.init();
  });
  afterAll(() => cluster.stop());
  afterEach(async () => {
    await Promise.all(lockers.splice(0).map((locker) => locker.close({ withinMs: 0 })));
  });

  function options(more: Partial<LockerOptions> = {}): LockerOptions {
    const nodes = mode === "memory" ? {} : { nodes: cluster.urls };
    return { mode, ttlMs: 3_000, nodeTimeoutMs: 1_000, ...nodes, ...more } as LockerOptions;
  }

  async function client(more: Partial<LockerOptions> = {}): Promise<Locker> {
    const locker = createLocker(options(more));
    lockers.push(locker);
    await locker.ready();
    [a = "", b = "", c = ""] = ["a", "b", "c"].map((key) => `overlap:${name}:${tests}:${key}`);
    tests++;
    return locker;
  }

  test.each([
    ["another process", true, true],
    ["another process, and nobody tells of releases", true, false],
    ["this process", false, true],
  ])(
    "a free key is had at once, though somebody waits for it and one that %s holds",
    async (_, isOther, notify) => {
      const mine = await client({ notify });
      const holder = isOther ? await client() : mine;
      const held = await holder.acquire(b, { autoExtend: true });
      const both = [mine.acquire([a, b], { waitMs: 20_000 }), mine.acquire([b, a, c], { waitMs: 20_000 })];
      await sleep(100);
      for (let turn = 0; turn < 20; turn++) {
        const lease = await mine.acquire(a, { waitMs: 300 });
        expect(await mine.using(c, { waitMs: 300 }, ({ fence }) => fence)).toBeGreaterThan(0);
        await lease.release();
      }
      // Two at once: one after the other, and nobody else between.
      await Promise.all([1, 2, 3].map(() => mine.using(a, { waitMs: 2_000 }, () => sleep(20))));
      await held.release();
      for (const waiting of both) {
        const lease = await waiting;
        expect(lease.isHeld()).toBe(true);
        await lease.release();
      }
      expect(mine.leases()).toEqual([]);
    },
  );

  test.each([[["a", "b"]], [["b", "a"]]])(
    "whoever wants %j is not starved by those who want one",
    async (order) => {
      const mine = await client();
      const theirs = await client();
      let isOver = false;
      let turns = 0;
      const stream = async (locker: Locker, key: string, offsetMs: number): Promise<void> => {
        await sleep(offsetMs);
        while (!isOver) {
          await locker.using(key, { waitMs: 20_000 }, () => sleep(30));
          turns++;
        }
      };
      const streams = [
        stream(mine, a, 0),
        stream(mine, a, 5),
        stream(mine, b, 15),
        stream(mine, b, 20),
        stream(theirs, b, 10),
      ];
      await sleep(100);
      const keys = order.map((key) => (key === "a" ? a : b));
      for (let round = 0; round < 3; round++) await mine.using(keys, { waitMs: 5_000 }, () => sleep(10));
      isOver = true;
      await Promise.all(streams);
      expect(turns).toBeGreaterThan(10);
    },
  );

  test("sets that overlap in any order all get their turn, with no key in two hands", async () => {
    const [mine, theirs] = [await client(), await client()];
    const sets = [[a, b], [b, c], [c, a], [a], [c, b, a], [b], [b, a], [c]];
    const taken = new Map<string, Lease>();
    const one = (locker: Locker, keys: readonly string[]) =>
      locker.using(keys, { waitMs: 20_000 }, async (lease) => {
        for (const key of keys) {
          expect(taken.get(key)?.isHeld() ?? false).toBe(false);
          taken.set(key, lease);
        }
        await sleep(5);
        for (const key of keys) taken.delete(key);
      });
    await Promise.all([mine, theirs, mine].flatMap((locker) => sets.map((keys) => one(locker, keys))));
    expect([...mine.leases(), ...theirs.leases()]).toEqual([]);
  });
});
