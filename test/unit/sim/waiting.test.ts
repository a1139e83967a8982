/** Waiting, told as stories on a virtual clock: who gets the lock when, and what it costs, with servers, networks and processes that fail. */
import { describe, expect, test } from "vitest";

import {
  AcquireTimeoutError,
  fixedRetry,
  type Lease,
  LockerClosedError,
  QuorumUnreachableError,
} from "../../../src/index.ts";
import {
  client,
  NODE_TIMEOUT_MS,
  ONE_WAY_MS,
  reasonOf,
  ROUND_TRIP_MS,
  timed,
  TTL_MS,
  type World,
  world,
} from "../support/sim-world.ts";

/** Whoever waits looks by itself after this time at the latest. */
const RECHECK_MS_MAX = 750;

/** `client` has it, and `other` has waited long enough to be in line. */
async function heldAndWaitedFor(
  here: World,
  waitMs = 10 * TTL_MS,
): Promise<{ lease: Lease; waiting: Promise<Lease> }> {
  const { simulation } = here;
  const lease = await simulation.run(client(here, 0).locker.acquire("k", { autoExtend: true }));
  const waiting = client(here, 1).locker.acquire("k", { waitMs });
  waiting.catch(() => {});
  await simulation.pass(50);
  return { lease, waiting };
}

