/** Keys on several quorums: each on its own, none in the way of another, and what it takes to change the set (docs/scaling.md). */
import { describe, expect, test } from "vitest";

import { afterEachTest } from "../harness/clean-up.ts";
import { type Cluster, startCluster } from "../../src/chaos/servers/cluster.ts";
import { createLocker, type Lease, type Locker, QuorumUnreachableError } from "../../src/index.ts";
import { failure } from "../harness/failure.ts";

const cleanUp = afterEachTest();

async function fleets<N extends string>(...names: N[]): Promise<Record<N, Cluster>> {
  const entries = await Promise.all(names.map(async (name) => [name, await startCluster(3)] as const));
  for (const [, cluster] of entries) cleanUp(() => cluster.stop());
  return Object.fromEntries(entries) as Record<N, Cluster>;
}

async function client(shards: Readonly<Record<string, Cluster>>): Promise<Locker> {
  const urls = Object.fromEntries(Object.entries(shards).map(([name, { urls }]) => [name, urls]));
  const locker = createLocker({ mode: "quorum", shards: urls, ttlMs: 2_000 });
  cleanUp(() => locker.close({ withinMs: 0 }));
  await locker.init();
  await locker.ready();
  return locker;
}

/** Keys, and where they live: some of every shard. */
function keysOf(locker: Locker, count = 40): { key: string; home: string }[] {
  return Array.from({ length: count }, (_, index) => {
    const key = `invoice:${index}`;
    return { key, home: locker.shardOf(key) ?? "none" };
  });
}

async function holders(cluster: Cluster, key: string): Promise<unknown[]> {
  return Promise.all(cluster.nodes.map((node) => node.cli("GET", key)));
}

describe("a locker with shards", () => {
  test("locks every key on the nodes of its shard, on no others, and excludes all clients with the same shards", async () => {
    const shards = await fleets("a", "b");
    const [mine, theirs] = [await client(shards), await client(shards)];
    const keys = keysOf(mine);
    expect(new Set(keys.map(({ home }) => home))).toEqual(new Set(["a", "b"]));
    for (const { key, home } of keys) {
      const lease = await mine.acquire(key);
      const other = home === "a" ? shards.b : shards.a;
      expect(await holders(shards[home as "a" | "b"], key)).toEqual(Array(3).fill(lease.holder));
      expect(await holders(other, key)).toEqual([null, null, null]);
      expect(await theirs.tryAcquire(key)).toBeUndefined();
      expect((await theirs.inspect(key)).holder).toBe(lease.holder);
      await lease.release();
    }
    expect(mine.nodes()).toHaveLength(6);
  });

  test("takes several keys at once where they live together, and says where they do not", async () => {
    const locker = await client(await fleets("a", "b"));
    await using lease = await locker.acquire(["{order:7}:stock", "{order:7}:payment"]);
    expect(lease.keys).toHaveLength(2);
    const keys = keysOf(locker);
    const [one, other] = ["a", "b"].map((home) => keys.find((each) => each.home === home)?.key ?? "");
    const error = await failure(locker.acquire([one ?? "", other ?? ""]));
    expect(error).toMatchObject({ code: "OPTION_RANGE" });
    expect(error.message).toContain(`"${one}" on a, "${other}" on b`);
  });

  test("goes on with the keys of one shard while another has no quorum", async () => {
    const shards = await fleets("a", "b");
    const locker = await client(shards);
    await Promise.all(shards.a.nodes.slice(0, 2).map((node) => node.kill()));
    const leases: Lease[] = [];
    for (const { key, home } of keysOf(locker, 10)) {
      if (home === "b") leases.push(await locker.acquire(key));
      else expect(await failure(locker.acquire(key, { waitMs: 50 }))).toBeInstanceOf(QuorumUnreachableError);
    }
    expect(leases.length).toBeGreaterThan(0);
    expect(leases.every((lease) => lease.isHeld())).toBe(true);
  });

  test("shares no server between shards", async () => {
    const { a } = await fleets("a");
    const [url = ""] = a.urls;
    expect(() => createLocker({ mode: "single", shards: { a: [url], b: [url] } })).toThrow(
      /is in "a" and in "b"; shards share no server/,
    );
  });
});

describe("a change of the set", () => {
  test("overlaps where clients with the old and with the new set run side by side", async () => {
    const { a, b } = await fleets("a", "b");
    const [before, after] = [await client({ a }), await client({ a, b })];
    const moved = keysOf(after).find(({ home }) => home === "b")?.key ?? "";
    const [old, young] = [await before.acquire(moved), await after.acquire(moved)];
    // Two holders at once: why docs/scaling.md says not to.
    expect([old.isHeld(), young.isHeld()]).toEqual([true, true]);
  });

  test("excludes where a step with both sets, the old one first, lies between", async () => {
    const { a, b } = await fleets("a", "b");
    const lockers = { before: await client({ a }), after: await client({ a, b }) };
    const moved = keysOf(lockers.after).find(({ home }) => home === "b")?.key ?? "";
    const take = {
      before: async () => [await lockers.before.tryAcquire(moved)],
      both: async () => {
        const first = await lockers.before.tryAcquire(moved);
        return [first, first && (await lockers.after.tryAcquire(moved))];
      },
      after: async () => [await lockers.after.tryAcquire(moved)],
    };
    const phases: [keyof typeof take, keyof typeof take][] = [
      ["before", "both"],
      ["both", "both"],
      ["both", "after"],
    ];
    for (const [one, other] of [...phases, ...phases.map(([x, y]) => [y, x] as const)]) {
      const held = await take[one]();
      expect(held.every((lease) => lease?.isHeld())).toBe(true);
      const rest = await take[other]();
      expect(rest.some((lease) => lease === undefined)).toBe(true);
      for (const lease of [...held, ...rest]) await lease?.release();
    }
  });
});
