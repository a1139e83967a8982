/** Waiting on real servers: what the nodes keep of those who wait, who is told of a release, and waiting for those who tell nobody. */
import { Redis } from "ioredis";
import { expect, test } from "vitest";

import {
  createLocker,
  fixedRetry,
  type HoldfastEvent,
  type Locker,
  type QuorumOptions,
} from "../../src/index.ts";
import { afterEachTest, serversFor } from "../harness/clean-up.ts";
import { sleep, waitFor } from "../../src/chaos/machine/wait-for.ts";
import type { Cluster } from "../../src/chaos/servers/cluster.ts";

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);

async function client(nodes: QuorumOptions["nodes"], more: Partial<QuorumOptions> = {}): Promise<Locker> {
  const locker = createLocker({ mode: "quorum", nodes, ttlMs: 2_000, ...more });
  cleanUp(() => locker.close({ withinMs: 0 }));
  await locker.init();
  await locker.ready();
  return locker;
}

function redisOf(cluster: Cluster, options: object = {}): Redis[] {
  const clients = cluster.nodes.map(({ port }) => new Redis({ port, host: "127.0.0.1", ...options }));
  cleanUp(async () => clients.forEach((redis) => redis.disconnect()));
  return clients;
}

/** How many connections hear something, on each node. */
async function listeners(cluster: Cluster): Promise<number[]> {
  const lists = await Promise.all(cluster.nodes.map((node) => node.cli("CLIENT", "LIST", "TYPE", "pubsub")));
  return lists.map(
    (list) =>
      String(list)
        .split("\n")
        .filter((line) => line.includes("id=")).length,
  );
}

async function published(cluster: Cluster): Promise<number> {
  const infos = await Promise.all(cluster.nodes.map((node) => node.cli("INFO", "commandstats")));
  return infos.reduce<number>(
    (sum, info) => sum + Number(/cmdstat_publish:calls=(\d+)/.exec(String(info))?.[1] ?? 0),
    0,
  );
}

test("whoever waits listens on one connection a node and is told; afterwards nothing is left of it", async () => {
  const cluster = await servers(3);
  const holder = await client(cluster.urls);
  const events: HoldfastEvent[] = [];
  const waiter = await client(cluster.urls, { observer: (event) => events.push(event) });
  const lease = await holder.acquire("k", { autoExtend: true });
  expect(await listeners(cluster)).toEqual([0, 0, 0]);
  const waiting = waiter.acquire("k", { waitMs: 20_000 });
  const another = waiter.acquire("k", { waitMs: 20_000 });
  await waitFor(async () => (await cluster.nodes[0]?.cli("ZCARD", "{k}:line")) === 1, {
    what: "it is in line",
  });
  expect(await listeners(cluster)).toEqual([1, 1, 1]);
  await lease.release();
  const next = await waiting;
  expect(next.fence).toBeGreaterThan(lease.fence);
  expect(await published(cluster)).toBe(3);
  await next.release();
  // The second call of its process had it by a hand-over, without asking the nodes for it.
  const last = await another;
  expect(
    events.filter(({ type }) => type === "acquired").map((event) => "attempts" in event && event.attempts)[1],
  ).toBe(1);
  await last.release();
  await waiter.close();
  await waitFor(async () => (await listeners(cluster)).every((count) => count === 0), {
    what: "nobody listens",
  });
  expect(await cluster.nodes[0]?.cli("KEYS", "*")).toEqual(expect.not.arrayContaining(["{k}:line", "k"]));
});

test("a client whose keys are prefixed is told all the same", async () => {
  const cluster = await servers(1);
  const nodes = redisOf(cluster, { keyPrefix: "app:" });
  const [holder, waiter] = [await client(nodes), await client(nodes)];
  const lease = await holder.acquire("k", { autoExtend: true });
  const waiting = waiter.acquire("k", { waitMs: 20_000 });
  await waitFor(async () => (await cluster.nodes[0]?.cli("ZCARD", "{app:k}:line")) === 1, {
    what: "it is in line",
  });
  await lease.release();
  expect((await waiting).isHeld()).toBe(true);
  expect(await published(cluster)).toBe(1);
});