describe("calls of one process", () => {
  test("are served in the order they came, each with a lease and a larger fence of its own, in one round trip", async () => {
    const here = await world("a");
    const { locker } = client(here, 0);
    const leases: Lease[] = [];
    const gaps: number[] = [];
    let releasedAt = here.now();
    const served: number[] = [];
    const one = async (index: number): Promise<void> => {
      const lease = await locker.acquire("k");
      if (index > 0) gaps.push(here.now() - releasedAt);
      served.push(index);
      leases.push(lease);
      releasedAt = here.now();
      await lease.release();
    };
    await here.simulation.run(Promise.all(Array.from({ length: 10 }, (_, index) => one(index))));
    expect(served).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const fences = leases.map(({ fence }) => fence);
    expect(fences).toEqual([...new Set(fences)].sort((a, b) => a - b));
    expect(new Set(leases.map(({ holder }) => holder)).size).toBe(10);
    for (const gap of gaps) expect(gap).toBeCloseTo(ROUND_TRIP_MS, 3);
    // One acquire, nine exchanges, one release, on each of five nodes.
    expect(Object.fromEntries(here.votes)).toEqual({
      "acquire granted": 5,
      "exchange granted": 45,
      "release granted": 5,
    });
  });

  test("leave the line at once when they are aborted, and those behind them move up", async () => {
    const here = await world("a");
    const { locker } = client(here, 0);
    const lease = await here.simulation.run(locker.acquire("k"));
    const giveUp = new AbortController();
    const second = reasonOf(locker.acquire("k", { signal: giveUp.signal }));
    const third = locker.acquire("k");
    await here.simulation.pass(10);
    giveUp.abort(new Error("changed my mind"));
    const { value, tookMs } = await timed(here, second);
    expect([value, tookMs]).toEqual([new Error("changed my mind"), 0]);
    await here.simulation.run(lease.release());
    expect((await here.simulation.run(third)).fence).toBeGreaterThan(lease.fence);
  });

  test("wait exactly as long as they were told to, in line and at the nodes", async () => {
    const here = await world("a b");
    await here.simulation.run(client(here, 0).locker.acquire("k", { autoExtend: true }));
    for (const waitMs of [7, 250, 1_234]) {
      for (const { locker } of here.clients) {
        const { value, tookMs } = await timed(here, reasonOf(locker.acquire("k", { waitMs })));
        expect(value).toBeInstanceOf(AcquireTimeoutError);
        expect(tookMs - waitMs).toBeGreaterThanOrEqual(-0.001);
        expect(tookMs - waitMs).toBeLessThanOrEqual(1); // A machine's timers count in ms.
      }
    }
  });

  test("say who has it, and how many were before them", async () => {
    const here = await world("a");
    const { locker } = client(here, 0);
    const lease = await here.simulation.run(locker.acquire("k", { owner: "first" }));
    const waiting = [300, 200, 100].map((waitMs) => reasonOf(locker.acquire("k", { waitMs })));
    const errors = await here.simulation.run(Promise.all(waiting));
    expect(errors.map((error) => (error as AcquireTimeoutError).ahead)).toEqual([1, 2, 3]);
    expect(String(errors[0])).toContain(`this process holds it as ${lease.holder}`);
    expect(String(errors[2])).toContain("3 calls of this process ahead");
  });

  test("tell unreachable from held, though only the first of them asked", async () => {
    const here = await world("a");
    for (const server of here.simulation.servers) server.kill();
    await here.simulation.pass(100);
    const { locker } = client(here, 0);
    const first = reasonOf(locker.acquire("k", { waitMs: 900 }));
    const second = reasonOf(locker.acquire("k", { waitMs: 500 }));
    expect(await here.simulation.run(second)).toBeInstanceOf(QuorumUnreachableError);
    expect(await here.simulation.run(first)).toBeInstanceOf(QuorumUnreachableError);
  });

  test("are refused at once when too many wait", async () => {
    const here = await world("a", { queueLengthMax: 2 });
    const { locker } = client(here, 0);
    const lease = await here.simulation.run(locker.acquire("k"));
    const waiting = [1, 2].map(() => locker.acquire("k"));
    const { value, tookMs } = await timed(here, reasonOf(locker.acquire("k")));
    expect(value).toMatchObject({ code: "QUEUE_FULL" });
    expect(tookMs).toBe(0);
    // Other keys, and one attempt without waiting, are no matter of the line.
    await here.simulation.run(locker.acquire("other"));
    expect(await here.simulation.run(locker.tryAcquire("k"))).toBeUndefined();
    await here.simulation.run(lease.release());
    for (const next of waiting) await here.simulation.run((await here.simulation.run(next)).release());
  });

  test("with several keys wait for all of them, and never for each other", async () => {
    const here = await world("a");
    const { locker } = client(here, 0);
    const done: string[] = [];
    const section = async (...keys: string[]): Promise<void> => {
      const lease = await locker.acquire(keys);
      await client(here, 0).process.sleep(5);
      await lease.release();
      done.push(keys.join(""));
    };
    const all = [section("x", "y"), section("y", "z"), section("z", "x"), section("w"), section("y")];
    await here.simulation.run(Promise.all(all), 1_000);
    // Each waits for those before it that share a key with it, and for nobody else.
    expect(done).toEqual(["xy", "w", "yz", "y", "zx"]);
  });

  test("get their turn when the lease before them is lost and never released", async () => {
    const here = await world("a");
    const { locker } = client(here, 0);
    const lease = await here.simulation.run(locker.acquire("k"));
    const next = locker.acquire("k");
    const { value, tookMs } = await timed(here, next);
    expect(lease.isHeld()).toBe(false);
    expect(value.fence).toBeGreaterThan(lease.fence);
    expect(tookMs).toBeLessThan(TTL_MS + 10);
  });
});

