/** Nodes reached by other clients than ioredis: the real packages, on real servers that die, hang and come back. */
import { Redis as Valkey } from "iovalkey";
import { createClient } from "redis";
import { createClient as createClient6 } from "redis6";
import { describe, expect, test } from "vitest";

import { afterEachTest, serversFor } from "../harness/clean-up.ts";
import type { Cluster, ClusterOptions } from "../../src/chaos/servers/cluster.ts";
import { waitFor } from "../../src/chaos/machine/wait-for.ts";
import {
  createLocker,
  type HoldfastEvent,
  type Locker,
  type NodeInput,
  QuorumUnreachableError,
} from "../../src/index.ts";
import { iovalkey } from "../../src/iovalkey/index.ts";
import { nodeRedis } from "../../src/node-redis/index.ts";
import { failure } from "../harness/failure.ts";
import { somebodyWaits } from "../harness/waiters.ts";

const TTL_MS = 1_500;

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);

const CLIENTS: Readonly<Record<string, (url: string) => NodeInput>> = {
  "node-redis 5": (url) => nodeRedis(createClient({ url })),
  "node-redis 6": (url) => nodeRedis(createClient6({ url })),
  iovalkey: (url) => {
    const client = new Valkey(url, { lazyConnect: true });
    cleanUp(() => client.disconnect());
    return iovalkey(client);
  },
};

async function client(
  nodes: readonly NodeInput[],
  heard: (event: HoldfastEvent) => void = () => {},
): Promise<Locker> {
  const locker = createLocker({ mode: "quorum", nodes, ttlMs: TTL_MS, observer: heard });
  cleanUp(() => locker.close({ withinMs: 0 }));
  await locker.init();
  await locker.ready();
  return locker;
}

describe.each(Object.keys(CLIENTS))("%s", (name) => {
  const nodesOf = (cluster: Cluster) => cluster.urls.map((url) => CLIENTS[name]?.(url) ?? url);

  test("locks, excludes clients of ioredis, extends, releases, and is shown by address", async () => {
    const cluster = await servers(3);
    const [mine, theirs] = [await client(nodesOf(cluster)), await client(cluster.urls)];
    expect(mine.nodes().map(({ node }) => node)).toEqual(theirs.nodes().map(({ node }) => node));
    const lease = await mine.acquire(["a", "b"], { autoExtend: true });
    expect(await theirs.tryAcquire("b")).toBeUndefined();
    await new Promise((resolve) => setTimeout(resolve, 1.5 * TTL_MS));
    expect([lease.isHeld(), await lease.verify()]).toEqual([true, "held"]);
    expect(await lease.release()).toMatchObject({ outcome: "released" });
    const next = await theirs.acquire("a");
    expect(next.fence).toBeGreaterThan(lease.fence);
    expect(await mine.tryAcquire("a")).toBeUndefined();
  });

  test("many at once: each is answered with its own", async () => {
    const cluster = await servers(3);
    const locker = await client(nodesOf(cluster));
    const keys = Array.from({ length: 300 }, (_, index) => `k${index}`);
    const leases = await Promise.all(keys.map((key) => locker.acquire(key)));
    const holders = async () => (await cluster.nodes[0]?.cli("MGET", ...keys)) as (string | null)[];
    // A lease is there as soon as a quorum has it, of which this node need not be one.
    await waitFor(async () => !(await holders()).includes(null), { what: "the first node has them all" });
    expect(await holders()).toEqual(leases.map(({ holder }) => holder));
    await Promise.all(leases.map((lease) => lease.release()));
  });

  test("a waiter is told of a release", async () => {
    const cluster = await servers(3);
    const [mine, theirs] = [await client(nodesOf(cluster)), await client(nodesOf(cluster))];
    const lease = await mine.acquire("a", { autoExtend: true });
    const waiting = theirs.acquire("a", { waitMs: 10_000 });
    await somebodyWaits(cluster);
    await lease.release();
    expect((await waiting).isHeld()).toBe(true);
  });

  test("a node that dies is left out, and takes part again when it is back", async () => {
    const cluster = await servers(3, { appendonly: "yes" } as ClusterOptions);
    const locker = await client(nodesOf(cluster));
    const lease = await locker.acquire("a", { autoExtend: true });
    await cluster.nodes[0]?.kill();
    await (await locker.acquire("b")).release();
    expect(lease.isHeld()).toBe(true);
    await cluster.nodes[1]?.kill();
    const error = await failure(locker.acquire("c", { waitMs: 200 }));
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    expect(error.message).toMatch(/not connected/);
    for (const node of cluster.nodes.slice(0, 2)) await node.restart();
    await waitFor(async () => (await locker.attempt("c")).outcome === "acquired", {
      what: "it is acquired again",
      timeoutMs: 15_000,
    });
  });

  test("a node that hangs costs nothing, and nothing is left on it", async () => {
    const cluster = await servers(3);
    const locker = await client(nodesOf(cluster));
    cluster.nodes[0]?.pause();
    for (let i = 0; i < 5; i++) await (await locker.acquire("a")).release();
    await locker.acquire("stays", { waitMs: 0 }).then((lease) => lease.release());
    cluster.nodes[0]?.resume();
    await waitFor(async () => (await cluster.nodes[0]?.cli("EXISTS", "a", "stays")) === 0, {
      what: "no lock is left on it",
    });
  });

  test("a node that hangs while it is dialled: attempts do not pile up, and none outlives close", async () => {
    const cluster = await servers(1);
    cluster.nodes[0]?.pause();
    const before = sockets();
    const locker = createLocker({ mode: "single", nodes: nodesOf(cluster), connectTimeoutMs: 50 });
    cleanUp(() => locker.close({ withinMs: 0 }));
    let most = 0;
    for (let i = 0; i < 40; i++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      most = Math.max(most, sockets() - before);
    }
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThan(3);
    await locker.close();
    await waitFor(() => sockets() <= before, { what: "all its sockets are closed" });
    cluster.nodes[0]?.resume();
  });
});

function sockets(): number {
  const kinds = new Set(["TCPSocketWrap", "TCPConnectWrap"]);
  return process.getActiveResourcesInfo().filter((kind) => kinds.has(kind)).length;
}

test("an adapter of one's own: what it throws is a fault of that node, and no more", async () => {
  const cluster = await servers(3);
  const [first = "", ...others] = cluster.urls;
  const real = nodeRedis(createClient({ url: first }));
  const broken: NodeInput = {
    name: "broken:1",
    open: async (terms) => ({
      ...(await real.open(terms)),
      send: ([command = ""]) => Promise.reject(new Error(`no ${command} today`)),
    }),
  };
  const locker = createLocker({ mode: "quorum", nodes: [broken, ...others], ttlMs: TTL_MS });
  cleanUp(() => locker.close({ withinMs: 0 }));
  await locker.init();
  expect((await locker.acquire("a")).isHeld()).toBe(true);
  expect(locker.nodes()[0]).toMatchObject({ node: "broken:1", state: "excluded" });
  const never: NodeInput = { name: "never:1", open: () => Promise.reject(new Error("no route")) };
  const other = createLocker({ mode: "single", nodes: [never], ttlMs: TTL_MS });
  cleanUp(() => other.close({ withinMs: 0 }));
  expect((await failure(other.acquire("a", { waitMs: 100 }))).message).toContain("no route");
});
