/**
 * The restart guard on real servers: whose guard counts, which memory it is, and whose vote (rules N2, N3 and G1 to G8). A lease that was granted
 * before the trouble must never be joined by a second one; and what lost nothing must cost nothing.
 */
import { describe, expect, test } from "vitest";

import { waitFor } from "../../src/chaos/machine/wait-for.ts";
import { type Proxy, startProxy } from "../../src/chaos/network/proxy.ts";
import type { Cluster } from "../../src/chaos/servers/cluster.ts";
import { evictionPolicy, replicaOfCycle } from "../../src/chaos/servers/commands.ts";
import { clockShimUnavailable } from "../../src/chaos/servers/node-clock.ts";
import type { ServerNode } from "../../src/chaos/servers/server-node.ts";
import {
  createLocker,
  type HoldfastEvent,
  type Lease,
  type Locker,
  type LockerOptions,
  type QuorumOptions,
  type SingleOptions,
} from "../../src/index.ts";
import { afterEachTest, serversFor } from "../harness/clean-up.ts";
import { failure } from "../harness/failure.ts";
import { replicates } from "../harness/sentinel.ts";

/** Long enough for everything here to happen within one. */
const TTL_MS = 20_000;
const KEY = "account";
const MARKER = "holdfast:node";

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);

function locker(options: LockerOptions): Locker {
  const made = createLocker(options);
  cleanUp(() => made.close({ withinMs: 0 }));
  return made;
}

function quorum(nodes: QuorumOptions["nodes"], more: Partial<QuorumOptions> = {}): Locker {
  return locker({ mode: "quorum", nodes, ttlMs: TTL_MS, ...more });
}

function single(node: string, more: Partial<SingleOptions> = {}): Locker {
  return locker({ mode: "single", nodes: [node], ttlMs: TTL_MS, restartGuard: "strict", ...more });
}

function nth(cluster: Cluster, index: number): ServerNode {
  const node = cluster.nodes[index];
  if (node === undefined) throw new Error(`the cluster has no node ${index}`);
  return node;
}

async function proxyTo({ port }: ServerNode): Promise<Proxy> {
  const proxy = await startProxy(port);
  cleanUp(() => proxy.close());
  return proxy;
}

function stateOf(client: Locker, index = 0): string | undefined {
  return client.nodes()[index]?.state;
}

function reaches(client: Locker, state: string, index = 0): Promise<void> {
  return waitFor(() => stateOf(client, index) === state, {
    what: `node ${index} is ${state}`,
    timeoutMs: 8_000,
  });
}

/** A lease on the first two of three nodes, and a strict client that sees all three again. */
async function onABareQuorum(cluster: Cluster): Promise<{ lease: Lease; contender: Locker }> {
  const mine = quorum(cluster.urls);
  await mine.init();
  const contender = quorum(cluster.urls);
  await contender.ready();
  const third = nth(cluster, 2);
  third.pause();
  const lease = await mine.acquire(KEY);
  await waitFor(() => stateOf(mine, 2) === "unreachable", { what: "the third node is given up" });
  third.resume();
  await reaches(contender, "admitted", 2);
  expect(await third.cli("GET", KEY)).toBe(null);
  return { lease, contender };
}

async function isShutOut(contender: Locker, lease: Lease): Promise<void> {
  const outcome = await contender.attempt(KEY);
  expect(outcome.outcome).not.toBe("acquired");
  expect(lease.isHeld()).toBe(true);
}