describe("a hand-over in one process", () => {
  test("ends after a while, so that other processes get their turn", async () => {
    const here = await world("a b");
    const [a, b] = [client(here, 0), client(here, 1)];
    let isOn = true;
    const loop = async (): Promise<void> => {
      while (isOn) await (await a.locker.acquire("k")).release();
    };
    const loops = Promise.all([loop(), loop(), loop()]);
    await here.simulation.pass(20);
    const { tookMs } = await timed(
      here,
      b.locker.acquire("k", { waitMs: 5_000 }).then((lease) => lease.release()),
    );
    expect(tookMs).toBeLessThan(32 * ROUND_TRIP_MS + 10);
    isOn = false;
    await here.simulation.run(loops);
  });

  test("that finds no quorum leaves neither the old lock nor the new one", async () => {
    const here = await world("a");
    const { locker } = client(here, 0);
    const { servers, network } = here.simulation;
    const lease = await here.simulation.run(locker.acquire("k"));
    const next = reasonOf(locker.acquire("k", { waitMs: 300 }));
    for (const { name } of servers.slice(0, 3)) network.cut("a", name);
    const { value: report, tookMs } = await timed(here, lease.release());
    expect(report.outcome).toBe("uncertain");
    expect(tookMs).toBeLessThan(TTL_MS / 20 + 3); // One node timeout for both, and a turn each.
    expect(await here.simulation.run(next)).toBeInstanceOf(QuorumUnreachableError);
    network.healAll();
    await here.simulation.pass(50);
    expect(servers.map((server) => server.holderOf("k"))).toEqual(Array(5).fill(undefined));
  });

  test("leaves nothing of the old lock on a node that missed it", async () => {
    const here = await world("a");
    const { locker } = client(here, 0);
    const { servers, network } = here.simulation;
    const lease = await here.simulation.run(locker.acquire("k"));
    const next = locker.acquire("k");
    network.cut("a", "n5");
    const { outcome, uncertain } = await here.simulation.run(lease.release());
    expect(outcome).toBe("released");
    expect(uncertain).toContain("n5");
    const second = await here.simulation.run(next);
    expect(servers.map((server) => server.holderOf("k"))).toEqual([
      ...Array(4).fill(second.holder),
      lease.holder,
    ]);
    // It loses the connection, and with it whatever was on the way.
    servers[4]?.kill();
    network.healAll();
    servers[4]?.start("everything");
    await here.simulation.run(locker.ready());
    await here.simulation.pass(300);
    expect(servers[4]?.holderOf("k")).not.toBe(lease.holder);
    expect(second.isHeld()).toBe(true);
  });

  test("to somebody who gives up meanwhile frees the lock", async () => {
    const here = await world("a b");
    const { locker } = client(here, 0);
    const lease = await here.simulation.run(locker.acquire("k"));
    const giveUp = new AbortController();
    const next = reasonOf(locker.acquire("k", { signal: giveUp.signal }));
    const released = lease.release();
    await here.simulation.pass(ONE_WAY_MS);
    giveUp.abort(new Error("too late"));
    await here.simulation.run(Promise.all([next, released]));
    expect(await next).toEqual(new Error("too late"));
    const { tookMs } = await timed(here, client(here, 1).locker.acquire("k"));
    expect(tookMs).toBeLessThan(2 * ROUND_TRIP_MS);
  });

  test("waits for an extension that is under way (L5)", async () => {
    const here = await world("a");
    const { locker } = client(here, 0);
    const lease = await here.simulation.run(locker.acquire("k"));
    const next = locker.acquire("k");
    await here.simulation.pass(100);
    const extension = reasonOf(lease.extend());
    const released = lease.release();
    await here.simulation.run(Promise.all([extension, released]));
    const second = await here.simulation.run(next);
    await here.simulation.pass(10);
    const holders = here.simulation.servers.map((server) => server.holderOf("k"));
    expect(holders).toEqual(Array(5).fill(second.holder));
  });
});

