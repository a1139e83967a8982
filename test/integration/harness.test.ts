/**
 * The harness does what it says: a fault test proves nothing if its fault did not happen. Everything here runs on real servers, and
 * none of it knows the library.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import {
  clientPauseWrite,
  type ClientProcess,
  type Cluster,
  clockShimEnv,
  clockShimUnavailable,
  debugSleep,
  evictionPolicy,
  fillMemory,
  flushAll,
  freeMemory,
  NodeClock,
  noPassword,
  type Proxy,
  proxied,
  replicaOfCycle,
  requirePassword,
  scriptFlush,
  type ServerNode,
  sleep,
  spawnClient,
  startCluster,
  startProxy,
  waitFor,
} from "../harness/index.ts";

const cleanups: (() => Promise<unknown> | void)[] = [];
async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}
afterEach(cleanUp);

/** The first of a list that is never empty here. */
function first<T>(list: readonly T[]): T {
  const [one] = list;
  if (one === undefined) throw new Error("expected at least one");
  return one;
}

async function infoOf(node: ServerNode, field: string): Promise<string | undefined> {
  return new RegExp(`^${field}:(.*?)\\r?$`, "m").exec(String(await node.cli("INFO")))?.[1];
}

async function microsOf(node: ServerNode): Promise<bigint> {
  const [seconds = "", micros = ""] = (await node.cli("TIME")) as string[];
  return BigInt(seconds) * 1_000_000n + BigInt(micros);
}

/** How far the server's wall clock is ahead of ours. */
async function aheadMs(node: ServerNode): Promise<number> {
  return Number(await microsOf(node)) / 1_000 - Date.now();
}

function connect(port: number): Redis {
  const redis = new Redis(port, "127.0.0.1", {
    protocol: 2,
    enableReadyCheck: false,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
  });
  redis.on("error", () => {});
  cleanups.push(() => redis.disconnect());
  return redis;
}

function answered(promise: Promise<unknown>, withinMs: number): Promise<boolean> {
  return Promise.race([promise.then(() => true), sleep(withinMs).then(() => false)]);
}

describe("servers", () => {
  let cluster: Cluster;
  let node: ServerNode;
  beforeAll(async () => {
    cluster = await startCluster(5);
    node = first(cluster.nodes);
  });
  afterAll(() => cluster.stop());

  test("five answer, each on a port of its own", async () => {
    expect(await Promise.all(cluster.nodes.map((each) => each.cli("PING")))).toEqual(Array(5).fill("PONG"));
    expect(new Set(cluster.urls).size).toBe(5);
    for (const { pid = 0 } of cluster.nodes) expect(() => process.kill(pid, 0)).not.toThrow();
  });

  test("a killed one is gone at once and comes back on its port, with another run id and nothing in memory", async () => {
    const { pid = 0, url } = node;
    const runId = await infoOf(node, "run_id");
    await node.cli("SET", "a", 1);
    await node.kill();
    expect(node).toMatchObject({ state: "dead", pid: undefined });
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    await expect(node.cli("PING")).rejects.toThrow();
    await node.restartEmpty();
    expect(node).toMatchObject({ state: "up", url });
    expect(await node.cli("EXISTS", "a")).toBe(0);
    expect(await infoOf(node, "run_id")).not.toBe(runId);
  });

  test("one that dies by itself is noticed", async () => {
    await node.cli("DEBUG", "SEGFAULT").catch(() => {});
    await waitFor(() => node.state === "dead", { what: "the server has ended" });
    await node.start();
    await expect(node.start()).rejects.toThrow("already running");
  });

  test("a paused one executes late what was sent to it", async () => {
    const redis = connect(node.port);
    await redis.ping();
    node.pause();
    expect(node.state).toBe("paused");
    const late = redis.set("late", 1);
    expect(await answered(late, 150)).toBe(false);
    node.resume();
    expect(await late).toBe("OK");
    expect(node.state).toBe("up");
  });

  test("dumps its keys", async () => {
    await node.cli("FLUSHALL");
    await node.cli("SET", "text", "t", "PX", 60_000);
    await node.cli("HSET", "hash", "f", "v");
    await node.cli("ZADD", "sorted", 1, "m");
    expect(await node.dump()).toEqual({
      hash: { type: "hash", pttl: -1, value: { f: "v" } },
      sorted: { type: "zset", pttl: -1, value: ["m", "1"] },
      text: { type: "string", pttl: expect.any(Number) as number, value: "t" },
    });
  });

  test("says why it does not start", async () => {
    await expect(startCluster(1, { args: ["--no-such-option", "1"] })).rejects.toThrow(
      /ended at once[^]*no-such-option/,
    );
  });
});