test("a lock of another library, of whose release nobody tells, is asked for as the retry strategy says", async () => {
  const cluster = await servers(3);
  const locker = await client(cluster.urls, { retry: fixedRetry(30) });
  const redis = redisOf(cluster);
  await Promise.all(redis.map((node) => node.set("k", "a value without a mark", "PX", 60_000)));
  const began = performance.now();
  const waiting = locker.acquire("k", { waitMs: 20_000 });
  await sleep(200);
  await Promise.all(redis.map((node) => node.del("k")));
  const lease = await waiting;
  expect(lease.isHeld()).toBe(true);
  // Not by a timer for those who wait to be told, which would take up to 0.75 s; a slow machine may take that long all the same.
  expect(performance.now() - began).toBeLessThan(5_000);
});

test("nodes that let nobody listen make waiting slower, and nothing else", async () => {
  const cluster = await servers(3);
  await Promise.all(cluster.nodes.map((node) => node.cli("ACL", "SETUSER", "default", "resetchannels")));
  const events: HoldfastEvent[] = [];
  const [holder, waiter] = [
    await client(cluster.urls),
    await client(cluster.urls, { observer: (event) => events.push(event) }),
  ];
  const lease = await holder.acquire("k", { autoExtend: true });
  const waiting = waiter.acquire("k", { waitMs: 20_000 });
  await sleep(150);
  expect(await listeners(cluster)).toEqual([0, 0, 0]);
  expect(await lease.release()).toMatchObject({ outcome: "released" });
  expect((await waiting).isHeld()).toBe(true);
  expect(
    events
      .filter(({ type }) => type === "node")
      .every((event) => "state" in event && event.state !== "excluded"),
  ).toBe(true);
});

test("notices for somebody who does not wait change nothing", async () => {
  const cluster = await servers(3);
  const [holder, waiter] = [await client(cluster.urls), await client(cluster.urls)];
  const lease = await holder.acquire("k", { autoExtend: true });
  const waiting = waiter.acquire("k", { waitMs: 20_000 });
  await waitFor(async () => (await cluster.nodes[0]?.cli("ZCARD", "{k}:line")) === 1, {
    what: "it is in line",
  });
  const redis = redisOf(cluster)[0] ?? new Redis();
  const [channel] = (await redis.pubsub("CHANNELS", "holdfast:wake:*")) as string[];
  const messages = ["unknown", "", "k\n", "x".repeat(65_536), "k", "{k}:fence", "holdfast:node"];
  for (let round = 0; round < 50; round++)
    await Promise.all(messages.map((message) => redis.publish(channel ?? "", message)));
  expect(lease.isHeld()).toBe(true);
  await lease.release();
  expect((await waiting).isHeld()).toBe(true);
});

test("notices that are forged without end make a waiter ask no more than some fifty times a second", async () => {
  const cluster = await servers(3);
  const [holder, waiter] = [await client(cluster.urls), await client(cluster.urls)];
  const lease = await holder.acquire("k", { autoExtend: true });
  const waitMs = 3_000;
  const waiting = waiter.acquire("k", { waitMs }).catch((error: unknown) => error);
  await waitFor(async () => (await cluster.nodes[0]?.cli("ZCARD", "{k}:line")) === 1, {
    what: "it is in line",
  });
  const redis = redisOf(cluster)[0] ?? new Redis();
  const [channel] = (await redis.pubsub("CHANNELS", "holdfast:wake:*")) as string[];
  let isOver = false;
  void waiting.then(() => (isOver = true));
  while (!isOver) await redis.publish(channel ?? "", "k");
  const error = await waiting;
  expect(error).toMatchObject({ code: "ACQUIRE_TIMEOUT" });
  const { attempts } = error as { attempts: number };
  expect(attempts).toBeGreaterThan(20); // They were heard, or the story says nothing.
  expect(attempts).toBeLessThan((waitMs / 1_000) * 50 + 30);
  expect(lease.isHeld()).toBe(true);
});