describe("between processes", () => {
  test("a release is told to the one who waits longest, which then has it in a round trip", async () => {
    const here = await world("a b c");
    const { lease, waiting } = await heldAndWaitedFor(here);
    const third = client(here, 2).locker.acquire("k", { waitMs: 10 * TTL_MS });
    await here.simulation.pass(50);
    here.votes.clear();
    const [{ value, tookMs }] = await Promise.all([timed(here, waiting), lease.release()]);
    // The release to the nodes, the notice back, and the attempt.
    expect(tookMs).toBeLessThan(2 * ROUND_TRIP_MS + 0.001);
    expect(value.fence).toBeGreaterThan(lease.fence);
    // The third was not even woken.
    expect(here.votes.get("acquire held")).toBeUndefined();
    const { tookMs: again } = await timed(here, Promise.all([value.release(), third]));
    expect(again).toBeLessThan(2 * ROUND_TRIP_MS + 0.001);
  });

  test("waiting costs two attempts and then almost nothing", async () => {
    const here = await world("a b");
    await heldAndWaitedFor(here);
    const asked = (here.votes.get("acquire held") ?? 0) / 5;
    expect(asked).toBeLessThanOrEqual(4); // One when it came, one to get into line; the rest while the listeners connect.
    here.votes.clear();
    await here.simulation.pass(1_000);
    expect((here.votes.get("acquire held") ?? 0) / 5).toBeLessThanOrEqual(4);
  });

  test.each([
    ["lost", { lossChance: 1, doublingChance: 0, delayMsMax: 0 }, RECHECK_MS_MAX + 5],
    ["late by up to a quarter of a second", { lossChance: 0, doublingChance: 0, delayMsMax: 250 }, 255],
    ["doubled", { lossChance: 0, doublingChance: 1, delayMsMax: 0 }, 2 * ROUND_TRIP_MS + 0.001],
  ])("notices that are %s cost time and nothing else", async (_, weather, boundMs) => {
    const here = await world("a b");
    for (const server of here.simulation.servers) server.noticeWeather = weather;
    const { lease, waiting } = await heldAndWaitedFor(here);
    const [{ value, tookMs }] = await Promise.all([timed(here, waiting), lease.release()]);
    expect(tookMs).toBeLessThan(boundMs);
    expect(value.isHeld()).toBe(true);
  });

  test("a waiter whose listening connections broke is told by the next ones, or looks by itself", async () => {
    const here = await world("a b");
    const { lease, waiting } = await heldAndWaitedFor(here);
    for (const { name } of here.simulation.servers) client(here, 1).deafen(name);
    const [{ tookMs }] = await Promise.all([timed(here, waiting), lease.release()]);
    expect(tookMs).toBeLessThan(RECHECK_MS_MAX + 5);
  });

  test("a waiter that was killed is passed over at once", async () => {
    const here = await world("a b c");
    const { lease } = await heldAndWaitedFor(here);
    const third = client(here, 2).locker.acquire("k", { waitMs: 10 * TTL_MS });
    await here.simulation.pass(50);
    client(here, 1).crash();
    // A server that has not seen the end of the connection yet tells it all the same.
    await here.simulation.pass(5);
    const [{ tookMs }] = await Promise.all([timed(here, third), lease.release()]);
    expect(tookMs).toBeLessThan(RECHECK_MS_MAX + 5);
  });

  test("a waiter that is told while it stands still keeps the others waiting for less than a second", async () => {
    const here = await world("a b c");
    const { lease } = await heldAndWaitedFor(here);
    const third = client(here, 2).locker.acquire("k", { waitMs: 10 * TTL_MS });
    await here.simulation.pass(50);
    client(here, 1).process.stop(5_000);
    const [{ value, tookMs }] = await Promise.all([timed(here, third), lease.release()]);
    expect(tookMs).toBeLessThan(RECHECK_MS_MAX + 5);
    // It was told once; whoever waits after it is not kept waiting again.
    const fourth = client(here, 0).locker.acquire("k", { waitMs: 10 * TTL_MS });
    await here.simulation.pass(50);
    const [{ tookMs: next }] = await Promise.all([timed(here, fourth), value.release()]);
    expect(next).toBeLessThan(2 * ROUND_TRIP_MS + 0.001);
  });

  test("who stood still in the middle of an attempt tries again as soon as anybody, not by the measure of its pause", async () => {
    for (let seed = 0; seed < 30; seed++) {
      const here = await world(`a${seed}`);
      const { locker, process } = client(here, 0);
      const lease = locker.acquire("k", { waitMs: 10 * TTL_MS });
      await here.simulation.pass(ONE_WAY_MS); // The replies are on their way.
      process.stop(2 * TTL_MS);
      const { tookMs } = await timed(here, lease);
      expect(tookMs - 2 * TTL_MS).toBeLessThan(2 * NODE_TIMEOUT_MS + 2 * ROUND_TRIP_MS);
    }
  });

  test("one try is made again where nobody won because the process stood still", async () => {
    const here = await world("a");
    const { locker, process } = client(here, 0);
    const lease = locker.tryAcquire("k");
    await here.simulation.pass(ONE_WAY_MS);
    process.stop(2 * TTL_MS);
    expect((await here.simulation.run(lease))?.isHeld()).toBe(true);
  });

  test("one try that is always granted too late is no other's lock: nothing is known", async () => {
    const here = await world("a", { nodeTimeoutMs: 400, minValidityMs: 1_400 });
    here.simulation.network.weather = { delayMsMin: 90, delayMsMax: 90, stormChance: 0, stormMs: 0 };
    const { locker } = client(here, 0);
    const attempt = await here.simulation.run(locker.attempt("k"));
    expect(attempt).toMatchObject({ outcome: "unknown", error: { code: "QUORUM_UNREACHABLE" } });
    expect(attempt.outcome === "unknown" && attempt.error.message).toContain('"k" was granted too late');
    const error = await here.simulation.run(reasonOf(locker.acquire("k", { waitMs: 600 })));
    expect(error).toMatchObject({ code: "QUORUM_UNREACHABLE" });
    await here.simulation.pass(TTL_MS);
    expect(here.simulation.servers.map((server) => server.holderOf("k"))).toEqual(Array(5).fill(undefined));
  });

  test("a waiter that gives up when it is told passes it on", async () => {
    const here = await world("a b c");
    const giveUp = new AbortController();
    const lease = await here.simulation.run(client(here, 0).locker.acquire("k", { autoExtend: true }));
    const second = reasonOf(client(here, 1).locker.acquire("k", { signal: giveUp.signal }));
    await here.simulation.pass(50);
    const third = client(here, 2).locker.acquire("k");
    await here.simulation.pass(50);
    const released = lease.release();
    await here.simulation.pass(ONE_WAY_MS); // The notice is on its way.
    giveUp.abort(new Error("too late"));
    const { tookMs } = await timed(here, third);
    expect(tookMs).toBeLessThan(4 * ROUND_TRIP_MS);
    expect(await here.simulation.run(second)).toEqual(new Error("too late"));
    await here.simulation.run(released);
  });

  test("a holder that is killed keeps many waiters no longer than its ttl, and each gets its turn", async () => {
    const names = Array.from({ length: 20 }, (_, index) => `w${index}`);
    const here = await world(["a", ...names].join(" "));
    const lease = await here.simulation.run(client(here, 0).locker.acquire("k"));
    const turns = here.clients.slice(1).map(async ({ locker }) => {
      const mine = await locker.acquire("k", { waitMs: 5 * TTL_MS });
      const at = here.now();
      await mine.release();
      return at;
    });
    await here.simulation.pass(100);
    client(here, 0).crash();
    const expiresAt = here.now() + lease.remainingMs();
    const at = (await here.simulation.run(Promise.all(turns))).sort((a, b) => a - b);
    // What the validity leaves out of the ttl, and a look around.
    expect((at[0] ?? 0) - expiresAt).toBeLessThan(600);
    expect((at.at(-1) ?? 0) - (at[0] ?? 0)).toBeLessThan(20 * 10 * ROUND_TRIP_MS);
  });

  test("somebody who takes and gives back in a loop does not keep the others out", async () => {
    const here = await world("a b c d e");
    const turns = here.clients.map(() => 0);
    let longestMs = 0;
    const end = here.now() + 1_000;
    const loops = here.clients.map(async ({ locker }, index) => {
      while (here.now() < end) {
        const began = here.now();
        const lease = await locker.acquire("k");
        longestMs = Math.max(longestMs, here.now() - began);
        turns[index] = (turns[index] ?? 0) + 1;
        await lease.release();
      }
    });
    await here.simulation.run(Promise.all(loops));
    const mean = turns.reduce((sum, each) => sum + each, 0) / turns.length;
    expect(Math.min(...turns)).toBeGreaterThan(0.5 * mean);
    expect(mean).toBeGreaterThan(100);
    expect(longestMs).toBeLessThan(100);
  });

  test("in a herd of 100 everyone gets a turn, for a bounded number of requests", async () => {
    const names = Array.from({ length: 100 }, (_, index) => `h${index}`);
    const here = await world(names.join(" "));
    const turns = here.clients.map(async ({ locker }) => {
      await (await locker.acquire("k", { waitMs: 60_000 })).release();
    });
    await here.simulation.run(Promise.all(turns), 2_000);
    const requests = [...here.votes.values()].reduce((sum, each) => sum + each, 0) / (100 * 5);
    expect(requests).toBeLessThan(12);
  });

  test("a herd that is cut in two and healed is served on", async () => {
    const names = Array.from({ length: 20 }, (_, index) => `p${index}`);
    const here = await world(names.join(" "));
    const { network, servers } = here.simulation;
    let served = 0;
    const turns = here.clients.map(async ({ locker, process }) => {
      const lease = await locker.acquire("k", { waitMs: 60_000 });
      await process.sleep(20);
      await lease.release();
      served++;
    });
    await here.simulation.pass(50);
    for (const name of names.slice(0, 10))
      for (const server of servers.slice(0, 3)) network.cut(name, server.name);
    await here.simulation.pass(TTL_MS + 1_000);
    // Those who reach a quorum are served, once the lock of a holder who does not has expired.
    expect(served).toBeGreaterThanOrEqual(10);
    network.healAll();
    await here.simulation.run(Promise.all(turns), 10_000);
    expect(served).toBe(20);
  });

  test("one of several keys that is told of and not used is left to the others", async () => {
    const here = await world("a b c d");
    const [a, b, c, d] = [0, 1, 2, 3].map((index) => client(here, index).locker);
    const x = await here.simulation.run(a?.acquire("x", { autoExtend: true }) ?? Promise.reject(new Error()));
    const y = await here.simulation.run(b?.acquire("y", { autoExtend: true }) ?? Promise.reject(new Error()));
    const both = c?.acquire(["x", "y"], { waitMs: 10 * TTL_MS });
    await here.simulation.pass(50);
    const onlyX = d?.acquire("x", { waitMs: 10 * TTL_MS }) ?? Promise.reject(new Error());
    await here.simulation.pass(50);
    const [{ tookMs }] = await Promise.all([timed(here, onlyX), x.release()]);
    expect(tookMs).toBeLessThan(5 * ROUND_TRIP_MS);
    await here.simulation.run((await onlyX).release());
    await here.simulation.run(y.release());
    expect((await here.simulation.run(both ?? Promise.reject(new Error()))).keys).toEqual(["x", "y"]);
  });
});

