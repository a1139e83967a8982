/** `holdfast/redlock` beside the real redlock, on the same servers: the same shape, mutual exclusion both ways, and its defects gone. */
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { describe, expect, test } from "vitest";

import { afterEachTest, serversFor } from "../harness/clean-up.ts";
import type { Cluster } from "../../src/chaos/servers/cluster.ts";
import { sleep, waitFor } from "../../src/chaos/machine/wait-for.ts";
import Redlock, {
  ExecutionError,
  Lock,
  Redlock as NamedRedlock,
  type RedlockAbortSignal,
  ResourceLockedError,
} from "../../src/redlock/index.ts";
import { failure } from "../harness/failure.ts";

interface TheirLock {
  readonly expiration: number;
  release(): Promise<unknown>;
  extend(ms: number): Promise<TheirLock>;
}
type TheirRedlock = new (
  clients: unknown[],
  settings?: object,
) => { on(event: "error", heard: () => void): void; acquire(keys: string[], ms: number): Promise<TheirLock> };
const require = createRequire(import.meta.url);
const Theirs = (require("redlock") as { default: TheirRedlock }).default;

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);

/** In the major version of ioredis that redlock was written for, unless told otherwise. */
function clientsOf<C extends { disconnect(): void; on(event: "error", heard: () => void): unknown }>(
  cluster: Cluster,
  Client: new (url: string) => C,
): C[] {
  const clients = cluster.urls.map((url) => new Client(url));
  for (const client of clients) client.on("error", () => {});
  cleanUp(() => clients.forEach((client) => client.disconnect()));
  return clients;
}

function ours(cluster: Cluster, settings?: ConstructorParameters<typeof Redlock>[1]): Redlock {
  const redlock = new Redlock(clientsOf(cluster, Redis5), settings);
  cleanUp(() => redlock.quit().catch(() => {}));
  return redlock;
}

function theirs(cluster: Cluster, settings: object = { retryCount: 0 }): InstanceType<TheirRedlock> {
  const redlock = new Theirs(clientsOf(cluster, Redis5), settings);
  redlock.on("error", () => {});
  return redlock;
}

describe("what users of redlock 5 rely on", () => {
  test.each([1, 3])("locks for thousands of years, on %i nodes", async (size) => {
    const cluster = await servers(size);
    const redlock = ours(cluster);
    const duration = Math.floor(Number.MAX_SAFE_INTEGER / 10);
    const ttls = () => Promise.all(cluster.nodes.map(async (node) => Number(await node.cli("PTTL", "long"))));
    const lock = await redlock.acquire(["long"], duration);
    await waitFor(async () => (await ttls()).every((ttl) => Math.abs(ttl - duration) < 10_000), {
      what: "every node has it",
    });
    const longer = await lock.extend(3 * duration);
    for (const ttl of await ttls()) expect(Math.abs(ttl - 3 * duration)).toBeLessThan(10_000);
    expect(longer.expiration).toBeGreaterThan(Date.now() + 2 * duration);
    await longer.release();
    expect(await cluster.nodes[0]?.cli("GET", "long")).toBe(null);
  });

  test("a lock for a year keeps a node that restarts out for a day at most", async () => {
    const cluster = await servers(3);
    const redlock = ours(cluster);
    await redlock.acquire(["long"], 365 * 86_400_000);
    expect(await cluster.nodes[0]?.cli("HGET", "holdfast:node", "ttl")).toBe(String(86_400_000));
  });

  test("a failed acquire tells of each try, and has left the nodes when it does", async () => {
    const cluster = await servers(3);
    const redlock = ours(cluster, { retryCount: 3, retryDelay: 50, retryJitter: 10 });
    for (const node of cluster.nodes.slice(1)) await node.cli("SET", "{a}", "somebody else's", "PX", 60_000);
    const error = await failure(redlock.acquire(["{a}", "{a}b"], 10_000));
    expect(error).toBeInstanceOf(ExecutionError);
    expect(await cluster.nodes[0]?.cli("EXISTS", "{a}", "{a}b")).toBe(0);
    const attempts = await Promise.all((error as ExecutionError).attempts);
    expect(attempts).toHaveLength(4);
    for (const { votesAgainst } of attempts) {
      expect(votesAgainst.size).toBeGreaterThanOrEqual(2);
      for (const vote of votesAgainst.values()) {
        expect(vote).toBeInstanceOf(ResourceLockedError);
        expect(vote.message).toBe("The operation was applied to: 0 of the 2 requested resources.");
        expect(vote.cause).toMatchObject({
          message: expect.stringContaining("held by somebody else's") as string,
        });
      }
    }
  });

  test("clients that ended, before or meanwhile, are no quorum", async () => {
    const client = new Redis5({ port: 1, retryStrategy: () => null });
    client.on("error", () => {});
    const redlock = new Redlock([client], { retryCount: 2 });
    for (let i = 0; i < 2; i++) {
      const error = await failure(redlock.acquire(["a"], 1_000));
      expect(error).toBeInstanceOf(ExecutionError);
      expect((error as ExecutionError).attempts).toHaveLength(3);
    }
  });

  test("a duration that is no integer is refused in redlock's words", async () => {
    const redlock = ours(await servers(1));
    for (const duration of [1.5, Number.NaN, Number.MAX_SAFE_INTEGER / 10])
      expect(await failure(redlock.acquire(["a"], duration))).toMatchObject({
        code: "OPTION_RANGE",
        message: "Duration must be an integer value in milliseconds.",
      });
  });
});

