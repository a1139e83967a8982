/**
 * One contract for every mode: the same calls give the same answers in memory, on one node, on three and five, and on three of which
 * one is dead. Two lockers stand for two clients throughout.
 */
import { readFileSync } from "node:fs";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import {
  AcquireTimeoutError,
  createLocker,
  type HoldfastEvent,
  type Lease,
  LeaseLostError,
  type Locker,
  LockerClosedError,
  type LockerOptions,
} from "../../src/index.ts";
import { startCluster } from "../../src/chaos/servers/cluster.ts";
import type { Servers } from "../../src/chaos/servers/server-node.ts";
import { dockerUnavailable, startDockerCluster } from "../harness/docker-cluster.ts";
import { sleep, waitFor } from "../../src/chaos/machine/wait-for.ts";

interface Setting {
  readonly name: string;
  readonly servers: number;
  readonly dead: number;
  options(urls: readonly string[]): LockerOptions;
  /** What is done to the servers first. */
  prepare?(servers: Servers): Promise<unknown>;
}

const TTL_MS = 1_200;
/** A starved machine answers late, and that is not what is tested here. */
const TIMES = { ttlMs: TTL_MS, nodeTimeoutMs: TTL_MS / 3 };

const SETTINGS: readonly Setting[] = [
  { name: "memory", servers: 0, dead: 0, options: () => ({ mode: "memory", ...TIMES }) },
  {
    name: "single",
    servers: 1,
    dead: 0,
    options: ([url = ""]) => ({ mode: "single", nodes: [url], ...TIMES }),
  },
  ...[1, 3, 4, 5].map((servers): Setting => quorum(`quorum of ${servers}`, servers, 0)),
  quorum("quorum of 3, one of them dead", 3, 1),
  {
    ...quorum("quorum of 3, with no more rights than it needs", 3, 0),
    options: (urls) => ({
      mode: "quorum",
      nodes: urls.map((url) => url.replace("redis://", "redis://holdfast:secret@")),
      ...TIMES,
      keyPrefix: "lock:",
    }),
    prepare: ({ nodes }) =>
      Promise.all(nodes.map((node) => node.cli("ACL", "SETUSER", "holdfast", ...documentedRights()))),
  },
];

