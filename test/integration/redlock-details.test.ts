/**
 * `holdfast/redlock` in the details that programs rest on: what each try came to, how settings count, what a routine is told, and what
 * becomes of clients that end. The shape itself, and redlock beside it, are in redlock.test.ts.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Redlock as TheirRedlock } from "@sesamecare-oss/redlock";
import { Redis } from "ioredis5";
import { describe, expect, test } from "vitest";

import { sleep, waitFor } from "../../src/chaos/machine/wait-for.ts";
import type { Cluster } from "../../src/chaos/servers/cluster.ts";
import Redlock, {
  ExecutionError,
  type ExecutionStats,
  Lock,
  ResourceLockedError,
} from "../../src/redlock/index.ts";
import { afterEachTest, serversFor } from "../harness/clean-up.ts";
import { failure } from "../harness/failure.ts";

type Settings = ConstructorParameters<typeof Redlock>[1];

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);

function clientsOf(cluster: Cluster, options: object = {}): Redis[] {
  const clients = cluster.urls.map((url) => new Redis(url, options));
  for (const client of clients) client.on("error", () => {});
  cleanUp(() => clients.forEach((client) => client.disconnect()));
  return clients;
}

function over(clients: Redis[], settings?: Settings): Redlock {
  const redlock = new Redlock(clients, settings);
  cleanUp(() => redlock.quit().catch(() => {}));
  return redlock;
}

function statsOf({ attempts }: { readonly attempts: readonly Promise<ExecutionStats>[] }) {
  return Promise.all(attempts);
}

async function failed(work: Promise<unknown>): Promise<ExecutionError> {
  const error = await failure(work);
  expect(error).toBeInstanceOf(ExecutionError);
  return error as unknown as ExecutionError;
}

function faultsTold(redlock: Redlock): Error[] {
  const told: Error[] = [];
  redlock.on("error", (error: Error) => told.push(error));
  return told;
}

describe("what each try came to", () => {
  test.each([1, 3])("behind a lock of the same instance, %i nodes say that it is held", async (size) => {
    const redlock = over(clientsOf(await servers(size)), { retryCount: 2, retryDelay: 30, retryJitter: 0 });
    const lock = await redlock.acquire(["a", "b"], 10_000);
    const tries = await statsOf(await failed(redlock.acquire(["c", "b"], 10_000)));
    expect(tries).toHaveLength(3);
    for (const { votesFor, votesAgainst, membershipSize } of tries) {
      expect([membershipSize, votesFor.size, votesAgainst.size]).toEqual([size, 0, size]);
      for (const vote of votesAgainst.values()) {
        expect(vote).toBeInstanceOf(ResourceLockedError);
        expect(vote.cause).toMatchObject({
          message: expect.stringContaining(`held by ${lock.value}`) as string,
        });
      }
    }
  });

  test("a lock's statistics settle when the last node has answered, and then have its vote", async () => {
    const cluster = await servers(3);
    const redlock = over(clientsOf(cluster));
    await (await redlock.acquire(["warm"], 1_000)).release();
    cluster.nodes[2]?.pause();
    const lock = await redlock.acquire(["a"], 10_000);
    const [said] = lock.attempts;
    expect(await Promise.race([said, sleep(20)])).toBeUndefined();
    cluster.nodes[2]?.resume();
    expect((await said)?.votesFor.size).toBe(3);
  });

  test("an extension has statistics of its own", async () => {
    const cluster = await servers(3);
    const redlock = over(clientsOf(cluster));
    const lock = await redlock.acquire(["a"], 10_000);
    await statsOf(lock);
    await cluster.nodes[2]?.cli("SET", "a", "somebody else's", "PX", 60_000);
    const longer = await lock.extend(20_000);
    const [stats] = await statsOf(longer);
    expect([stats?.votesFor.size, stats?.votesAgainst.size]).toEqual([2, 1]);
    for (const vote of stats?.votesAgainst.values() ?? []) expect(vote).toBeInstanceOf(ResourceLockedError);
  });

  test("an extension that too few nodes answer is tried again, and tells of every try", async () => {
    const cluster = await servers(3);
    const redlock = over(clientsOf(cluster), { retryCount: 10, retryDelay: 100, retryJitter: 0 });
    const lock = await redlock.acquire(["a"], 20_000);
    const told = faultsTold(redlock);
    for (const node of cluster.nodes.slice(1)) node.pause();
    const once = await failed(redlock.extend(lock, 20_000, { retryCount: 0 }));
    expect(await statsOf(once)).toHaveLength(1);
    told.length = 0;
    const extending = lock.extend(20_000);
    await waitFor(() => told.length > 0, { what: "a try has failed" });
    for (const node of cluster.nodes.slice(1)) node.resume();
    const tries = await statsOf(await extending);
    expect(tries.length).toBeGreaterThan(1);
    expect(tries[0]?.votesFor.size).toBeLessThan(2);
    expect(tries.at(-1)?.votesFor.size).toBeGreaterThanOrEqual(2);
  });

  test("an extension of a lock that is gone fails at once, however often it might be tried", async () => {
    const cluster = await servers(3);
    const redlock = over(clientsOf(cluster), { retryCount: -1 });
    const lock = await redlock.acquire(["a"], 10_000);
    for (const node of cluster.nodes) await node.cli("SET", "a", "somebody else's", "PX", 60_000);
    const [stats] = await statsOf(await failed(lock.extend(10_000)));
    expect(stats?.votesAgainst.size).toBeGreaterThanOrEqual(2);
    for (const vote of stats?.votesAgainst.values() ?? []) expect(vote).toBeInstanceOf(ResourceLockedError);
  });

  test("a release tells who confirmed it, when it was asked for, and whether there was anything to release", async () => {
    const cluster = await servers(3);
    const redlock = over(clientsOf(cluster));
    const before = Date.now();
    const first = await redlock.acquire(["a"], 10_000);
    const second = await first.extend(10_000);
    const released = await redlock.release(first);
    expect(released.start).toBeGreaterThanOrEqual(before);
    expect((await statsOf(released))[0]?.votesFor.size).toBeGreaterThanOrEqual(2);
    expect((await failed(second.release())).message).toContain("released before");
    const expired = await redlock.acquire(["b"], 500);
    await waitFor(() => !expired.lease.isHeld(), { what: "it has expired" });
    const [stats] = await statsOf(await failed(expired.release()));
    expect([stats?.votesFor.size, stats?.votesAgainst.size]).toEqual([0, 3]);
  });

  test("nodes that cannot be reached are errors that are told, also where nothing is acquired", async () => {
    const cluster = await servers(3);
    const redlock = over(clientsOf(cluster), { retryCount: 1, retryDelay: 20, retryJitter: 0 });
    await (await redlock.acquire(["a"], 1_000)).release();
    const told = faultsTold(redlock);
    for (const node of cluster.nodes.slice(1)) await node.kill();
    const tries = await statsOf(await failed(redlock.acquire(["a"], 1_000)));
    expect(tries).toHaveLength(2);
    expect(told).toHaveLength(2);
    expect(told.some((error) => error instanceof ResourceLockedError)).toBe(false);
  });
});

describe("settings, durations and arguments", () => {
  test("what is no number is refused by name; null and undefined hide nothing", async () => {
    const clients = clientsOf(await servers(1));
    const bad = (settings: object) => () => new Redlock(clients, settings);
    expect(bad({ retryCount: "3" })).toThrow(/retryCount must be an integer of at least -1, got "3"/);
    expect(bad({ retryCount: 1.5 })).toThrow(/retryCount/);
    expect(bad({ retryDelay: -1 })).toThrow(/retryDelay must be a number of at least 0/);
    expect(bad({ retryJitter: Number.NaN })).toThrow(/retryJitter/);
    expect(bad({ db: -1 })).toThrow(/db must be an integer of at least 0/);
    const redlock = over(clients, { retryCount: null, retryDelay: undefined } as unknown as Settings);
    expect(redlock.settings).toMatchObject({ retryCount: 10, retryDelay: 200, driftFactor: 0.01 });
    const nothing = await failure(redlock.acquire(["a"], 1_000, { retryDelay: "5" } as never));
    expect(nothing).toMatchObject({ code: "OPTION_RANGE", option: "retryDelay" });
  });

  test("a call's own driftFactor makes its lock expire earlier", async () => {
    const redlock = over(clientsOf(await servers(1)));
    const lock = await redlock.acquire(["a"], 100_000, { driftFactor: 0.5 });
    expect(lock.expiration - Date.now()).toBeLessThanOrEqual(50_000);
    const longer = await redlock.extend(lock, 200_000, { driftFactor: 0.5 });
    expect(longer.expiration - Date.now()).toBeLessThanOrEqual(100_000);
    expect(longer.expiration - Date.now()).toBeGreaterThan(90_000);
  });

  test("any integer is a duration, up to the largest", async () => {
    const redlock = over(clientsOf(await servers(3)));
    const lock = await redlock.acquire(["a"], 1_000);
    const longest = await lock.extend(Number.MAX_SAFE_INTEGER);
    expect(longest.expiration).toBeGreaterThan(2 ** 51);
    await longest.release();
    await (await redlock.acquire(["a"], Number.MAX_SAFE_INTEGER)).release();
    for (const duration of [Infinity, 2 ** 53, -5])
      expect(await failure(redlock.acquire(["a"], duration))).toMatchObject({ code: "OPTION_RANGE" });
  });

  test("redlock 4: a callback behind acquire and quit", async () => {
    const redlock = over(clientsOf(await servers(1)));
    const lock = await new Promise<Lock | undefined>((resolve) => {
      void redlock.acquire("a", 1_000, (_error, result) => resolve(result));
    });
    expect(lock).toBeInstanceOf(Lock);
    const error = await new Promise<unknown>((resolve) => void redlock.quit(resolve));
    expect(error).toBe(null);
  });

  test("a lock made by hand is refused with the reason", async () => {
    const redlock = over(clientsOf(await servers(1)));
    expect(() => Reflect.construct(Lock, [redlock, ["a"], "value", [], Date.now() + 1_000]) as Lock).toThrow(
      /made by acquire and extend/,
    );
    const byHand = { resources: ["a"], value: "value", expiration: Date.now() + 1_000 } as unknown as Lock;
    for (const use of [redlock.release(byHand), redlock.extend(byHand, 1_000), redlock.unlock(byHand)])
      expect(await failure(use)).toMatchObject({ code: "OPTION_RANGE", option: "lock" });
  });
});

describe("what users of @sesamecare-oss/redlock rely on", () => {
  test("a routine is told of its lock, as it is now, and how often it was extended", async () => {
    const redlock = over(clientsOf(await servers(3)));
    await redlock.using(["a"], 1_000, undefined, async (_signal, context) => {
      const first = context.lock;
      expect([context.extensions, first.fence]).toEqual([0, context.fence]);
      await waitFor(() => context.extensions > 1, { what: "it was extended twice" });
      expect(context.lock.expiration).toBeGreaterThan(first.expiration);
      expect(context.lock.value).toBe(first.value);
      expect(context.lock).toBe(context.lock);
    });
  });

  test("db: the locks are in that database, where both exclude each other", async () => {
    const cluster = await servers(1);
    const settings = { db: 2, retryCount: 0 };
    const mine = over(clientsOf(cluster), settings);
    const other = new TheirRedlock(clientsOf(cluster) as never, settings);
    other.on("error", () => {});
    const lock = await mine.acquire(["a"], 10_000);
    const [inside] = clientsOf(cluster, { db: 2 });
    expect(await inside?.get("a")).toBe(lock.value);
    await expect(other.acquire(["a"], 1_000)).rejects.toThrow("unable to achieve a quorum");
    await lock.release();
    const theirs = await other.acquire(["a"], 10_000);
    await failed(mine.acquire(["a"], 1_000));
    await theirs.release();
    expect(await cluster.nodes[0]?.cli("EXISTS", "a")).toBe(0);
  });
});

describe("clients, as programs treat them", () => {
  test("instances over the same clients share their connections, and one of them ends those of all", async () => {
    const cluster = await servers(1);
    const clients = clientsOf(cluster);
    const warnings: Error[] = [];
    const warned = (warning: Error) => void warnings.push(warning);
    process.on("warning", warned);
    cleanUp(() => void process.off("warning", warned));
    const lone = over(clients);
    await (await lone.acquire(["a"], 1_000)).release();
    const connections = async () => String(await cluster.nodes[0]?.cli("CLIENT", "LIST")).split("\n").length;
    const before = await connections();
    for (let i = 0; i < 30; i++) {
      const each = new Redlock(clients, { retryCount: i });
      await (await each.acquire(["a"], 1_000)).release();
    }
    expect(await connections()).toBe(before);
    expect(warnings.filter(({ name }) => name === "MaxListenersExceededWarning")).toEqual([]);
    await new Redlock(clients).quit();
    const [stats] = await statsOf(await failed(lone.acquire(["a"], 1_000)));
    for (const vote of stats?.votesAgainst.values() ?? []) expect(vote.message).toBe("Connection is closed.");
    expect(stats?.votesAgainst.size).toBe(1);
  });

  test("clients that the user ended are none, until they are connected again", async () => {
    const cluster = await servers(3);
    const clients = clientsOf(cluster);
    const redlock = over(clients, { retryCount: 1, retryDelay: 20 });
    await (await redlock.acquire(["a"], 1_000)).release();
    await Promise.all(clients.map((client) => client.quit()));
    await waitFor(() => clients.every(({ status }) => status === "end"), { what: "all have ended" });
    const tries = await statsOf(await failed(redlock.acquire(["a"], 1_000)));
    expect(tries.map(({ votesAgainst }) => votesAgainst.size)).toEqual([3, 3]);
    await Promise.all(clients.map((client) => client.connect()));
    await (await redlock.acquire(["a"], 1_000)).release();
  });

  test("clients that gave up during an outage cost no lock that is held, and are not needed when it is over", async () => {
    const cluster = await servers(1);
    const clients = clientsOf(cluster, { retryStrategy: () => null });
    const redlock = over(clients);
    await redlock.using(["held"], 8_000, async (signal) => {
      await cluster.nodes[0]?.kill();
      await waitFor(() => clients.every(({ status }) => status === "end"), { what: "the client gave up" });
      await cluster.nodes[0]?.restart();
      await (await redlock.acquire(["another"], 1_000)).release();
      expect(signal.aborted).toBe(false);
    });
    await (await redlock.acquire(["after"], 1_000)).release();
  });

  test("a program whose clients gave up exits", async () => {
    const cluster = await servers(1);
    const script = `
      import { Redis } from "ioredis";
      import Redlock from ${JSON.stringify(new URL("../../build/src/redlock/index.js", import.meta.url).href)};
      const client = new Redis(${JSON.stringify(cluster.urls[0])}, { retryStrategy: () => null });
      client.on("error", () => {});
      const redlock = new Redlock([client], { retryCount: 1 });
      await (await redlock.acquire(["exit"], 5_000)).release();
      console.log("acquired");
      await new Promise((resolve) => client.on("end", resolve));
      await redlock.acquire(["exit"], 5_000).catch(({ name }) => console.log(name));`;
    const root = fileURLToPath(new URL("../..", import.meta.url));
    const running = promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
      cwd: root,
      timeout: 20_000,
    });
    await new Promise((resolve) => running.child.stdout?.once("data", resolve));
    await cluster.nodes[0]?.kill();
    expect((await running).stdout).toBe("acquired\nExecutionError\n");
  });
});