describe("the shape of redlock 5", () => {
  test("acquire, extend, release: the lock has resources, value, expiration and attempts", async () => {
    const cluster = await servers(3);
    const redlock = ours(cluster);
    const lock = await redlock.acquire(["a", "b"], 5_000);
    expect(lock).toBeInstanceOf(Lock);
    expect(lock.resources).toEqual(["a", "b"]);
    expect(lock.redlock).toBe(redlock);
    expect(await cluster.nodes[0]?.cli("GET", "a")).toBe(lock.value);
    expect(lock.expiration - Date.now()).toBeGreaterThan(4_000);
    expect(lock.expiration - Date.now()).toBeLessThan(5_000);
    const [stats] = await Promise.all(lock.attempts);
    expect(stats).toMatchObject({ membershipSize: 3, quorumSize: 2 });
    expect(stats?.votesFor.size).toBeGreaterThanOrEqual(2);
    const extended = await lock.extend(10_000);
    expect(lock.expiration).toBe(0);
    expect(extended.expiration - Date.now()).toBeGreaterThan(9_000);
    expect(extended.fence).toBe(lock.fence);
    await extended.release();
    expect(extended.expiration).toBe(0);
    const next = await redlock.acquire(["a"], 1_000);
    expect(next.fence).toBeGreaterThan(lock.fence);
    await next.release();
  });

  test("by name, with a string for one resource, and with clients of ioredis 6", async () => {
    const cluster = await servers(1);
    const redlock = new NamedRedlock(clientsOf(cluster, Redis));
    const lock = await redlock.acquire("a", 1_000);
    expect([lock.resource, lock.resources]).toEqual(["a", ["a"]]);
    await redlock.quit();
    expect(await failure(redlock.acquire("a", 1_000))).toBeInstanceOf(ExecutionError);
  });

  test("quit tells the routines, gives their locks back behind them, and leaves other locks to expire", async () => {
    const cluster = await servers(3);
    const [redlock, others] = [ours(cluster), ours(cluster)];
    const left = await redlock.acquire(["left"], 60_000);
    const order: string[] = [];
    let quitting: Promise<unknown> = Promise.resolve();
    const work = redlock.using(["work"], 60_000, async (signal) => {
      quitting = redlock.quit().then(() => order.push("quit"));
      order.push(signal.aborted ? "told" : "not told");
      const early = await failure(others.acquire(["work"], 1_000, { retryCount: 0 }));
      expect(early).toBeInstanceOf(ExecutionError);
      order.push("stops");
    });
    await work;
    await quitting;
    expect(order).toEqual(["told", "stops", "quit"]);
    await (await others.acquire(["work"], 1_000)).release();
    expect(await failure(others.acquire(["left"], 1_000, { retryCount: 0 }))).toBeInstanceOf(ExecutionError);
    expect(left.lease.isHeld()).toBe(true);
  });

  test("contention ends with an ExecutionError that says who holds it where, within the retry window", async () => {
    const cluster = await servers(3);
    const redlock = ours(cluster, { retryCount: 2, retryDelay: 50, retryJitter: 0 });
    const errors: Error[] = [];
    redlock.on("error", (error: Error) => errors.push(error));
    const lock = await redlock.acquire(["a"], 5_000);
    const began = performance.now();
    const error = await failure(redlock.acquire(["a"], 5_000));
    expect(performance.now() - began).toBeGreaterThan(80);
    expect(error).toBeInstanceOf(ExecutionError);
    expect(error.message).toMatch(/^The operation was unable to achieve a quorum during its retry window/);
    const redlock2 = ours(cluster, { retryCount: 0 });
    const foreign = (await failure(redlock2.acquire(["a"], 5_000))) as unknown as ExecutionError;
    const [stats] = await Promise.all(foreign.attempts);
    expect(
      [...(stats?.votesAgainst.values() ?? [])].every((vote) => vote instanceof ResourceLockedError),
    ).toBe(true);
    expect(foreign.message).toContain(`held by ${lock.value}`);
    // That somebody holds it is no error event.
    expect(errors).toEqual([]);
  });

  test("using: extended for as long as it runs, the routine's result and error pass through", async () => {
    const cluster = await servers(3);
    const redlock = ours(cluster);
    const result = await redlock.using(["a"], 1_000, async (signal: RedlockAbortSignal, { fence }) => {
      await sleep(1_800);
      expect(signal.aborted).toBe(false);
      expect(signal.error).toBeUndefined();
      return fence;
    });
    expect(result).toBeGreaterThan(0);
    const thrown = new Error("the routine's own");
    expect(await failure(redlock.using(["a"], 1_000, { retryCount: 0 }, () => Promise.reject(thrown)))).toBe(
      thrown,
    );
    await (await redlock.acquire(["a"], 1_000)).release();
  });

  test("using: a loss aborts the signal with its error, and is told whatever the routine answers", async () => {
    const cluster = await servers(1);
    const redlock = ours(cluster);
    const error = await failure(
      redlock.using(["a"], 1_000, async (signal) => {
        await cluster.nodes[0]?.cli("DEL", "a");
        await waitFor(() => signal.aborted, { what: "it is told" });
        expect(signal.error).toMatchObject({ code: "LEASE_LOST" });
        return "done all the same";
      }),
    );
    expect(error).toBeInstanceOf(ExecutionError);
    expect(error.message).toContain("no longer holds it");
  });

  test("what cannot be right is refused with the reason", async () => {
    const cluster = await servers(1);
    const redlock = ours(cluster);
    expect(() => new Redlock([])).toThrow("at least one redis client");
    expect(() => new Redlock(redlock.clients, {}, { acquireScript: "return 1" })).toThrow(/acquireScript/);
    for (const duration of [0, 1.5, -1, Number.NaN])
      expect(await failure(redlock.acquire(["a"], duration))).toMatchObject({ code: "OPTION_RANGE" });
    expect(await failure(redlock.acquire([], 1_000))).toMatchObject({ code: "OPTION_RANGE" });
    expect(await failure(redlock.using(["a"], 1_000, "no function" as never))).toMatchObject({
      code: "OPTION_RANGE",
    });
  });

  test("durations of any length: shorter than a lock can be, and longer than is usual", async () => {
    const cluster = await servers(3);
    const redlock = ours(cluster);
    const short = await redlock.acquire(["short"], 100);
    expect(short.expiration - Date.now()).toBeLessThanOrEqual(100);
    await sleep(120);
    expect(await failure(short.extend(100))).toBeInstanceOf(ExecutionError);
    const long = await redlock.acquire(["long"], 600_000);
    expect(long.expiration - Date.now()).toBeGreaterThan(590_000);
    await long.release();
  });

  test("release: an ExecutionError where it had expired", async () => {
    const cluster = await servers(1);
    const lock = await ours(cluster).acquire(["a"], 500);
    await waitFor(() => !lock.lease.isHeld(), { what: "it has expired" });
    const error = await failure(lock.release());
    expect(error).toBeInstanceOf(ExecutionError);
    expect(error.message).toContain("had expired");
  });
});