describe("whoever releases a lock that others wait for", () => {
  test("lets them go first, though it wants it again at once and is nearer to the nodes", async () => {
    const here = await world("a b", {}, 1);
    here.simulation.network.weather = { delayMsMin: 0.1, delayMsMax: 0.3, stormChance: 0, stormMs: 0 };
    for (let round = 0; round < 20; round++) {
      const { lease, waiting } = await heldAndWaitedFor(here);
      const order: string[] = [];
      const noted = async (name: string, acquired: Promise<Lease>): Promise<void> => {
        const mine = await acquired;
        order.push(name);
        await mine.release();
      };
      const again = lease.release().then(() => noted("the same", client(here, 0).locker.acquire("k")));
      await here.simulation.run(Promise.all([noted("the other", waiting), again]));
      expect(order).toEqual(["the other", "the same"]);
      await here.simulation.pass(100);
    }
  });
});

describe("without notices", () => {
  test("no listening connection is made, and the retry strategy decides", async () => {
    const here = await world("a b", { notify: false, retry: fixedRetry(100) });
    const { waiting } = await heldAndWaitedFor(here, 1_000);
    here.votes.clear();
    await here.simulation.pass(500);
    expect(here.votes.get("acquire held")).toBe(5 * 5);
    expect(await here.simulation.run(reasonOf(waiting))).toBeInstanceOf(AcquireTimeoutError);
  });

  test("a strategy that ends, ends the waiting", async () => {
    const here = await world("a b", { notify: false });
    await here.simulation.run(client(here, 0).locker.acquire("k"));
    const retry = { retryCount: 3, retryDelay: 50, retryJitter: 0 };
    const { value, tookMs } = await timed(
      here,
      reasonOf(client(here, 1).locker.acquire("k", { retry, waitMs: 10_000 })),
    );
    expect(value).toMatchObject({ code: "ACQUIRE_TIMEOUT", attempts: 4 });
    expect(tookMs).toBeCloseTo(3 * 50 + 4 * ROUND_TRIP_MS, 1);
  });

  test("a strategy that gives nonsense rejects the call, and nobody is kept waiting for it", async () => {
    const here = await world("a b", { notify: false });
    const lease = await here.simulation.run(client(here, 0).locker.acquire("k"));
    const { locker } = client(here, 1);
    const error = await here.simulation.run(reasonOf(locker.acquire("k", { retry: () => Number.NaN })));
    expect(error).toMatchObject({ code: "OPTION_RANGE" });
    await here.simulation.run(lease.release());
    const { tookMs } = await timed(here, locker.acquire("k"));
    expect(tookMs).toBeLessThan(3 * ROUND_TRIP_MS);
  });
});

