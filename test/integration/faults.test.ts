/**
 * Faults on real servers, and what a lock must do about each: not grant twice, not hang, say in time what is lost, and leave nothing
 * behind. Rule numbers are those of docs/algorithm.md.
 */
import { execFile } from "node:child_process";
import { stat } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { describe, expect, test } from "vitest";

import {
  ConfigError,
  createLocker,
  LeaseLostError,
  type Locker,
  type QuorumOptions,
  QuorumUnreachableError,
} from "../../src/index.ts";
import { afterEachTest, serversFor } from "../harness/clean-up.ts";
import type { Cluster } from "../../src/chaos/servers/cluster.ts";
import { failure } from "../harness/failure.ts";
import {
  clientPauseWrite,
  debugSleep,
  evictionPolicy,
  fillMemory,
  flushAll,
  freeMemory,
  replicaOfCycle,
  requirePassword,
  scriptFlush,
} from "../../src/chaos/servers/commands.ts";
import { clockShimUnavailable } from "../../src/chaos/servers/node-clock.ts";
import { type Proxy, proxied } from "../../src/chaos/network/proxy.ts";
import type { ServerNode } from "../../src/chaos/servers/server-node.ts";
import { sleep, waitFor } from "../../src/chaos/machine/wait-for.ts";

const TTL_MS = 1_500;
const KEY = "fault";

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);

async function proxies(cluster: Cluster): Promise<Proxy[]> {
  const all = await proxied(cluster);
  cleanUp(() => Promise.all(all.map((proxy) => proxy.close())));
  return all;
}

function client(nodes: QuorumOptions["nodes"], more: Partial<QuorumOptions> = {}): Locker {
  const locker = createLocker({ mode: "quorum", nodes, ttlMs: TTL_MS, ...more });
  cleanUp(() => locker.close({ withinMs: 0 }));
  return locker;
}

/** A client that has declared the fleet new, so that it may vote at once. */
async function pioneer(nodes: QuorumOptions["nodes"], more: Partial<QuorumOptions> = {}): Promise<Locker> {
  const locker = client(nodes, more);
  await locker.init();
  await locker.ready();
  return locker;
}

async function settler(nodes: QuorumOptions["nodes"], more: Partial<QuorumOptions> = {}): Promise<Locker> {
  const locker = client(nodes, more);
  await locker.ready();
  return locker;
}

function nth(cluster: Cluster, index: number): ServerNode {
  const node = cluster.nodes[index];
  if (node === undefined) throw new Error(`the cluster has no node ${index}`);
  return node;
}

function locksOn(cluster: Cluster, key = KEY): Promise<unknown[]> {
  return Promise.all(cluster.nodes.filter(({ state }) => state === "up").map((node) => node.cli("GET", key)));
}

/** Of every node, sorted, without fences. */
function locksUnder(cluster: Cluster, pattern: string): Promise<string[][]> {
  return Promise.all(
    cluster.nodes.map(async (node) => {
      const keys = (await node.cli("KEYS", pattern)) as string[];
      return keys.filter((key) => !key.endsWith(":fence")).sort();
    }),
  );
}