describe("the names of redlock 4", () => {
  test("lock, unlock, extend, acquireWithOptions; promises and callbacks", async () => {
    const cluster = await servers(1);
    const redlock = ours(cluster);
    const lock = await redlock.lock("a", 1_000);
    await redlock.unlock(await redlock.extend(lock, 2_000));
    const again = await redlock.lockWithOptions("a", 1_000, { retryCount: 0 });
    const taken = await new Promise((resolve) => {
      redlock.acquireWithOptions("a", 1_000, { retryCount: 0 }, (error) => resolve(error)).catch(() => {});
    });
    expect(taken).toBeInstanceOf(Redlock.LockError);
    await new Promise<void>((resolve, reject) => {
      again.unlock((error) => (error === null ? resolve() : reject(error as Error))).catch(() => {});
    });
    const viaCallback = await new Promise<Lock | undefined>((resolve) => {
      void redlock.lock("a", 1_000, (_error, result) => resolve(result));
    });
    expect(viaCallback).toBeInstanceOf(Redlock.Lock);
    await viaCallback?.unlock();
  });
});

describe.each([1, 3])("side by side with redlock 5 on %i nodes", (size) => {
  test("each keeps the other out, and lets it in after the release", async () => {
    const cluster = await servers(size);
    const [mine, other] = [ours(cluster, { retryCount: 0 }), theirs(cluster)];
    const lock = await mine.acquire(["a"], 5_000);
    await expect(other.acquire(["a"], 5_000)).rejects.toThrow("unable to achieve a quorum");
    await lock.release();
    const theirLock = await other.acquire(["a"], 5_000);
    expect(await failure(mine.acquire(["a"], 5_000))).toBeInstanceOf(ExecutionError);
    const extended = await theirLock.extend(5_000);
    expect(await failure(mine.acquire(["a", "b"], 5_000))).toBeInstanceOf(ExecutionError);
    await extended.release();
    await (await mine.acquire(["a", "b"], 5_000)).release();
  });

  test("a counter that both count up loses nothing", async () => {
    const cluster = await servers(size);
    const mine = ours(cluster, { retryCount: -1, retryDelay: 10, retryJitter: 5 });
    const other = theirs(cluster, { retryCount: -1, retryDelay: 10, retryJitter: 5 });
    let count = 0;
    const countUp = async (take: () => Promise<{ release(): Promise<unknown> }>) => {
      for (let i = 0; i < 10; i++) {
        const lock = await take();
        const read = count;
        await sleep(1);
        count = read + 1;
        await lock.release();
      }
    };
    await Promise.all([
      countUp(() => mine.acquire(["counter"], 5_000)),
      countUp(() => mine.acquire(["counter"], 5_000)),
      countUp(() => other.acquire(["counter"], 5_000)),
      countUp(() => other.acquire(["counter"], 5_000)),
    ]);
    expect(count).toBe(40);
  });
});