/** The access rules of docs/operations.md, with the key patterns it gives for a prefix. */
function documentedRights(): string[] {
  const page = readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8");
  const [, rules = ""] = /ACL SETUSER holdfast ([^`]+)```/.exec(page) ?? [];
  const [, patterns = ""] = /give `(~lock:[^`]+)` instead/.exec(page) ?? [];
  if (rules === "" || patterns === "") throw new Error("docs/operations.md has no access rules any more");
  return rules.trim().replace("~*", patterns).split(/\s+/);
}

function quorum(name: string, servers: number, dead: number): Setting {
  return { name, servers, dead, options: (nodes) => ({ mode: "quorum", nodes, ...TIMES }) };
}

/**
 * Until just before its validity ends, by a timer like any other: on a machine that is too busy for timers both are late, but what was due
 * before it has come before it.
 */
async function validityAllButOver(lease: Lease): Promise<void> {
  const { signal } = lease;
  expect(signal.aborted).toBe(false);
  await sleep(lease.remainingMs() - 5);
}

/** `npm run test:docker` runs this on servers in containers. */
const isInContainers = process.env["HOLDFAST_TEST_SERVERS"] === "docker";
const start: (size: number) => Promise<Servers> = isInContainers ? startDockerCluster : startCluster;
const why = isInContainers ? await dockerUnavailable() : undefined;

describe.skipIf(why !== undefined).each(SETTINGS)(
  `$name${why === undefined ? "" : ` (not run: ${why})`}`,
  (setting) => {
    let cluster: Servers;
    let urls: string[];
    const lockers: Locker[] = [];
    let keys = 0;
    let key: string;

    beforeAll(async () => {
      cluster = await start(setting.servers);
      urls = cluster.nodes.map(({ url }) => url);
      await setting.prepare?.(cluster);
      await using operator = createLocker(setting.options(urls));
      await operator.init();
      await Promise.all(cluster.nodes.slice(0, setting.dead).map((node) => node.kill()));
    });
    afterAll(() => cluster.stop());
    afterEach(async () => {
      await Promise.all(lockers.splice(0).map((locker) => locker.close({ withinMs: 0 })));
    });

    async function client(more: Partial<LockerOptions> = {}): Promise<Locker> {
      const locker = createLocker({ ...setting.options(urls), ...more } as LockerOptions);
      lockers.push(locker);
      await locker.ready();
      key = `contract:${setting.name}:${keys++}`;
      return locker;
    }

    test("acquires, excludes the other, and lets it in after the release", async () => {
      const [mine, theirs] = [await client(), await client()];
      const lease = await mine.acquire(key);
      expect(lease).toMatchObject({ key, keys: [key] });
      expect(lease.isHeld()).toBe(true);
      expect(lease.remainingMs()).toBeGreaterThan(TTL_MS / 2);
      expect(await theirs.tryAcquire(key)).toBeUndefined();
      expect(await lease.verify()).toBe("held");
      expect(await lease.release()).toMatchObject({ outcome: "released" });
      expect(lease.isHeld()).toBe(false);
      const next = await theirs.tryAcquire(key);
      expect(next?.isHeld()).toBe(true);
      expect(next?.fence).toBeGreaterThan(lease.fence);
    });

    test("gives ever larger fences", async () => {
      const [mine, theirs] = [await client(), await client()];
      const fences: number[] = [];
      for (let i = 0; i < 20; i++) {
        const lease = await (i % 2 === 0 ? mine : theirs).acquire(key);
        fences.push(lease.fence);
        await lease.release();
      }
      expect(fences).toEqual([...new Set(fences)].sort((a, b) => a - b));
    });

    test("waits for a lock that is released, and for one that expires", async () => {
      const [mine, theirs] = [await client(), await client()];
      const lease = await mine.acquire(key);
      const waiting = theirs.acquire(key, { waitMs: 5_000 });
      await lease.release();
      const next = await waiting;
      expect(next.isHeld()).toBe(true); // Never released: its ttl must end it.
      const last = await mine.acquire(key, { waitMs: 3 * TTL_MS });
      expect(next.isHeld()).toBe(false);
      expect(last.fence).toBeGreaterThan(next.fence);
    });

    test("says who holds it when the waiting was in vain", async () => {
      const [mine, theirs] = [await client(), await client()];
      const lease = await mine.acquire(key, { owner: "the-holder" });
      const error = await theirs.acquire(key, { waitMs: 150 }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(AcquireTimeoutError);
      const { nodes, code } = error as AcquireTimeoutError;
      expect(code).toBe("ACQUIRE_TIMEOUT");
      expect(nodes.filter(({ holder }) => holder === lease.holder).length).toBeGreaterThan(
        (setting.servers - setting.dead) / 2,
      );
      expect(lease.holder).toMatch(/^the-holder#/);
    });

    test("takes several keys all or nothing", async () => {
      const [mine, theirs] = [await client(), await client()];
      const [a, b, c] = [`${key}:a`, `${key}:b`, `${key}:c`];
      const lease = await mine.acquire([a, b]);
      expect(await theirs.tryAcquire([b, c])).toBeUndefined();
      const other = await theirs.tryAcquire(c);
      expect(other).toBeDefined();
      await lease.release();
      await other?.release();
      expect(await theirs.tryAcquire([a, b, c])).toBeDefined();
    });

    test("extends, without a new fence and beyond the first validity", async () => {
      const [mine, theirs] = [await client(), await client()];
      const lease = await mine.acquire(key);
      const { fence } = lease;
      const ends = performance.now() + 1.5 * TTL_MS;
      while (performance.now() < ends) {
        await lease.extend();
        expect(await theirs.tryAcquire(key)).toBeUndefined();
        await sleep(100);
      }
      expect(lease.fence).toBe(fence);
      expect(lease.signal.aborted).toBe(false);
    });

    test("extends by itself in using, and returns what the body returns", async () => {
      const [mine, theirs] = [await client(), await client()];
      const result = await mine.using(key, async (lease) => {
        await sleep(1.6 * TTL_MS);
        expect(await theirs.tryAcquire(key)).toBeUndefined();
        lease.assertHeld();
        return lease.fence;
      });
      const next = await theirs.tryAcquire(key);
      expect(next?.fence).toBeGreaterThan(result);
    });

    test("lets the body's error out of using, and releases", async () => {
      const locker = await client();
      const failure = new Error("the body's own");
      await expect(locker.using(key, () => Promise.reject(failure))).rejects.toBe(failure);
      expect(await locker.tryAcquire(key)).toBeDefined();
    });

    test("signals the loss of a lease nobody extends before its validity ends", async () => {
      const events: HoldfastEvent[] = [];
      const locker = await client({ observer: (event) => events.push(event) });
      const lease = await locker.acquire(key);
      await validityAllButOver(lease);
      expect(lease.signal.reason).toBeInstanceOf(LeaseLostError);
      expect(() => lease.assertHeld()).toThrow(LeaseLostError);
      await expect(lease.extend()).rejects.toBe(lease.signal.reason);
      expect(events).toContainEqual(
        expect.objectContaining({ type: "lost", cause: "expired", fence: lease.fence }),
      );
      await waitFor(() => !lease.isHeld(), { what: "the validity ends" });
      expect(await lease.release()).toMatchObject({ outcome: "expired" });
    });

    test("ends at maxHoldMs, whatever is extended", async () => {
      const locker = await client();
      const lease = await locker.acquire(key, { autoExtend: true, maxHoldMs: 700 });
      await validityAllButOver(lease);
      expect(lease.signal.reason).toMatchObject({ lossCause: "max-hold" });
    });

    test("gives up with the signal's reason while it waits, and leaves nothing behind", async () => {
      const [mine, theirs] = [await client(), await client()];
      const lease = await mine.acquire(key);
      const controller = new AbortController();
      const waiting = theirs.acquire(key, { signal: controller.signal });
      const reason = new Error("changed my mind");
      setTimeout(() => controller.abort(reason), 120);
      await expect(waiting).rejects.toBe(reason);
      await expect(theirs.acquire(key, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      await lease.release();
      expect(await mine.tryAcquire(key)).toBeDefined();
    });

    test("releases when disposed, and the same report twice", async () => {
      const locker = await client();
      {
        await using lease = await locker.acquire(key);
        expect(lease.isHeld()).toBe(true);
      }
      const lease = await locker.acquire(key);
      expect(await lease.release()).toBe(await lease.release());
      await expect(lease.extend()).rejects.toMatchObject({ code: "LEASE_LOST", lossCause: "released" });
    });

    test("shows a person who holds a key", async () => {
      const locker = await client();
      const lease = await locker.acquire(key);
      await waitFor(
        async () =>
          (await locker.inspect(key)).nodes.filter(({ holder }) => holder).length ===
          Math.max(1, setting.servers - setting.dead),
        {
          what: "all living nodes hold it",
        },
      );
      const seen = await locker.inspect(key);
      expect(seen).toMatchObject({ key, holder: lease.holder, fence: lease.fence });
      expect(seen.remainingMs).toBeGreaterThan(0);
      expect(seen.nodes).toHaveLength(Math.max(1, setting.servers));
    });

    test("close gives everything back, at the latest when it has expired, and ends what waits", async () => {
      const [mine, theirs] = [await client(), await client()];
      const lease = await mine.acquire(key);
      const waiting = mine.acquire(key, { waitMs: 10_000 }).catch((reason: unknown) => reason);
      await mine.close();
      expect(await waiting).toBeInstanceOf(LockerClosedError);
      expect(lease.isHeld()).toBe(false);
      await expect(mine.acquire(key)).rejects.toBeInstanceOf(LockerClosedError);
      expect(await theirs.tryAcquire(key)).toBeDefined();
    });

    test("serves the calls of one locker in the order they came, and others between them", async () => {
      const [mine, theirs] = [await client(), await client()];
      const first = await mine.acquire(key, { autoExtend: true });
      const order: string[] = [];
      const fences = [first.fence];
      const turn = async (locker: Locker, name: string): Promise<void> => {
        const lease = await locker.acquire(key, { waitMs: 20_000 });
        order.push(name);
        fences.push(lease.fence);
        expect(lease.isHeld()).toBe(true);
        await lease.release();
      };
      const turns = [turn(mine, "1"), turn(mine, "2"), turn(theirs, "other"), turn(mine, "3")];
      await sleep(100);
      await first.release();
      await Promise.all(turns);
      expect(order.filter((name) => name !== "other")).toEqual(["1", "2", "3"]);
      expect(fences).toEqual([...new Set(fences)].sort((a, b) => a - b));
    });

    test("refuses more waiters than its queue may hold, at once", async () => {
      const locker = await client({ queueLengthMax: 1 });
      const lease = await locker.acquire(key, { autoExtend: true });
      const waiting = locker.acquire(key, { waitMs: 20_000 });
      await expect(locker.acquire(key)).rejects.toMatchObject({ code: "QUEUE_FULL" });
      await lease.release();
      expect((await waiting).isHeld()).toBe(true);
    });

    test("every acquire that comes to nothing is told with its reason", async () => {
      const told: string[] = [];
      const observer = (event: HoldfastEvent) => {
        if (event.type === "acquire-failed") told.push(event.code);
      };
      const locker = await client({ queueLengthMax: 1, observer });
      const lease = await locker.acquire(key, { autoExtend: true });
      await expect(locker.acquire(key, { waitMs: 0 })).rejects.toThrow();
      expect(await locker.tryAcquire(key)).toBeUndefined();
      const giveUp = new AbortController();
      const waiting = locker.acquire(key, { signal: giveUp.signal });
      await expect(locker.using(key, () => {})).rejects.toThrow();
      giveUp.abort(new Error("not needed any more"));
      await expect(waiting).rejects.toThrow("not needed any more");
      const last = locker.acquire(key);
      const closed = expect(last).rejects.toThrow(LockerClosedError);
      lease.signal.addEventListener("abort", () => void lease.release());
      await locker.close();
      await closed;
      expect([lease.isHeld(), locker.leases()]).toEqual([false, []]);
      const codes = ["ACQUIRE_TIMEOUT", "CONTENDED", "QUEUE_FULL", "ABORTED", "LOCKER_CLOSED"];
      expect(told).toEqual(codes);
    });

    test("a hundred contenders count to a hundred", async () => {
      const [mine, theirs] = [await client(), await client()];
      let inside = 0;
      let count = 0;
      await Promise.all(
        Array.from({ length: 100 }, async (_, index) => {
          const lease = await (index % 2 === 0 ? mine : theirs).acquire(key, { waitMs: 40_000 });
          expect(++inside).toBe(1);
          const before = count;
          await sleep(0);
          count = before + 1;
          inside--;
          await lease.release();
        }),
      );
      expect(count).toBe(100);
    });
  },
);