describe("nodes that die or hang", () => {
  test("two of five killed mid-hold: the lease goes on, a contender is refused", async () => {
    const cluster = await servers(5);
    const [mine, theirs] = [await pioneer(cluster.urls), await settler(cluster.urls)];
    const lease = await mine.acquire(KEY, { autoExtend: true });
    await Promise.all([cluster.nodes[0]?.kill(), cluster.nodes[3]?.kill()]);
    await sleep(1.5 * TTL_MS);
    expect(lease.isHeld()).toBe(true);
    expect(await theirs.tryAcquire(KEY)).toBeUndefined();
  });

  test("two of five hung: acquire, extend and release still work, and come back with nothing left", async () => {
    const cluster = await servers(5);
    const locker = await pioneer(cluster.urls);
    for (const node of cluster.nodes.slice(0, 2)) node.pause();
    const lease = await locker.acquire(KEY);
    await lease.extend();
    expect(await lease.release()).toMatchObject({ outcome: "released" });
    for (const node of cluster.nodes.slice(0, 2)) node.resume();
    await waitFor(async () => (await locksOn(cluster)).every((holder) => holder === null), {
      what: "no lock is left on any node",
    });
    expect(await locker.tryAcquire(KEY)).toBeDefined();
  });

  test("twenty thousand acquires of one turn while a node hangs: its queue is bounded, the others grant them all, nothing is left", async () => {
    const cluster = await servers(3);
    const locker = await pioneer(cluster.urls, { nodeTimeoutMs: 5_000, ttlMs: 30_000 });
    cluster.nodes[0]?.pause();
    const leases = await Promise.all(
      Array.from({ length: 20_000 }, (_, index) => locker.acquire(`flood:${index}`, { waitMs: 20_000 })),
    );
    expect(leases.every((lease) => lease.isHeld())).toBe(true);
    cluster.nodes[0]?.resume();
    const reports = await Promise.all(leases.map((lease) => lease.release()));
    expect(reports.every(({ outcome }) => outcome === "released")).toBe(true);
    await waitFor(async () => (await locksUnder(cluster, "flood:*")).every((keys) => keys.length === 0), {
      what: "no lock is left on any node",
    });
  });

  test("a majority hung: the acquire fails by its deadline, the holder is told before its validity ends", async () => {
    const cluster = await servers(3);
    const [mine, theirs] = [await pioneer(cluster.urls), await settler(cluster.urls)];
    const lease = await mine.acquire(KEY, { autoExtend: true });
    const lost = new Promise<number>((resolve) =>
      lease.signal.addEventListener("abort", () => resolve(lease.remainingMs())),
    );
    for (const node of cluster.nodes.slice(0, 2)) node.pause();
    const error = await failure(theirs.acquire(KEY, { waitMs: 400 }));
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    expect(
      error.nodes?.filter(({ reason }) => reason === "timeout" || reason === "unreachable"),
    ).toHaveLength(2);
    expect(await lost).toBeGreaterThan(0);
    for (const node of cluster.nodes.slice(0, 2)) node.resume();
  });

  test("an abort is heard while a majority hangs", async () => {
    const cluster = await servers(3);
    const locker = await pioneer(cluster.urls, { nodeTimeoutMs: 1_000 });
    for (const node of cluster.nodes.slice(0, 2)) node.pause();
    const reason = new Error("enough");
    const controller = new AbortController();
    const began = performance.now();
    setTimeout(() => controller.abort(reason), 50);
    expect(await failure(locker.acquire(KEY, { signal: controller.signal }))).toBe(reason);
    expect(performance.now() - began).toBeLessThan(900);
    for (const node of cluster.nodes.slice(0, 2)) node.resume();
    await waitFor(async () => (await locksOn(cluster)).every((holder) => holder === null), {
      what: "the abandoned attempt is undone",
    });
  });

  test("writes paused on a majority, one node asleep: refused by the deadline, and nothing is left when they wake", async () => {
    const cluster = await servers(3);
    const locker = await pioneer(cluster.urls);
    await Promise.all([clientPauseWrite(nth(cluster, 0), 400), clientPauseWrite(nth(cluster, 1), 400)]);
    const asleep = debugSleep(nth(cluster, 2), 0.3);
    const error = await failure(locker.acquire(KEY, { waitMs: 150 }));
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    await asleep;
    await waitFor(async () => (await locksOn(cluster)).every((holder) => holder === null), {
      what: "nothing is left",
      timeoutMs: TTL_MS - 500,
    });
    expect(await locker.acquire(KEY)).toBeDefined();
  });

  test("no Redis at all: a typed error that says why, by the deadline", async () => {
    const locker = client(["redis://127.0.0.1:1", "redis://127.0.0.1:2", "redis://127.0.0.1:3"]);
    const error = await failure(locker.acquire(KEY, { waitMs: 200 }));
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    expect(error.message).toContain("ECONNREFUSED");
  });

  test("a killed quorum comes back empty: nobody acquires until the quarantine is over (G3)", async () => {
    const cluster = await servers(3);
    const locker = await pioneer(cluster.urls);
    const lease = await locker.acquire(KEY);
    await lease.release();
    await Promise.all(cluster.nodes.map((node) => node.restartEmpty()));
    const error = await failure(locker.acquire(KEY, { waitMs: 500 }));
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    const next = await locker.acquire(KEY, { waitMs: 4 * TTL_MS });
    expect(next.fence).toBeGreaterThan(lease.fence);
  });
});