test("an append-only file survives a kill, but not all of it a power loss", async () => {
  await using cluster = await startCluster(1, { aof: true });
  const node = first(cluster.nodes);
  for (let i = 0; i < 20; i++) await node.cli("SET", `key:${i}`, "x".repeat(30));
  // While a sync is under way, Redis keeps the next writes in its own memory, for up to two seconds, and answers all the same.
  const isWritten = async () => /aof_buffer_length:0\r/.test(String(await node.cli("INFO", "persistence")));
  await waitFor(isWritten, { what: "all that was answered is in the file" });
  await node.restart();
  expect(await node.cli("DBSIZE")).toBe(20);
  await node.powerLoss();
  const left = Number(await node.cli("DBSIZE"));
  expect(left).toBeGreaterThan(10);
  expect(left).toBeLessThan(20);
});

describe.skipIf(clockShimUnavailable() !== undefined)("clocks", () => {
  let cluster: Cluster;
  let node: ServerNode;
  let clock: NodeClock;
  beforeAll(async () => {
    cluster = await startCluster(2, { clockShim: true });
    node = first(cluster.nodes);
    if (node.clock === undefined) throw new Error("the node has no clock");
    ({ clock } = node);
  });
  afterEach(() => clock.reset());
  afterAll(() => cluster.stop());

  test("are right until they are changed, and again after a reset", async () => {
    expect(Math.abs(await aheadMs(node))).toBeLessThan(100);
    clock.step(-3_600_000);
    clock.rate(2);
    clock.reset();
    expect(Math.abs(await aheadMs(node))).toBeLessThan(100);
  });

  test("step forward and back, for one node only", async () => {
    clock.step(60_000);
    expect(Math.abs((await aheadMs(node)) - 60_000)).toBeLessThan(100);
    expect(Math.abs(await aheadMs(cluster.nodes[1] ?? node))).toBeLessThan(100);
    clock.step(-90_000);
    expect(Math.abs((await aheadMs(node)) + 30_000)).toBeLessThan(100);
  });

  test("frozen and set, are exact", async () => {
    clock.freeze();
    const micros = await microsOf(node);
    await sleep(20);
    expect(await microsOf(node)).toBe(micros);
    clock.setMicros(1_700_000_000_123_456n);
    expect(await microsOf(node)).toBe(1_700_000_000_123_456n);
    clock.step(-1);
    expect(await microsOf(node)).toBe(1_700_000_000_122_456n);
    clock.rate(1);
    clock.freezeAt(1_600_000_000_000_001);
    expect(await microsOf(node)).toBe(1_600_000_000_000_001n);
  });

  test("run faster, and expiries with them", async () => {
    await node.cli("SET", "short", 1, "PX", 1_000);
    clock.rate(10);
    const before = await microsOf(node);
    const began = performance.now();
    await waitFor(async () => (await node.cli("EXISTS", "short")) === 0, { what: "the key expires" });
    const tookMs = performance.now() - began;
    expect(tookMs).toBeLessThan(700);
    expect(Number((await microsOf(node)) - before) / 1_000).toBeGreaterThan(tookMs * 5);
  });

  test("stay wrong over a restart", async () => {
    clock.step(60_000);
    await node.restartEmpty();
    expect(await aheadMs(node)).toBeGreaterThan(50_000);
  });
});

