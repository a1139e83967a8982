/**
 * What users of four other systems have, under the names it has there (docs/features.md says where each row is): the same calls in
 * memory, on one node and on a quorum. Two lockers stand for two processes.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import {
  type AcquireOptions,
  type Attempt,
  ConfigError,
  createLocker,
  DeadlockError,
  type Lease,
  LeaseLostError,
  type Locker,
  type LockerOptions,
  type Locks,
  QuorumUnreachableError,
} from "../../src/index.ts";
import { sleep, waitFor } from "../../src/chaos/machine/wait-for.ts";
import { type Cluster, startCluster } from "../../src/chaos/servers/cluster.ts";
import { failure } from "../harness/failure.ts";

const TTL_MS = 1_500;
/** A starved machine answers late, and that is not what is tested here. */
const TIMES = { ttlMs: TTL_MS, nodeTimeoutMs: TTL_MS / 3 };

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
    await using operator = createLocker(optionsFor({}));
    await operator.init();
  });
  afterAll(() => cluster.stop());
  afterEach(async () => {
    await Promise.all(lockers.splice(0).map((locker) => locker.close({ withinMs: 0 })));
  });

  function optionsFor(more: Partial<LockerOptions>): LockerOptions {
    const nodes = mode === "memory" ? {} : { nodes: cluster.urls };
    return { mode, ...TIMES, ...nodes, ...more } as LockerOptions;
  }

  async function client(more: Partial<LockerOptions> = {}): Promise<Locker> {
    const locker = createLocker(optionsFor(more));
    lockers.push(locker);
    await locker.ready();
    key = `features:${name}:${keys++}`;
    return locker;
  }

  describe("as the cluster lock of an agent platform has it", () => {
    test("try_acquire answers with our own id when we got it, and with the other's when it is held", async () => {
      const [pod1, pod2] = [await client({ owner: "pod-1" }), await client({ owner: "pod-2" })];
      const got = await pod1.attempt(key);
      expect(got).toMatchObject({ outcome: "acquired", owner: "pod-1" });
      const lost = await pod2.attempt(key);
      expect(lost).toMatchObject({ outcome: "held", owner: "pod-1" });
      if (got.outcome !== "acquired" || lost.outcome !== "held") throw new Error("unreachable");
      expect(lost.holder).toBe(got.lease.holder);
      expect(lost.remainingMs).toBeGreaterThan(0);
      expect(lost.remainingMs).toBeLessThanOrEqual(TTL_MS);
      await got.lease.release();
      expect(await pod2.attempt(key)).toMatchObject({ outcome: "acquired", owner: "pod-2" });
    });

    test("owner ids are chosen by the caller, for each call too", async () => {
      const [mine, theirs] = [await client(), await client()];
      const lease = await mine.acquire(key, { owner: "agent:7" });
      expect(lease.owner).toBe("agent:7");
      expect(lease.holder.startsWith("agent:7#")).toBe(true);
      expect(await theirs.attempt(key)).toMatchObject({ outcome: "held", owner: "agent:7" });
    });

    test("refresh extends no more often than once in max(ttl/10, 1 s), and always checks that it is still ours", async () => {
      const locker = await client({ ttlMs: 4_000 });
      const lease = await locker.acquire(key);
      expect(await lease.refresh()).toBe("verified");
      const before = lease.remainingMs();
      await sleep(1_050);
      expect(await lease.refresh()).toBe("extended");
      expect(lease.remainingMs()).toBeGreaterThan(before - 100);
      expect(await lease.refresh()).toBe("verified");
      await lease.release();
      expect(await failure(lease.refresh())).toMatchObject({ code: "LEASE_LOST", lossCause: "released" });
    });

    test("five workers and three pods: one holder at a time, and the others learn who", async () => {
      const pods = await Promise.all(["a", "b", "c"].map((owner) => client({ owner })));
      const attempts = await Promise.all(
        pods.flatMap((pod) => Array.from({ length: 5 }, () => pod.attempt(key))),
      );
      const won = attempts.filter((attempt) => attempt.outcome === "acquired");
      expect(won.length).toBeLessThanOrEqual(1);
      expect(attempts.every(({ outcome }) => outcome !== "unknown")).toBe(true);
    });

    test("expiry frees it, and the next owner reuses it with a larger fence", async () => {
      const [mine, theirs] = [await client(), await client()];
      const lease = await mine.acquire(key);
      const next = await theirs.acquire(key, { waitMs: 3 * TTL_MS });
      expect(lease.isHeld()).toBe(false);
      expect(next.fence).toBeGreaterThan(lease.fence);
    });
  });

  describe("as the unified concurrency module has it", () => {
    test("one instance for a name, known by the list, that says whether it is held", async () => {
      const locker = await client();
      const lock = locker.lock(key);
      expect(locker.lock(key)).toBe(lock);
      expect(locker.locks()).toContain(lock);
      expect(lock.isHeld()).toBe(false);
      const lease = await lock.acquire();
      expect([lock.isHeld(), lock.lease, locker.leases()]).toEqual([true, lease, [lease]]);
      expect((await lock.inspect()).holder).toBe(lease.holder);
      await lease.release();
      expect([lock.isHeld(), lock.lease, locker.leases()]).toEqual([false, undefined, []]);
    });

    test("lock_context: acquire with a timeout, run, release", async () => {
      const [mine, theirs] = [await client(), await client()];
      const lock = mine.lock(key);
      expect(await lock.using({ waitMs: 100 }, (lease) => lease.isHeld() && lock.isHeld())).toBe(true);
      expect(lock.isHeld()).toBe(false);
      await theirs.acquire(key);
      expect(await failure(lock.using({ waitMs: 50 }, () => "never"))).toMatchObject({
        code: "ACQUIRE_TIMEOUT",
      });
    });

    test("workspaces: the same names, and nobody meets", async () => {
      const locker = await client();
      const path = key.replaceAll(":", "%3A");
      const [one, two] = [locker.workspace(`${key}:one`), locker.workspace(`${key}:two`)];
      const leases = [await one.acquire("job"), await two.acquire("job")];
      expect(leases.map((lease) => lease.isHeld())).toEqual([true, true]);
      expect(leases[0]?.key).toBe(`${path}%3Aone:job`);
      expect(await one.tryAcquire("job")).toBeUndefined();
      expect((await one.inspect("job")).holder).toBe(leases[0]?.holder);
      expect(one.lock("job")).toBe(one.lock("job"));
      expect(one.lock("job")).not.toBe(two.lock("job"));
      expect(await two.workspace("sub").using(["a", "b"], (lease) => lease.keys)).toEqual([
        `${path}%3Atwo%/sub:a`,
        `${path}%3Atwo%/sub:b`,
      ]);
      for (const workspace of [locker.workspace(key), locker.workspace(key).workspace("sub")]) {
        for (const name of ["", undefined, ["a", "b"]] as unknown as string[]) {
          expect(() => workspace.workspace(name)).toThrow(/key must be a non-empty string/);
          expect(() => workspace.lock(name)).toThrow(/key must be a non-empty string/);
          expect(await failure(workspace.inspect(name))).toMatchObject({ code: "OPTION_RANGE" });
          expect(await failure(workspace.acquire([name, "a"]))).toMatchObject({ code: "OPTION_RANGE" });
        }
        expect(await failure(workspace.acquire(""))).toMatchObject({ code: "OPTION_RANGE" });
      }
      expect(() => locker.workspace("")).toThrow(/key must be a non-empty string/);
    });

    test("workspaces: whatever stands on which side of the border, two ways to ask are two locks", async () => {
      const locker = await client();
      const [a, ab] = [locker.workspace(`${key}a`), locker.workspace(`${key}a:b`)];
      const ways: [Locks, string][] = [
        [a, "b:c"],
        [ab, "c"],
        [a.workspace("b"), "c"],
        [a, "b%3Ac"],
        [locker.workspace(`${key}a%3Ab`), "c"],
        [locker.workspace(`${key}a%`), "b:c"],
        [locker.workspace(`${key}a%/b`), "c"],
        [locker.workspace(`${key}a%/`), "b:c"],
        [a, "%/b:c"],
        [a, ":b:c"],
        [locker.workspace(`${key}a:`), "b:c"],
      ];
      const leases = await Promise.all(ways.map(([locks, name]) => locks.acquire(name, { waitMs: 0 })));
      expect(leases.every((lease) => lease.isHeld())).toBe(true);
      expect(new Set(leases.map((lease) => lease.key)).size).toBe(ways.length);
    });

    test("the library's own names are no locks, however they are asked for", async () => {
      const plain = await client();
      const prefixed = await client({ keyPrefix: "holdfast:" });
      const fine = await prefixed.acquire(`orders:${key}`);
      const names: [Locks, string][] = [
        ...["holdfast:node", "holdfast:waiting", "holdfast:key:{x}", "{x}:fence", "x:line"].map(
          (name): [Locks, string] => [plain, name],
        ),
        [prefixed, "node"],
        [prefixed, "waiting"],
        [plain.workspace("holdfast"), "waiting"],
        [plain.workspace("holdfast"), "node"],
        [plain.workspace("{x}"), "fence"],
        [plain.workspace("x"), "line"],
      ];
      for (const [locks, name] of names) {
        const calls = [
          () => locks.acquire(name),
          () => locks.tryAcquire(["fine", name]),
          () => locks.attempt(name),
          () => locks.using(name, () => {}),
          () => locks.inspect(name),
          async () => locks.lock(name).acquire(),
          () => prefixed.adopt({ keys: ["node"], holder: "o#1", fence: 1, proposal: 1, ttlMs: 1_000 }),
        ];
        for (const call of calls) {
          const error = await failure(Promise.resolve(call()));
          expect(error).toBeInstanceOf(ConfigError);
          expect(error.message).toMatch(/^key must not be holdfast:node .*own data, got "/);
        }
      }
      expect(await fine.verify()).toBe("held");
    });

    test("a key and the same in braces are two locks, each with its own fences", async () => {
      const [mine, theirs] = [await client(), await client()];
      const inBraces = await mine.acquire(`{${key}}`);
      const plain = await mine.acquire(key);
      expect(plain.fence).toBeGreaterThan(inBraces.fence);
      const waiting = theirs.acquire(`{${key}}`, { waitMs: 5_000 });
      await sleep(100);
      await plain.release();
      expect(inBraces.isHeld()).toBe(true);
      await inBraces.release();
      expect((await waiting).fence).toBeGreaterThan(inBraces.fence);
      expect((await theirs.inspect(key)).fence).toBe(plain.fence);
    });
  });

  describe("as rlock has it", () => {
    test("an attempt whose answer was lost is undone, so a retry finds the lock free or its own", async () => {
      const locker = await client();
      const gone = AbortSignal.abort(new Error("the caller gave up"));
      await failure(locker.acquire(key, { signal: gone }));
      await waitFor(async () => (await locker.inspect(key)).holder === undefined, {
        what: "nothing is left",
      });
      expect((await locker.acquire(key)).isHeld()).toBe(true);
    });

    test("AutoRefresh: extended until released, or until its own end", async () => {
      const [mine, theirs] = [await client(), await client()];
      const lease = await mine.acquire(key, { autoExtend: true, maxHoldMs: 3 * TTL_MS });
      await sleep(1.5 * TTL_MS);
      expect(lease.isHeld()).toBe(true);
      expect(await theirs.tryAcquire(key)).toBeUndefined();
      await new Promise((resolve) => lease.signal.addEventListener("abort", resolve));
      expect(lease.signal.reason).toMatchObject({ code: "LEASE_LOST", lossCause: "max-hold" });
    });

    test("Unlock of what is not held any more is told, and rejects nothing", async () => {
      const locker = await client();
      const lease = await locker.acquire(key, { ttlMs: 1_000 });
      await waitFor(() => !lease.isHeld(), { what: "it has expired" });
      expect(await lease.release()).toMatchObject({ outcome: "expired" });
    });

    test("SingleflightLock: callers of one process compete in it, and one goes to the nodes", async () => {
      const events: string[] = [];
      const locker = await client({ observer: ({ type }) => events.push(type) });
      let inside = 0;
      let most = 0;
      await Promise.all(
        Array.from({ length: 50 }, () =>
          locker.using(key, async () => {
            most = Math.max(most, ++inside);
            await Promise.resolve();
            inside--;
          }),
        ),
      );
      expect(most).toBe(1);
      expect(events.filter((type) => type === "acquired")).toHaveLength(50);
      expect(events.filter((type) => type === "acquire-failed")).toHaveLength(0);
    });
  });

  describe("as the reentrant lock tutorial has it", () => {
    test("a nested using of a held key goes on under the same lease, counted, and releases nothing", async () => {
      const [mine, theirs] = [await client({ reentrant: true }), await client()];
      const depths: number[] = [mine.depth(key)];
      const result = await mine.using(key, async (outer) => {
        depths.push(mine.depth(key));
        const inner = await mine.using(key, async (again) => {
          await sleep(5);
          depths.push(mine.depth(key));
          return again;
        });
        expect(inner).toBe(outer);
        expect(outer.isHeld()).toBe(true);
        expect(await theirs.tryAcquire(key)).toBeUndefined();
        depths.push(mine.depth(key));
        return "done";
      });
      expect(result).toBe("done");
      expect(depths).toEqual([0, 1, 2, 1]);
      expect(mine.depth(key)).toBe(0);
      expect(await theirs.tryAcquire(key)).toBeDefined();
    });

    test("asked for by one call, and refused by one call", async () => {
      const one = await client();
      await one.using(key, async (outer) => {
        expect(await one.using(key, { reentrant: true }, (lease) => lease)).toBe(outer);
      });
      const always = await client({ reentrant: true });
      await always.using(key, async () => {
        const error = await failure(always.using(key, { reentrant: false, waitMs: 50 }, () => "never"));
        expect(error).toMatchObject({ code: "ACQUIRE_TIMEOUT", isHeldAround: true });
      });
    });

    test("not asked for, a nested call waits like anybody else, and its error says whose lock it waited for", async () => {
      const locker = await client();
      await locker.using(key, async () => {
        for (const waitMs of [0, 50]) {
          const error = await failure(locker.using(key, { waitMs }, () => "never"));
          expect(error).toMatchObject({ code: "ACQUIRE_TIMEOUT", isHeldAround: true });
          expect(String(error)).toMatch(/within: lease.+reentrant: true/);
        }
        const several = await failure(locker.acquire([`${key}:more`, key], { waitMs: 50 }));
        expect(several).toMatchObject({ code: "ACQUIRE_TIMEOUT", isHeldAround: true });
        const other = await client();
        const name = key.replace(/\d+$/, (number) => String(Number(number) - 1));
        expect(await failure(other.acquire(name, { waitMs: 50 }))).toMatchObject({ isHeldAround: true });
      });
    });

    test("a stranger's lock is not taken for that of the context", async () => {
      const [mine, theirs] = [await client(), await client()];
      const lease = await theirs.acquire(key);
      await mine.using(`${key}:mine`, async () => {
        const error = await failure(mine.using(key, { waitMs: 50 }, () => "never"));
        expect(error).toMatchObject({ code: "ACQUIRE_TIMEOUT", isHeldAround: false });
        expect(String(error)).not.toContain("within:");
      });
      await lease.release();
    });

    test("several keys: re-entered where all are held, refused at once where only some are", async () => {
      const locker = await client({ reentrant: true });
      const [a, b, c] = [`${key}:a`, `${key}:b`, `${key}:c`];
      await locker.using([a, b], async (lease) => {
        expect(await locker.using(b, (again) => again)).toBe(lease);
        expect(await locker.using([b, a], (again) => again)).toBe(lease);
        const error = await failure(locker.using([b, c], { waitMs: 600_000 }, () => "never"));
        expect(error).toBeInstanceOf(DeadlockError);
        expect(error).toMatchObject({ code: "DEADLOCK", keys: [b, c], held: [b] });
        expect(await locker.using(c, (other) => other !== lease)).toBe(true);
      });
    });

    test("within a lease that is given: no context is needed, nothing is acquired and nothing released", async () => {
      const [mine, theirs] = [await client(), await client()];
      const lease = await mine.acquire([`${key}:a`, `${key}:b`]);
      const queue: (() => void)[] = [];
      const elsewhere = setInterval(() => queue.shift()?.(), 1);
      const inside = await new Promise<Lease>((resolve, reject) =>
        queue.push(
          () => void mine.using(`${key}:b`, { within: lease }, (same) => same).then(resolve, reject),
        ),
      );
      clearInterval(elsewhere);
      expect(inside).toBe(lease);
      expect(await theirs.tryAcquire(`${key}:b`)).toBeUndefined();
      expect(await mine.lock(`${key}:a`).using({ within: lease }, (same) => same)).toBe(lease);
      await lease.release();
      expect(await failure(mine.using(`${key}:a`, { within: lease }, () => "never"))).toMatchObject({
        code: "LEASE_LOST",
        lossCause: "released",
      });
    });

    test("within, in a workspace", async () => {
      const tenant = (await client()).workspace(key);
      await tenant.using("job", async (lease) => {
        expect(await tenant.using("job", { within: lease }, (same) => same)).toBe(lease);
        expect(await tenant.lock("job").using({ within: lease }, (same) => same)).toBe(lease);
      });
    });

    test("within what does not hold the keys is refused at once", async () => {
      const [mine, theirs] = [await client({ keyPrefix: "p:" }), await client()];
      const [lease, foreign] = [await mine.acquire(key), await theirs.acquire(key)];
      const run = (keys: string | string[], within: unknown) =>
        failure(mine.using(keys, { within: within as Lease, waitMs: 600_000 }, () => "never"));
      expect(await run([key, `${key}:more`], lease)).toMatchObject({ code: "DEADLOCK", held: [key] });
      expect(await run(`${key}:more`, lease)).toMatchObject({ code: "OPTION_RANGE", option: "within" });
      for (const wrong of [foreign, {}, null, "lease", true])
        expect(await run(key, wrong)).toMatchObject({ code: "CONFIG_INVALID" });
      const options = { within: lease } as AcquireOptions;
      expect(await failure(mine.acquire(`${key}:more`, options))).toMatchObject({ code: "CONFIG_INVALID" });
      const over = AbortSignal.abort(new Error("not any more"));
      expect(await failure(mine.using(key, { within: lease, signal: over }, () => "never"))).toBe(
        over.reason,
      );
    });

    test.each([["within"], ["reentrant"]])(
      "a body that works %s outlives the outer one: the lock is kept for it",
      async (way) => {
        const [mine, theirs] = [await client(), await client()];
        let inner: Promise<unknown> = Promise.resolve();
        const order: string[] = [];
        const outer = mine.using(key, (lease) => {
          inner = mine.using(key, way === "within" ? { within: lease } : { reentrant: true }, async () => {
            await sleep(150);
            expect(await theirs.tryAcquire(key)).toBeUndefined();
            order.push("inner");
          });
        });
        await outer.then(() => order.push("outer"));
        await inner;
        expect(order).toEqual(["inner", "outer"]);
        expect(await theirs.tryAcquire(key)).toBeDefined();
      },
    );

    test("work within a lease that is given back on the way was not covered", async () => {
      const locker = await client();
      const lease = await locker.acquire(key);
      const work = locker.using(key, { within: lease }, async () => {
        await lease.release();
        throw new Error("its own");
      });
      expect(await failure(work)).toMatchObject({
        code: "LEASE_LOST",
        lossCause: "released",
        cause: { message: "its own" },
      });
    });

    test("misuse: branches side by side do not exclude each other, only other contexts", async () => {
      const locker = await client({ reentrant: true });
      await locker.using(key, async () => {
        let inside = 0;
        const meet = () =>
          locker.using(key, async () => {
            inside++;
            await waitFor(() => inside === 2, { what: "both branches are inside" });
          });
        await Promise.all([meet(), meet()]);
      });
    });

    test("misuse: work that outlives its using acquires for itself", async () => {
      const [mine, theirs] = [await client({ reentrant: true }), await client()];
      let late: Promise<unknown> = Promise.resolve();
      const first = await mine.using(key, (lease) => {
        late = sleep(50).then(() => mine.using(key, (own) => own.fence));
        return lease.fence;
      });
      expect(await late).toBeGreaterThan(first);
      expect(await theirs.tryAcquire(key)).toBeDefined();
    });

    test("misuse: after an early release a nested call acquires for itself", async () => {
      const [mine, theirs] = [await client({ reentrant: true }), await client()];
      await mine.using(key, async (lease) => {
        await lease.release();
        expect(mine.depth(key)).toBe(0);
        await mine.using(key, async (own) => {
          expect(own).not.toBe(lease);
          expect(await theirs.tryAcquire(key)).toBeUndefined();
        });
        expect(await theirs.tryAcquire(key)).toBeDefined();
      });
    });

    test("a loss is told to the nested call as well", async () => {
      const locker = await client({ reentrant: true });
      const inner: unknown[] = [];
      const error = await failure(
        locker.using(key, { maxHoldMs: 600 }, async (lease) => {
          inner.push(
            await failure(
              locker.using(key, async () => {
                await new Promise((resolve) => lease.signal.addEventListener("abort", resolve));
              }),
            ),
          );
        }),
      );
      expect(error).toBeInstanceOf(LeaseLostError);
      expect(inner[0]).toBeInstanceOf(LeaseLostError);
    });

    test("after a loss, a nested call rejects before its body runs", async () => {
      const locker = await client({ reentrant: true });
      let hasRun = false;
      await failure(
        locker.using(key, { maxHoldMs: 600 }, async (lease) => {
          await new Promise((resolve) => lease.signal.addEventListener("abort", resolve));
          expect(await failure(locker.using(key, () => (hasRun = true)))).toBeInstanceOf(LeaseLostError);
        }),
      );
      expect(hasRun).toBe(false);
    });

    test("a hundred contenders count to a hundred", async () => {
      const clients = await Promise.all([client(), client(), client(), client()]);
      const counter = key;
      let count = 0;
      await Promise.all(
        Array.from({ length: 100 }, async (_, index) =>
          clients[index % clients.length]?.using(counter, { waitMs: 60_000 }, async () => {
            const read = count;
            await new Promise((resolve) => setImmediate(resolve));
            count = read + 1;
          }),
        ),
      );
      expect(count).toBe(100);
    });
  });

  describe("a lease that goes to another process", () => {
    test("is detached, sent, adopted with the same holder value and fence, extended and released there", async () => {
      const [mine, theirs, others] = [await client(), await client(), await client()];
      const lease = await mine.acquire(key, { autoExtend: true });
      const sent = JSON.stringify(await lease.detach());
      expect(lease.isHeld()).toBe(false);
      expect(await lease.release()).toEqual({ outcome: "detached", uncertain: [] });
      expect(mine.leases()).toEqual([]);
      expect(await others.tryAcquire(key)).toBeUndefined();
      const adopted = await theirs.adopt(JSON.parse(sent), { autoExtend: true });
      expect(adopted).toMatchObject({ key, holder: lease.holder, fence: lease.fence, owner: lease.owner });
      await sleep(1.5 * TTL_MS);
      expect(adopted.isHeld()).toBe(true);
      expect(await adopted.verify()).toBe("held");
      expect(await others.tryAcquire(key)).toBeUndefined();
      expect(await adopted.release()).toMatchObject({ outcome: "released" });
      expect((await others.tryAcquire(key))?.fence).toBeGreaterThan(lease.fence);
    });

    test("is not adopted once it has expired, or somebody else has it", async () => {
      const [mine, theirs] = [await client(), await client()];
      const token = await (await mine.acquire(key, { ttlMs: 1_000 })).detach();
      const next = await theirs.acquire(key, { waitMs: 5_000 });
      expect(await failure(mine.adopt(token))).toMatchObject({ code: "LEASE_LOST", lossCause: "gone" });
      expect(next.isHeld()).toBe(true);
      expect(await next.verify()).toBe("held");
    });

    test("is not let go of twice, nor after its release", async () => {
      const locker = await client();
      const lease = await locker.acquire(key);
      await lease.detach();
      expect(await failure(lease.detach())).toMatchObject({ code: "LEASE_LOST" });
      const other = await locker.acquire(`${key}:other`);
      await other.release();
      expect(await failure(other.detach())).toMatchObject({ code: "LEASE_LOST" });
    });

    test.each([
      [undefined],
      [{}],
      [{ keys: ["k"], holder: "", fence: 1, proposal: 1, ttlMs: 1_000 }],
      [{ keys: ["k"], holder: "o#1", fence: 2, proposal: 1, ttlMs: 1_000 }],
      [{ keys: [], holder: "o#1", fence: 1, proposal: 1, ttlMs: 1_000 }],
    ])("what is no token is refused: %j", async (token) => {
      const locker = await client();
      expect(await failure(locker.adopt(token as never))).toMatchObject({ code: "OPTION_RANGE" });
    });
  });
});

describe("Redis away", () => {
  test("try_acquire answers that nobody can know, and comes back when Redis does", async () => {
    const cluster = await startCluster(1);
    const locker = createLocker({ mode: "single", nodes: cluster.urls, ttlMs: TTL_MS });
    await locker.ready();
    const lease = await locker.acquire("agent");
    await cluster.nodes[0]?.kill();
    const away: Attempt = await locker.attempt("agent");
    expect(away).toMatchObject({ outcome: "unknown" });
    expect(away.outcome === "unknown" && away.error).toBeInstanceOf(QuorumUnreachableError);
    expect(await failure(lease.refresh())).toMatchObject({ code: "QUORUM_UNREACHABLE" });
    await cluster.nodes[0]?.restartEmpty();
    await waitFor(async () => (await locker.attempt("agent")).outcome === "acquired", {
      what: "it is acquired again",
    });
    await locker.close();
    await cluster.stop();
  });
});