describe("nodes that lose their memory", () => {
  test.each(["restartEmpty", "FLUSHALL", "REPLICAOF cycle"])(
    "%s: its vote does not count while the lock is held elsewhere",
    async (fault) => {
      const cluster = await servers(3);
      const [mine, theirs] = [await pioneer(cluster.urls), await settler(cluster.urls)];
      const lease = await mine.acquire(KEY, { autoExtend: true });
      // Two hold it. A third that forgot, and one of the two taken away, would make a second quorum.
      await cluster.nodes[0]?.kill();
      const victim = nth(cluster, 1);
      if (fault === "restartEmpty") await victim.restartEmpty();
      if (fault === "FLUSHALL") await flushAll(victim);
      if (fault === "REPLICAOF cycle") {
        await replicaOfCycle(victim);
        await victim.cli("DEL", KEY);
      }
      const ends = performance.now() + lease.remainingMs();
      await cluster.nodes[0]?.restartEmpty();
      while (performance.now() < ends) {
        const { nodes } = (await failure(theirs.acquire(KEY, { waitMs: 0 }))) as QuorumUnreachableError;
        expect(nodes[1]?.verdict, nodes[1]?.detail).not.toBe("granted");
        await sleep(20);
      }
    },
  );

  test("a lock outlives one node after another, by being put back on them (L4)", async () => {
    const cluster = await servers(3);
    const locker = await pioneer(cluster.urls);
    const lease = await locker.acquire(KEY, { autoExtend: true });
    for (const node of cluster.nodes) {
      await node.restartEmpty();
      await waitFor(async () => (await node.cli("GET", KEY)) === lease.holder, {
        what: "the lock is back on the node",
      });
      // It counts from the next extension on.
      await sleep(TTL_MS / 2);
    }
    expect(lease.isHeld()).toBe(true);
    expect(lease.signal.aborted).toBe(false);
    await lease.release();
    expect(await locksOn(cluster)).toEqual([null, null, null]);
  });

  test("trust: votes at once after a restart, with a larger fence all the same", async () => {
    const cluster = await servers(1);
    const locker = createLocker({ mode: "single", nodes: [cluster.urls[0] ?? ""], ttlMs: TTL_MS });
    cleanUp(() => locker.close({ withinMs: 0 }));
    const lease = await locker.acquire(KEY);
    await cluster.nodes[0]?.restartEmpty();
    const next = await locker.acquire(KEY, { waitMs: 5_000 });
    expect(next.fence).toBeGreaterThan(lease.fence);
  });

  test("SCRIPT FLUSH mid-hold: nothing is lost", async () => {
    const cluster = await servers(3);
    const locker = await pioneer(cluster.urls);
    const lease = await locker.acquire(KEY);
    await Promise.all(cluster.nodes.map((node) => scriptFlush(node)));
    await lease.extend();
    await Promise.all(cluster.nodes.map((node) => scriptFlush(node)));
    expect(await lease.release()).toMatchObject({ outcome: "released" });
    expect(await locksOn(cluster)).toEqual([null, null, null]);
  });

  test("deleted by hand on a quorum: told at once, at the next extension", async () => {
    const cluster = await servers(3);
    const locker = await pioneer(cluster.urls);
    const lease = await locker.acquire(KEY, { autoExtend: true });
    await Promise.all(cluster.nodes.map((node) => node.cli("DEL", KEY)));
    await new Promise((resolve) => lease.signal.addEventListener("abort", resolve));
    expect(lease.signal.reason).toMatchObject({ lossCause: "gone" });
    expect(lease.isHeld()).toBe(false);
  });
});