describe("the proxy", () => {
  let cluster: Cluster;
  let node: ServerNode;
  let proxy: Proxy;
  beforeAll(async () => {
    cluster = await startCluster(1);
    node = first(cluster.nodes);
    proxy = first(await proxied(cluster));
  });
  afterEach(async () => {
    proxy.pass();
    await cleanUp();
    await waitFor(() => proxy.connections === 0, { what: "no connection is left in the proxy" });
  });
  afterAll(async () => {
    await proxy.close();
    await cluster.stop();
  });

  async function client(): Promise<Redis> {
    const redis = connect(proxy.port);
    await redis.ping();
    return redis;
  }

  test("passes, and ends with its clients", async () => {
    const redis = await client();
    expect(proxy.connections).toBe(1);
    expect(await redis.set("a", "x".repeat(100_000))).toBe("OK");
    expect(await redis.strlen("a")).toBe(100_000);
  });

  test("delays, in order", async () => {
    const redis = await client();
    proxy.delay(60, 40, "both");
    const began = performance.now();
    const order: number[] = [];
    const counted = Array.from({ length: 10 }, async () => order.push(await redis.incr("delayed")));
    await Promise.all(counted);
    expect(performance.now() - began).toBeGreaterThan(119);
    expect(order).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  test("delays one direction only", async () => {
    const redis = await client();
    proxy.delay(80, "down");
    const reply = redis.set("one-way", 1);
    await waitFor(async () => (await node.cli("EXISTS", "one-way")) === 1, { what: "it is executed" });
    expect(await answered(reply, 10)).toBe(false);
    await reply;
  });

  test("holds requests and delivers them later, even when their client has gone", async () => {
    const redis = await client();
    proxy.hold("up");
    void redis.set("held", 1).catch(() => {});
    await sleep(20);
    redis.disconnect();
    await sleep(20);
    expect(await node.cli("EXISTS", "held")).toBe(0);
    proxy.flush("up");
    await waitFor(async () => (await node.cli("EXISTS", "held")) === 1, {
      what: "the late command executes",
    });
  });

  test("drops replies: executed, not answered, reset when the network is good again", async () => {
    const redis = await client();
    proxy.drop("down");
    const reply = redis.set("unanswered", 1);
    const outcome = reply.catch((error: unknown) => error);
    await waitFor(async () => (await node.cli("EXISTS", "unanswered")) === 1, { what: "it is executed" });
    expect(await answered(outcome, 50)).toBe(false);
    proxy.pass();
    expect(await outcome).toBeInstanceOf(Error);
  });

  test("drops requests: never executed", async () => {
    const redis = await client();
    proxy.drop("up");
    const outcome = redis.set("lost", 1).catch((error: unknown) => error);
    expect(await answered(outcome, 50)).toBe(false);
    proxy.pass();
    expect(await outcome).toBeInstanceOf(Error);
    expect(await node.cli("EXISTS", "lost")).toBe(0);
  });

  test("cuts before the reply: executed though the client got an error", async () => {
    const redis = await client();
    proxy.cutBeforeReply();
    await expect(redis.set("executed", 1)).rejects.toThrow();
    expect(await node.cli("GET", "executed")).toBe("1");
    expect(await (await client()).ping()).toBe("PONG");
  });

  test("cuts before the reply to a certain request, whatever else is answered", async () => {
    const [other, redis] = [await client(), await client()];
    proxy.cutBeforeReply("certain");
    await other.set("another", 1);
    await redis.set("another", 1);
    await expect(redis.set("certain", 1)).rejects.toThrow();
    expect(await node.cli("GET", "certain")).toBe("1");
    expect(await other.ping()).toBe("PONG");
  });

  test("cuts, refuses and accepts again", async () => {
    const redis = await client();
    const ended = new Promise((resolve) => redis.once("end", resolve));
    await proxy.refuse(true);
    expect(await redis.ping()).toBe("PONG");
    proxy.cut();
    await ended;
    const refused = connect(proxy.port);
    const error = await new Promise((resolve) => refused.once("error", resolve));
    expect(error).toMatchObject({ code: "ECONNREFUSED" });
    proxy.pass();
    await waitFor(
      () =>
        client().then(
          () => true,
          () => false,
        ),
      { what: "it accepts again" },
    );
  });

  test("is a black hole: accepts and is silent", async () => {
    const redis = await client();
    proxy.blackhole(true);
    const outcomes = [redis, connect(proxy.port)].map((each) => each.ping().catch((error: unknown) => error));
    expect(await answered(Promise.race(outcomes), 80)).toBe(false);
    proxy.blackhole(false);
    for (const outcome of outcomes) expect(await outcome).toBeInstanceOf(Error);
  });

  test("is one client's view: through another one, the same server answers", async () => {
    await using other = await startProxy(node.port);
    const [cutOff, connected] = [await client(), connect(other.port)];
    proxy.drop();
    const silent = cutOff.ping().catch((error: unknown) => error);
    expect(await connected.ping()).toBe("PONG");
    expect(await answered(silent, 30)).toBe(false);
  });

  test("sends single bytes", async () => {
    const redis = await client();
    proxy.chunk(1);
    expect(await redis.set("bytes", "x".repeat(300))).toBe("OK");
    expect(await redis.get("bytes")).toBe("x".repeat(300));
  });

  test("passes on that the server has died, but not while it drops", async () => {
    const redis = await client();
    proxy.drop("down");
    await node.restartEmpty();
    expect(redis.status).toBe("ready");
    const ended = new Promise((resolve) => redis.once("end", resolve));
    proxy.pass();
    await ended;
    const later = await client();
    const laterEnded = new Promise((resolve) => later.once("end", resolve));
    await node.restartEmpty();
    await laterEnded;
  });
});

describe("the nemesis", () => {
  let cluster: Cluster;
  let node: ServerNode;
  beforeAll(async () => {
    cluster = await startCluster(1);
    node = first(cluster.nodes);
  });
  afterEach(() => node.restartEmpty());
  afterAll(() => cluster.stop());

  test("demotes and promotes: another replication id, the same run, the same data", async () => {
    await node.cli("SET", "a", 1);
    const [runId, replId] = [await infoOf(node, "run_id"), await infoOf(node, "master_replid")];
    await replicaOfCycle(node);
    expect(await infoOf(node, "role")).toBe("master");
    expect(await infoOf(node, "run_id")).toBe(runId);
    expect(await infoOf(node, "master_replid")).not.toBe(replId);
    expect(await node.cli("GET", "a")).toBe("1");
  });

  test("makes it forget keys and scripts", async () => {
    const sha = await node.cli("SCRIPT", "LOAD", "return 1");
    await node.cli("SET", "a", 1);
    await flushAll(node);
    expect(await node.dump()).toEqual({});
    expect(await node.cli("SCRIPT", "EXISTS", String(sha))).toEqual([1]);
    await scriptFlush(node);
    expect(await node.cli("SCRIPT", "EXISTS", String(sha))).toEqual([0]);
  });

  test("fills the memory: no new keys, but old ones can go", async () => {
    await node.cli("SET", "a", 1);
    await fillMemory(node);
    await expect(node.cli("SET", "b", 1)).rejects.toThrow("OOM");
    expect(await node.cli("PEXPIRE", "a", 60_000)).toBe(1);
    expect(await node.cli("DEL", "a")).toBe(1);
    await freeMemory(node);
    expect(await node.cli("SET", "b", 1)).toBe("OK");
    await evictionPolicy(node, "allkeys-lru", 0);
    expect(await node.cli("CONFIG", "GET", "maxmemory-policy")).toEqual(["maxmemory-policy", "allkeys-lru"]);
  });

  test("makes writes wait", async () => {
    await clientPauseWrite(node, 150);
    const began = performance.now();
    await node.cli("GET", "a");
    expect(performance.now() - began).toBeLessThan(120);
    await node.cli("SET", "a", 1);
    expect(performance.now() - began).toBeGreaterThan(120);
  });

  test("asks for a password, also those already connected", async () => {
    const redis = connect(node.port);
    await redis.ping();
    await requirePassword(node, "secret");
    await expect(redis.ping()).rejects.toThrow();
    await expect(connect(node.port).ping()).rejects.toThrow("NOAUTH");
    expect(await node.cli("PING")).toBe("PONG");
    await noPassword(node);
    expect(await connect(node.port).ping()).toBe("PONG");
  });

  test("puts it to sleep", async () => {
    const asleep = debugSleep(node, 0.2);
    await sleep(50);
    const began = performance.now();
    await node.cli("PING");
    expect(performance.now() - began).toBeGreaterThan(80);
    await asleep;
  });
});

describe("client processes", () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-client-"));
  const script = join(folder, "client.mjs");
  const built = new URL("../../build/src/chaos/machine/processes.js", import.meta.url).href;
  writeFileSync(
    script,
    `import { serveClient } from ${JSON.stringify(built)};
    const emit = serveClient({
      add: (a, b) => a + b + Number(process.argv[2] ?? 0),
      fail: () => { throw new Error("on purpose"); },
      say: (word) => emit("error", word),
      clock: () => Date.now(),
      never: () => new Promise(() => {}),
    });`,
  );
  afterAll(() => rmSync(folder, { recursive: true }));

  function client(args: string[] = [], env: Record<string, string> = {}): ClientProcess {
    const child = spawnClient(script, args, env);
    cleanups.push(() => child.kill());
    return child;
  }

  test("answer calls, throw, and say something by themselves", async () => {
    const child = client(["100"]);
    expect(await child.call("add", 1, 2)).toBe(103);
    await expect(child.call("fail")).rejects.toThrow("on purpose");
    await expect(child.call("unknown")).rejects.toThrow("no method unknown");
    const heard: unknown[] = [];
    child.on("error", (word) => heard.push(word));
    await child.call("say", "hello");
    expect(heard).toEqual(["hello"]);
  });

  test("pause, and die with what they were asked", async () => {
    const child = client();
    await child.call("add", 1, 2);
    child.pause();
    const sum = child.call("add", 3, 4);
    expect(await answered(sum, 80)).toBe(false);
    child.resume();
    expect(await sum).toBe(7);
    const unanswered = expect(child.call("never")).rejects.toThrow("SIGKILL");
    await child.kill();
    await unanswered;
    await expect(child.call("add", 1, 2)).rejects.toThrow("has ended");
  });

  test.skipIf(clockShimUnavailable() !== undefined)("have wrong clocks", async () => {
    const clock = new NodeClock(join(folder, "clock"));
    cleanups.push(() => clock.close());
    const child = client([], clockShimEnv(clock.controlFile));
    const aheadOfUs = async (): Promise<number> => Number(await child.call("clock")) - Date.now();
    expect(Math.abs(await aheadOfUs())).toBeLessThan(100);
    clock.step(3_600_000);
    expect(Math.abs((await aheadOfUs()) - 3_600_000)).toBeLessThan(100);
  });
});