describe("where redlock fails", () => {
  test("a node that restarts empty mid-hold lets nobody in", async () => {
    const cluster = await servers(3);
    const [mine, other] = [ours(cluster), ours(cluster, { retryCount: 3 })];
    const lock = await mine.acquire(["a"], 5_000);
    await cluster.nodes[0]?.kill();
    await cluster.nodes[0]?.restartEmpty();
    await cluster.nodes[1]?.kill();
    await cluster.nodes[1]?.restartEmpty();
    expect(await failure(other.acquire(["a"], 5_000))).toBeInstanceOf(ExecutionError);
    await lock.release().catch(() => {});
  });

  test("using: the loss of the quorum is told before the lock's end", async () => {
    const cluster = await servers(3);
    const redlock = ours(cluster);
    const error = await failure(
      redlock.using(["a"], 2_000, async (signal) => {
        const began = performance.now();
        for (const node of cluster.nodes.slice(0, 2)) node.pause();
        await waitFor(() => signal.aborted, { what: "it is told", timeoutMs: 5_000 });
        expect(performance.now() - began).toBeLessThan(2_000);
        for (const node of cluster.nodes) node.resume();
      }),
    );
    expect(error).toBeInstanceOf(ExecutionError);
  });

  test("a program that only ends its own clients exits", async () => {
    const cluster = await servers(3);
    const script = `
      import { Redis } from "ioredis";
      import Redlock from ${JSON.stringify(new URL("../../build/src/redlock/index.js", import.meta.url).href)};
      const clients = ${JSON.stringify(cluster.urls)}.map((url) => new Redis(url));
      const redlock = new Redlock(clients);
      const lock = await redlock.acquire(["exit"], 5_000);
      await lock.release();
      for (const client of clients) await client.quit();
      console.log("at the end");`;
    const root = fileURLToPath(new URL("../..", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
      cwd: root,
      timeout: 10_000,
    });
    expect(stdout).toContain("at the end");
  });
});