describe("servers that cannot or must not vote", () => {
  test("out of memory: acquires are refused, extend and release still work (E1, R1)", async () => {
    const cluster = await servers(1);
    const node = nth(cluster, 0);
    const locker = await pioneer(cluster.urls);
    const lease = await locker.acquire(KEY);
    await fillMemory(node);
    const error = await failure(locker.acquire("another", { waitMs: 100 }));
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    expect(error.message).toContain("OOM");
    await lease.extend();
    expect(await lease.release()).toMatchObject({ outcome: "released" });
    expect(await node.cli("EXISTS", KEY)).toBe(0);
    await freeMemory(node);
  });

  test("a policy that evicts: excluded, with the reason (G2), unless it is allowed", async () => {
    const cluster = await servers(1);
    await evictionPolicy(nth(cluster, 0), "allkeys-lru", 100_000_000);
    const error = await failure(client(cluster.urls).acquire(KEY, { waitMs: 100 }));
    expect(error.message).toContain("allkeys-lru");
    expect(await (await pioneer(cluster.urls, { allowEviction: true })).tryAcquire(KEY)).toBeDefined();
  });

  test("a replica: excluded, with the reason (G2)", async () => {
    const cluster = await servers(2);
    const [master, replica] = cluster.nodes;
    await replica?.cli("REPLICAOF", "127.0.0.1", master?.port ?? 0);
    const error = await failure(client([replica?.url ?? ""]).acquire(KEY, { waitMs: 100 }));
    expect(error.message).toContain("not a master");
  });

  test("one server under two addresses: a configuration error", async () => {
    const cluster = await servers(2);
    const [proxy] = await proxies(cluster);
    const locker = client([...cluster.urls, proxy?.url ?? ""]);
    const error = await failure(locker.acquire(KEY));
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.message).toContain("the same server");
    await expect(locker.ready()).rejects.toBeInstanceOf(ConfigError);
    expect(() =>
      createLocker({ mode: "quorum", nodes: [cluster.urls[0] ?? "", cluster.urls[0] ?? ""] }),
    ).toThrow(ConfigError);
  });

  test("a wrong password: said so, and never shown", async () => {
    const cluster = await servers(1);
    await requirePassword(nth(cluster, 0), "correct-horse");
    const url = `redis://:wrong-battery@127.0.0.1:${cluster.nodes[0]?.port}`;
    const error = await failure(client([url]).acquire(KEY, { waitMs: 200 }));
    expect(error.message).toMatch(/WRONGPASS|invalid username-password/);
    expect(JSON.stringify(error) + error.message + String(error.stack)).not.toContain("wrong-battery");
    const right = await pioneer([`redis://:correct-horse@127.0.0.1:${cluster.nodes[0]?.port}`]);
    expect(await right.tryAcquire(KEY)).toBeDefined();
  });

  test("a foreign value under the key: an error about this node, and the value stays", async () => {
    const cluster = await servers(1);
    await cluster.nodes[0]?.cli("HSET", KEY, "field", "value");
    const locker = await pioneer(cluster.urls);
    const error = await failure(locker.acquire(KEY, { waitMs: 100 }));
    expect(error.message).toContain(`the key ${KEY} holds something else`);
    expect(await cluster.nodes[0]?.cli("HGET", KEY, "field")).toBe("value");
  });
});