describe("the end", () => {
  test("of a locker ends all who wait, and leaves no lock, connection or timer", async () => {
    const here = await world("a b");
    const { lease, waiting } = await heldAndWaitedFor(here);
    const inLine = client(here, 1).locker.acquire("k");
    const reasons = [waiting, inLine].map(reasonOf);
    await here.simulation.pass(10);
    await here.simulation.run(client(here, 1).locker.close());
    for (const reason of await here.simulation.run(Promise.all(reasons)))
      expect(reason).toBeInstanceOf(LockerClosedError);
    await here.simulation.run(lease.release());
    await here.simulation.run(client(here, 0).locker.close());
    await here.simulation.pass(30_000);
    expect(here.simulation.clock.pending).toBe(0);
    expect(here.simulation.servers.map((server) => server.holderOf("k"))).toEqual(Array(5).fill(undefined));
  });

  test("of an acquire whose signal aborts while its attempt is under way leaves no lock", async () => {
    const here = await world("a");
    const giveUp = new AbortController();
    const reason = reasonOf(client(here, 0).locker.acquire("k", { signal: giveUp.signal }));
    await here.simulation.pass(ONE_WAY_MS / 2);
    giveUp.abort(new Error("too late"));
    expect(await here.simulation.run(reason)).toEqual(new Error("too late"));
    await here.simulation.pass(5 * ROUND_TRIP_MS);
    expect(here.votes.get("acquire granted")).toBe(5);
    expect(here.simulation.servers.map((server) => server.holderOf("k"))).toEqual(Array(5).fill(undefined));
  });

  test("of a locker while an attempt is under way leaves no lock", async () => {
    const here = await world("a");
    const { locker } = client(here, 0);
    const reason = reasonOf(locker.acquire("k"));
    await here.simulation.pass(ONE_WAY_MS / 2);
    await here.simulation.run(locker.close());
    expect(await reason).toBeInstanceOf(LockerClosedError);
    await here.simulation.pass(1);
    expect(here.simulation.servers.map((server) => server.holderOf("k"))).toEqual(Array(5).fill(undefined));
  });

  test("of the last waiter closes the listening connections after a while", async () => {
    const here = await world("a b");
    const { lease, waiting } = await heldAndWaitedFor(here);
    await here.simulation.run(Promise.all([lease.release(), waiting.then((next) => next.release())]));
    const heard = here.simulation.servers.map((server) => server.subscriptions);
    expect(heard).toEqual(Array(5).fill(1));
    await here.simulation.pass(6_000);
    expect(here.simulation.servers.map((server) => server.subscriptions)).toEqual(Array(5).fill(0));
  });
});