describe("N2: whose guard counts", () => {
  test.each(["trust", "first-use"] as const)(
    "a client with %s that meets a restarted node first votes there itself, and changes nothing for a strict one",
    async (restartGuard) => {
      const cluster = await servers(3);
      const { lease, contender } = await onABareQuorum(cluster);
      const first = nth(cluster, 0);
      const weak = single(first.url, { restartGuard });
      await weak.ready();
      await first.kill();
      await first.restart();
      await waitFor(() => first.cli("EXISTS", MARKER).then((found) => found === 1), {
        what: "somebody admits it",
      });
      await reaches(contender, "quarantined");
      await isShutOut(contender, lease);
      // The one with the weaker guard has its own way, as it was asked for.
      await reaches(weak, restartGuard === "trust" ? "admitted" : "quarantined");
      expect((await weak.attempt("other")).outcome).toBe(restartGuard === "trust" ? "acquired" : "unknown");
    },
  );

  test("a fleet that lost everything is no new one to strict clients, whoever takes it for one", async () => {
    const cluster = await servers(3);
    const mine = quorum(cluster.urls);
    await mine.init();
    const lease = await mine.acquire(KEY);
    for (const node of cluster.nodes) await node.cli("FLUSHALL");
    const facade = quorum(cluster.urls, { restartGuard: "first-use" });
    await facade.ready();
    const contender = quorum(cluster.urls);
    await reaches(contender, "quarantined");
    await isShutOut(contender, lease);
  });

  test("whoever only looks admits nobody", async () => {
    const cluster = await servers(1);
    const watcher = single(nth(cluster, 0).url, { readOnly: true });
    const seen = await watcher.inspect(KEY);
    expect(seen.nodes[0]).toMatchObject({ answered: true, state: "unadmitted" });
    expect(await nth(cluster, 0).cli("KEYS", "*")).toEqual([]);
    await expect(watcher.acquire(KEY)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await expect(watcher.init()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  test("init is for all, and says so on the node", async () => {
    const cluster = await servers(1);
    const waits = single(nth(cluster, 0).url);
    await reaches(waits, "quarantined");
    await single(nth(cluster, 0).url).init();
    expect(await nth(cluster, 0).cli("HGET", MARKER, "declared")).toBe("init");
    await waits.ready();
    expect((await waits.attempt(KEY)).outcome).toBe("acquired");
  });

  test("clients with other options are told of", async () => {
    const cluster = await servers(1);
    await single(nth(cluster, 0).url, { restartGuard: "trust" }).ready();
    const events: HoldfastEvent[] = [];
    const strict = single(nth(cluster, 0).url, { observer: (event) => void events.push(event) });
    await reaches(strict, "quarantined");
    expect(events.filter(({ type }) => type === "mixed-options")).toMatchObject([
      {
        own: expect.stringContaining("restartGuard=strict") as string,
        others: expect.stringContaining("restartGuard=trust") as string,
      },
    ]);
  });
});

describe("N3: which ttls there may have been", () => {
  test("after everything was forgotten, a client with a longer ttl than whoever came first is not refused", async () => {
    const cluster = await servers(1);
    const [short, long] = [
      single(nth(cluster, 0).url, { restartGuard: "trust", ttlMs: 1_000 }),
      single(nth(cluster, 0).url, { restartGuard: "trust", ttlMs: 60_000 }),
    ];
    await Promise.all([short.ready(), long.ready()]);
    await nth(cluster, 0).cli("FLUSHALL");
    await short.using("short", () => {});
    expect(await nth(cluster, 0).cli("HGET", MARKER, "ttl")).toBe("1000");
    await long.using("long", () => {});
    expect(await nth(cluster, 0).cli("HGET", MARKER, "ttl")).toBe("60000");
  });

  test("a long lock on the others keeps a node that lost its memory silent for as long", async () => {
    const cluster = await servers(3);
    const [usual, long] = [
      quorum(cluster.urls, { ttlMs: 2_000 }),
      quorum(cluster.urls, { ttlMs: 2_000, maxTtlMs: 60_000 }),
    ];
    await usual.init();
    await usual.ready();
    await long.using("warm", () => {});
    await long.acquire("long", { ttlMs: 60_000 });
    const [first] = cluster.nodes;
    await first?.kill();
    await first?.restart();
    await reaches(usual, "quarantined");
    await waitFor(() => Number(/in (\d+) ms/.exec(usual.nodes()[0]?.detail ?? "")?.[1]) > 50_000, {
      what: "the client has learnt of the long lock",
    });
  });
});

describe("G1: what lost nothing", () => {
  async function heldThroughout(cluster: Cluster, disturb: () => Promise<void>): Promise<void> {
    const mine = quorum(cluster.urls, { ttlMs: 1_500 });
    await mine.init();
    const states: string[] = [];
    const other = quorum(cluster.urls, {
      ttlMs: 1_500,
      observer: (event) => event.type === "node" && void states.push(event.state),
    });
    await other.ready();
    const lease = await mine.acquire(KEY, { autoExtend: true });
    states.length = 0;
    await disturb();
    await other.using("free", () => {});
    await lease.extend();
    await lease.extend();
    expect(await lease.verify()).toBe("held");
    expect(lease.isHeld()).toBe(true);
    // Three check-ups would have shown it.
    await other.using("free", () => {});
    expect(states).toEqual([]);
  }

  const idOf = async (node: ServerNode) =>
    /master_replid:(\w+)/.exec(String(await node.cli("INFO", "replication")))?.[1];

  const changesId = async (node: ServerNode, act: () => Promise<unknown>): Promise<void> => {
    const before = await idOf(node);
    await act();
    await waitFor(async () => (await idOf(node)) !== before, {
      what: "another replication id",
      timeoutMs: 15_000,
    });
  };

  test("a first replica attaches to two of three nodes, and later their backlogs are freed", async () => {
    const cluster = await servers(3);
    const [backup] = (await servers(1)).nodes;
    await heldThroughout(cluster, async () => {
      for (const node of cluster.nodes.slice(0, 2)) {
        await node.cli("CONFIG", "SET", "repl-diskless-sync-delay", 0, "repl-backlog-ttl", 1);
        await changesId(node, async () => backup?.cli("REPLICAOF", "127.0.0.1", node.port));
        await waitFor(() => replicates(node, "connected_slaves:1"), { what: "the replica is there" });
        await changesId(node, async () => backup?.cli("REPLICAOF", "NO", "ONE"));
      }
    });
  });

  test.each([false, true])(
    "is told from a replica that was promoted, also when its backlog was freed since; statistics reset meanwhile: %s",
    async (isReset) => {
      const [node, backup] = (await servers(2)).nodes as [ServerNode, ServerNode];
      await node.cli("CONFIG", "SET", "repl-diskless-sync-delay", 0, "repl-backlog-ttl", 1);
      await backup.cli("REPLICAOF", "127.0.0.1", node.port);
      await waitFor(() => replicates(node, "connected_slaves:1"), { what: "there is a backlog" });
      const client = single(node.url);
      await client.init();
      await client.ready();
      await backup.cli("REPLICAOF", "NO", "ONE");
      await replicaOfCycle(node);
      expect(await replicates(node, "master_replid2:0000")).toBe(false);
      if (isReset) await node.cli("CONFIG", "RESETSTAT");
      await waitFor(() => replicates(node, "master_replid2:0000"), {
        what: "it is freed",
        timeoutMs: 15_000,
      });
      expect((await client.attempt(KEY)).outcome).toBe("unknown");
      await reaches(client, "quarantined");
    },
  );

  test("a node that evicted keys between two check-ups has lost something", async () => {
    const cluster = await servers(1);
    const node = nth(cluster, 0);
    const client = single(node.url);
    await client.init();
    await client.ready();
    await node.cli("DEBUG", "POPULATE", 2_000, "filler", 1_000);
    await evictionPolicy(node, "allkeys-random", 2_000_000);
    await node.cli("SET", "one-more", "x".repeat(1_000));
    await evictionPolicy(node, "noeviction", 0);
    expect(Number(/evicted_keys:(\d+)/.exec(String(await node.cli("INFO", "stats")))?.[1])).toBeGreaterThan(
      0,
    );
    await reaches(client, "quarantined");
  });
});

describe("G2: one server, one vote", () => {
  test("an address that comes to lead to another node of the fleet votes no more, and votes again when it leads back", async () => {
    const cluster = await servers(3);
    const proxy = await proxyTo(nth(cluster, 1));
    const mine = quorum([nth(cluster, 0).url, proxy.url, nth(cluster, 2).url], { nodeTimeoutMs: 100 });
    await mine.init();
    await mine.ready();
    proxy.leadTo(nth(cluster, 0).port);
    await reaches(mine, "excluded", 1);
    expect(mine.nodes()[1]?.detail).toContain("the same server as");
    nth(cluster, 2).pause();
    cleanUp(() => nth(cluster, 2).resume());
    const outcome = await mine.attempt("lone");
    expect(outcome.outcome).toBe("unknown");
    proxy.leadTo(nth(cluster, 1).port);
    await reaches(mine, "admitted", 1);
    expect((await mine.attempt("lone")).outcome).toBe("acquired");
  });

  test("an alias that was down when the locker opened is shut out when it comes", async () => {
    const cluster = await servers(2);
    const alias = await proxyTo(nth(cluster, 0));
    await alias.refuse(true);
    const mine = quorum([...cluster.urls, alias.url]);
    await mine.init();
    await mine.ready();
    await mine.using(KEY, () => {});
    await alias.refuse(false);
    await reaches(mine, "excluded", 2);
    await mine.using(KEY, () => {});
  });

  test("one server under two addresses from the start is a configuration that cannot work", async () => {
    const cluster = await servers(2);
    const alias = await proxyTo(nth(cluster, 0));
    const mine = quorum([...cluster.urls, alias.url]);
    expect(await failure(mine.acquire(KEY))).toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("the same server as") as string,
    });
  });
});

describe("G6: there and back behind one name", () => {
  test("a server that another one stood in for is a new memory to everybody who comes back", async () => {
    const cluster = await servers(2);
    const [a, b] = [nth(cluster, 0), nth(cluster, 1)];
    const name = await proxyTo(a);
    const [mine, theirs] = [single(name.url), single(name.url)];
    await mine.init();
    await theirs.ready();
    name.leadTo(b.port);
    await reaches(mine, "quarantined");
    await reaches(theirs, "quarantined");
    // As if the quarantine were over; what matters is what the other server knows nothing of.
    await mine.init();
    const lease = await mine.acquire(KEY);
    await theirs.ready();
    name.leadTo(a.port);
    await reaches(theirs, "quarantined");
    await isShutOut(theirs, lease);
    // Who comes now finds a memory that began after that.
    const late = single(name.url);
    await reaches(late, "quarantined");
  });

  test("with staleAfterMs (G7), to everybody at all", async () => {
    const cluster = await servers(2);
    const [a, b] = [nth(cluster, 0), nth(cluster, 1)];
    const name = await proxyTo(a);
    const more = { ttlMs: 2_000, staleAfterMs: 1_500 };
    const mine = single(name.url, more);
    await mine.init();
    await mine.ready();
    name.leadTo(b.port);
    await reaches(mine, "quarantined");
    await mine.ready();
    await mine.close();
    name.leadTo(a.port);
    const fresh = single(name.url, more);
    await reaches(fresh, "quarantined");
    await fresh.ready();
    // Looked after, it stays what it is for others who come.
    const next = single(name.url, more);
    await waitFor(() => ["admitted", "quarantined"].includes(stateOf(next) ?? ""), { what: "it is met" });
    expect(stateOf(next)).toBe("admitted");
  });

  test("with staleAfterMs, to a client that stood still for too long, too", async () => {
    const cluster = await servers(1);
    const mine = single(nth(cluster, 0).url, { ttlMs: 2_000, staleAfterMs: 1_000 });
    await mine.init();
    await mine.using(KEY, () => {});
    const wakeAt = performance.now() + 1_500;
    while (performance.now() < wakeAt);
    expect((await mine.attempt(KEY)).outcome).toBe("unknown");
    await reaches(mine, "quarantined");
  });
});

describe.skipIf(clockShimUnavailable())("clocks that are set right", () => {
  const HOUR_MS = 3_600_000;

  test("G8: a server that came back with its clock an hour behind is no older for being corrected", async () => {
    const cluster = await servers(1, { clockShim: true });
    const node = nth(cluster, 0);
    const [mine, theirs] = [single(node.url), single(node.url)];
    await mine.init();
    await theirs.ready();
    const lease = await mine.acquire(KEY);
    await node.kill();
    node.clock?.step(-HOUR_MS);
    await node.restart();
    await reaches(theirs, "quarantined");
    node.clock?.step(HOUR_MS);
    await isShutOut(theirs, lease);
    // Nor for who comes after that: those who know have told the node.
    await waitFor(
      async () => Date.now() * 1_000 - Number(await node.cli("HGET", MARKER, "since")) < 60_000_000,
      {
        what: "the node knows better",
      },
    );
    await isShutOut(single(node.url), lease);
  });

  test("a clock that was an hour ahead leaves no quarantine of an hour", async () => {
    const cluster = await servers(1, { clockShim: true });
    const node = nth(cluster, 0);
    node.clock?.step(HOUR_MS);
    const mine = single(node.url, { ttlMs: 1_000 });
    await reaches(mine, "quarantined");
    node.clock?.step(-HOUR_MS);
    await mine.ready();
  });

  test("its fences are in the future until an operator brings them back", async () => {
    const cluster = await servers(1, { clockShim: true });
    const node = nth(cluster, 0);
    const mine = single(node.url, { restartGuard: "trust" });
    await mine.ready();
    await mine.using("untouched", () => {});
    node.clock?.step(HOUR_MS);
    let ahead = 0;
    // The client learns of the step from the first answer.
    while (ahead < (Date.now() + HOUR_MS / 2) * 1_000) ahead = await mine.using(KEY, ({ fence }) => fence);
    node.clock?.step(-HOUR_MS);
    expect((await mine.attempt(KEY)).outcome).not.toBe("acquired");
    expect((await mine.attempt("untouched")).outcome).toBe("acquired");
    await mine.init();
    expect((await mine.attempt(KEY)).outcome).not.toBe("acquired");
    await mine.init({ resetFences: true });
    const lease = await mine.acquire(KEY);
    expect(lease.fence).toBeLessThan(ahead);
  });
});