describe("clients handed in", () => {
  test.each([
    ["ioredis 5", Redis5 as unknown as typeof Redis],
    ["ioredis 6", Redis],
  ])(
    "%s with its defaults: a duplicate is used, its prefix kept, the client left alone",
    async (_, Client) => {
      const cluster = await servers(3);
      const clients = cluster.nodes.map(
        ({ port }) => new Client({ port, host: "127.0.0.1", keyPrefix: "app:", db: 1 }),
      );
      cleanUp(async () => clients.forEach((each) => each.disconnect()));
      const locker = await pioneer(clients);
      const lease = await locker.acquire(KEY);
      expect(await clients[0]?.get(KEY)).toBe(lease.holder);
      // Redis's own way to take the lock is excluded, and excludes.
      expect(await clients[1]?.set(KEY, "redlock", "PX", 1_000, "NX")).toBeNull();
      await lease.release();
      for (const each of clients) await each.set(KEY, "redlock", "PX", 1_000, "NX");
      expect(await locker.tryAcquire(KEY)).toBeUndefined();
      await locker.close();
      expect(await clients[0]?.ping()).toBe("PONG");
    },
  );

  test("a Cluster client: refused, with the reason", () => {
    const cluster = new Redis.Cluster([{ host: "127.0.0.1", port: 1 }], { lazyConnect: true });
    expect(() => createLocker({ mode: "quorum", nodes: [cluster] })).toThrow(
      /Redis Cluster client is not a node/,
    );
    cluster.disconnect();
  });
});

describe("networks that lose, delay and cut", () => {
  test("replies dropped: a grant nobody heard of does not count, and is undone", async () => {
    const cluster = await servers(3);
    const net = await proxies(cluster);
    const locker = await pioneer(net.map(({ url }) => url));
    for (const proxy of net.slice(0, 2)) proxy.hold("down");
    const error = await failure(locker.acquire(KEY, { waitMs: 100 }));
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    await waitFor(async () => (await locksOn(cluster)).every((holder) => holder === null), {
      what: "the unheard grants are undone",
      timeoutMs: TTL_MS,
    });
    for (const proxy of net) proxy.pass();
    expect((await locker.acquire(KEY)).isHeld()).toBe(true);
  });

  test("replies slower than the ttl: never returned as held (C4)", async () => {
    const cluster = await servers(3);
    const net = await proxies(cluster);
    const locker = await pioneer(
      net.map(({ url }) => url),
      { nodeTimeoutMs: TTL_MS - 1 },
    );
    for (const proxy of net) proxy.delay(TTL_MS * 0.6, 0, "down");
    await failure(locker.acquire(KEY, { waitMs: 0 }));
    for (const proxy of net) proxy.pass();
    await waitFor(async () => (await locksOn(cluster)).every((holder) => holder === null), {
      what: "the late grants are undone",
    });
  });

  test("cut between execution and reply: not counted, not resent, undone when the nodes are back", async () => {
    const cluster = await servers(3);
    const net = await proxies(cluster);
    // A ttl that cannot be what takes the orphans away.
    const locker = await pioneer(
      net.map(({ url }) => url),
      { ttlMs: 20_000 },
    );
    // The script is known to the servers from here on: the reply that is cut off is that of its execution.
    await (await locker.acquire("warm-up")).release();
    for (const proxy of net.slice(0, 2)) proxy.cutBeforeReply(KEY);
    expect(await failure(locker.tryAcquire(KEY))).toBeInstanceOf(QuorumUnreachableError);
    await waitFor(async () => (await locksOn(cluster)).every((holder) => holder === null), {
      what: "the unheard grants are undone",
      timeoutMs: 5_000,
    });
    expect((await locker.acquire(KEY)).isHeld()).toBe(true);
  });

  test("cut amid the calls of one turn: each lock is either held, or refused and undone", async () => {
    const cluster = await servers(3);
    const net = await proxies(cluster);
    const locker = await pioneer(
      net.map(({ url }) => url),
      { ttlMs: 20_000 },
    );
    await (await locker.acquire("warm-up")).release();
    for (const proxy of net.slice(0, 2)) proxy.cutBeforeReply("batch:150");
    const attempts = await Promise.allSettled(
      Array.from({ length: 200 }, (_, index) => locker.tryAcquire(`batch:${index}`)),
    );
    const isHeld = attempts.map((attempt) => attempt.status === "fulfilled" && attempt.value !== undefined);
    expect(isHeld[150]).toBe(false);
    for (const attempt of attempts) {
      if (attempt.status === "fulfilled") expect(attempt.value?.isHeld()).toBe(true);
      else expect(attempt.reason).toBeInstanceOf(QuorumUnreachableError);
    }
    const expected = isHeld.flatMap((held, index) => (held ? [`batch:${index}`] : [])).sort();
    await waitFor(
      async () => (await locksUnder(cluster, "batch:*")).every((keys) => keys.join() === expected.join()),
      { what: "the nodes hold what was granted, and nothing else", timeoutMs: 5_000 },
    );
  });

  test("a partition that heals late delivers the old acquire: no orphan (R2)", async () => {
    const cluster = await servers(3);
    const net = await proxies(cluster);
    const locker = await pioneer(net.map(({ url }) => url));
    for (const proxy of net) proxy.hold("up");
    await failure(locker.acquire(KEY, { waitMs: 100 }));
    await sleep(200);
    for (const proxy of net) proxy.pass();
    const other = await settler(cluster.urls);
    await waitFor(async () => (await other.tryAcquire(KEY).catch(() => undefined)) !== undefined, {
      what: "another client acquires",
      timeoutMs: 1_000,
    });
  });

  test("clients with different views: at most one wins", async () => {
    const cluster = await servers(5);
    const net = await proxies(cluster);
    await pioneer(cluster.urls);
    const [a, b] = [await settler(net.map(({ url }) => url)), await settler(cluster.urls)];
    for (const proxy of net.slice(3)) proxy.hold("up");
    for (let i = 0; i < 20; i++) {
      const both = await Promise.all([a, b].map((locker) => locker.tryAcquire(KEY).catch(() => undefined)));
      expect(both.filter((lease) => lease?.isHeld() === true).length).toBeLessThanOrEqual(1);
      await Promise.all(both.map(async (lease) => lease?.release()));
    }
    for (const proxy of net) proxy.pass();
  });

  test("four nodes, two contenders at a time: a split vote is decided, never held twice", async () => {
    const cluster = await servers(4);
    const [a, b] = [await pioneer(cluster.urls), await settler(cluster.urls)];
    for (let i = 0; i < 30; i++) {
      const both = await Promise.all([a, b].map((locker) => locker.tryAcquire(KEY)));
      expect(both.filter((lease) => lease !== undefined).length).toBeLessThanOrEqual(1);
      await Promise.all(both.map(async (lease) => lease?.release()));
    }
    const both = await Promise.all([a, b].map(async (locker) => (await locker.acquire(KEY)).release()));
    expect(both.map(({ outcome }) => outcome)).toEqual(["released", "released"]);
  });
});

describe.skipIf(clockShimUnavailable())("nodes with wrong clocks", () => {
  test.each([3_600_000, -3_600_000])(
    "one of three %d ms off: outvoted, and no second holder",
    async (offMs) => {
      const cluster = await servers(3, { clockShim: true });
      const [mine, theirs] = [await pioneer(cluster.urls), await settler(cluster.urls)];
      const lease = await mine.acquire(KEY, { autoExtend: true });
      cluster.nodes[0]?.clock?.step(offMs);
      const ends = performance.now() + 1.5 * TTL_MS;
      while (performance.now() < ends) {
        expect(await theirs.tryAcquire(KEY).catch(() => undefined)).toBeUndefined();
        await sleep(50);
      }
      expect(lease.isHeld()).toBe(true);
      await lease.release();
      const next = await theirs.acquire(KEY);
      expect(next.fence).toBeGreaterThan(lease.fence);
      expect(Math.abs(next.fence - lease.fence)).toBeLessThan(60_000_000);
    },
  );
});

describe("processes", () => {
  test("a process can exit after close, with work under a lock and a lease that nobody gives back", async () => {
    const cluster = await servers(3);
    await pioneer(cluster.urls);
    const library = fileURLToPath(new URL("../../build/src/index.js", import.meta.url));
    // Far beyond the time this program has: neither a timer nor a connection may wait for the end of the validity.
    const program = `
      import { createLocker } from ${JSON.stringify(library)};
      const locker = createLocker({ mode: "quorum", nodes: ${JSON.stringify(cluster.urls)}, ttlMs: ${TTL_MS}, maxTtlMs: 600_000 });
      await locker.acquire("left", { ttlMs: 600_000 });
      const work = locker.using("work", { ttlMs: 600_000 }, (lease) =>
        new Promise((resolve) => lease.signal.addEventListener("abort", () => setTimeout(resolve, 300, "done"))));
      await locker.using("other", () => {});
      await locker.close({ withinMs: 50 });
      console.log("closed", await work);`;
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program], {
      timeout: 10_000,
    });
    expect(stdout).toBe("closed done\n");
    for (const key of ["left", "work"])
      expect(
        (await locksOn(cluster, key)).every((holder) => holder !== null),
        key,
      ).toBe(true);
  });

  test("a process can exit after close, dead nodes or not", async () => {
    const cluster = await servers(3);
    await pioneer(cluster.urls);
    const [, , dead] = cluster.nodes;
    dead?.pause();
    const library = fileURLToPath(new URL("../../build/src/index.js", import.meta.url));
    const program = `
      import { createLocker } from ${JSON.stringify(library)};
      const locker = createLocker({ mode: "quorum", nodes: ${JSON.stringify(cluster.urls)}, ttlMs: ${TTL_MS} });
      await locker.acquire("exit", { autoExtend: true });
      await locker.close();
      console.log("closed");`;
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program], {
      timeout: 10_000,
    });
    expect(stdout).toBe("closed\n");
    dead?.resume();
    await waitFor(async () => (await locksOn(cluster, "exit")).every((holder) => holder === null), {
      what: "the lease is given back",
    });
  });
});

/** From a callback of the file system, after which an event loop comes to its timers before it comes to its sockets. */
async function askAndBlock<T>(ask: () => Promise<T>, ms: number): Promise<T> {
  await new Promise((resolve) => stat(".", resolve));
  const asked = ask();
  await new Promise((resolve) => process.nextTick(resolve)); // It is sent.
  block(ms);
  return asked;
}

function block(ms: number): void {
  const ends = performance.now() + ms;
  while (performance.now() < ends);
}

describe("clients that stand still", () => {
  test("a blocked event loop: nothing is claimed and nothing extended after the end", async () => {
    const cluster = await servers(3);
    const locker = await pioneer(cluster.urls);
    const outcome = await failure(
      locker.using(KEY, (lease) => {
        block(1.5 * TTL_MS);
        expect(lease.isHeld()).toBe(false);
        expect(() => lease.assertHeld()).toThrow(LeaseLostError);
      }),
    );
    expect(outcome).toBeInstanceOf(LeaseLostError);
    expect(await locksOn(cluster)).toEqual([null, null, null]);
  });

  test("a blocked event loop: what was answered meanwhile is read, and counts while it is valid", async () => {
    const cluster = await servers(3);
    const lost: string[] = [];
    const locker = await pioneer(cluster.urls, {
      observer: (event) => event.type === "node" && event.state === "unreachable" && lost.push(event.detail),
    });
    const lease = await askAndBlock(() => locker.acquire(KEY, { waitMs: 0 }), TTL_MS / 5);
    expect(lease.isHeld()).toBe(true);
    expect((await askAndBlock(() => lease.release(), TTL_MS / 5)).outcome).toBe("released");
    await sleep(1_100); // Until nothing is watched for an answer any more.
    // Too late for the first try.
    expect((await askAndBlock(() => locker.tryAcquire(KEY), 1_300))?.isHeld()).toBe(true);
    expect(lost).toEqual([]);
  });

  test("the body's error is the cause where the lock was lost as well", async () => {
    const cluster = await servers(1);
    const locker = await pioneer(cluster.urls);
    const own = new Error("the body's own");
    const error = await failure(
      locker.using(KEY, async (lease) => {
        await cluster.nodes[0]?.kill();
        await new Promise((resolve) => lease.signal.addEventListener("abort", resolve));
        throw own;
      }),
    );
    expect(error).toBeInstanceOf(LeaseLostError);
    expect(error.cause).toBe(own);
  });
});
