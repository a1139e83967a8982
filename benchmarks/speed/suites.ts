/** What is measured: each suite starts servers of its own and answers with rows of figures. */
import { proxied } from "../../src/chaos/network/proxy.ts";
import { startCluster } from "../../src/chaos/servers/cluster.ts";
import { createLocker, type LockerOptions } from "../../src/index.ts";
import { Simulation } from "../../src/sim/index.ts";
import { isFloor, isOurs, type Name, namesFor } from "./contestants.ts";
import { type Latency, latencies, latencyOf, type Load, loads, withContestants } from "./measure.ts";
import { quantile } from "../columns.ts";
import { type Contended, pairTimes } from "./work.ts";

/** A figure of one contestant at one place of a suite. */
export interface Row {
  readonly suite: string;
  readonly nodes: number;
  readonly name: Name;
  /** What it was measured at, e.g. `200` at once. */
  readonly at: string;
  readonly figures: Readonly<Record<string, number>>;
}

export interface Scale {
  readonly nodes: readonly number[];
  readonly concurrencies: readonly number[];
  readonly rounds: number;
  readonly pairs: number;
  readonly loadMs: number;
  readonly leases: number;
  readonly shardCounts: readonly number[];
}

export type Suite = (scale: Scale, tell: (row: Row) => void) => Promise<void>;

export const SUITES: Readonly<Record<string, { readonly title: string; readonly run: Suite }>> = {
  latency: { title: "one pair of acquire and release after the other, uncontended", run: latency },
  delayed: { title: "the same with 1 ms of network delay in front of every node", run: delayed },
  throughput: { title: "so many at once, each with a key of its own", run: throughput },
  contended: { title: "so many contenders of one process for one key", run: contended },
  faults: { title: "the same latency with nodes that are dead or hung", run: faults },
  "multi-key": { title: "several keys, all or nothing", run: multiKey },
  held: { title: "leases that are held and extend themselves", run: held },
  shards: {
    title: "keys spread over so many quorums of three, simulated: servers are busy for 20 µs a request",
    run: shards,
  },
};

async function latency({ nodes, rounds, pairs }: Scale, tell: (row: Row) => void): Promise<void> {
  for (const size of nodes) {
    await using cluster = await startCluster(size);
    await withContestants(namesFor(size), cluster.urls, async (contestants) =>
      tellAll("latency", size, "1", latencyFigures(await latencies(contestants, rounds, pairs)), tell),
    );
  }
}

/** Each way. */
const DELAY_MS = 0.5;

async function delayed({ nodes, rounds, pairs }: Scale, tell: (row: Row) => void): Promise<void> {
  for (const size of nodes) {
    await using cluster = await startCluster(size);
    const proxies = await proxied(cluster);
    try {
      for (const proxy of proxies) proxy.delay(DELAY_MS, 0);
      const names = namesFor(size).filter((name) => isOurs(name) || isFloor(name));
      const urls = proxies.map(({ url }) => url);
      await withContestants(names, urls, async (contestants) =>
        tellAll("delayed", size, "1", latencyFigures(await latencies(contestants, rounds, pairs)), tell),
      );
    } finally {
      await Promise.all(proxies.map((proxy) => proxy.close()));
    }
  }
}

async function throughput(
  { nodes, concurrencies, rounds, loadMs }: Scale,
  tell: (row: Row) => void,
): Promise<void> {
  for (const size of nodes) {
    await using cluster = await startCluster(size);
    await withContestants(namesFor(size), cluster.urls, async (contestants) => {
      for (const concurrency of concurrencies) {
        const found = await loads(contestants, cluster, concurrency, Math.ceil(rounds / 3), loadMs);
        tellAll("throughput", size, String(concurrency), loadFigures(found), tell);
      }
    });
  }
}

const CONTENDERS = [50, 100, 200] as const;

/** Mean and p99 of the time from the call to the release, and what was given up. */
async function contended({ nodes, loadMs }: Scale, tell: (row: Row) => void): Promise<void> {
  for (const size of nodes) {
    await using cluster = await startCluster(size);
    // The floors have no waiting.
    const names = namesFor(size).filter((name) => !isFloor(name));
    await withContestants(names, cluster.urls, async (contestants) => {
      for (const contenders of CONTENDERS)
        for (const { name, process } of contestants) {
          const found = (await process.call("contend", contenders, CONTENDED_LOADS * loadMs)) as Contended;
          tell({
            suite: "contended",
            nodes: size,
            name,
            at: String(contenders),
            figures: contendedFigures(found),
          });
        }
    });
  }
}

/** Some libraries wait for hundreds of ms between two attempts. */
const CONTENDED_LOADS = 5;

function contendedFigures({ pairs, failed, tookMs, waits }: Contended): Row["figures"] {
  const mean = waits.reduce((sum, wait) => sum + wait, 0) / waits.length;
  return {
    "pairs/s": (1_000 * pairs) / tookMs,
    "mean ms": mean,
    "p99 ms": quantile(waits, 0.99),
    "given up %": (100 * failed) / (pairs + failed),
  };
}

/** Only those that are not stopped by them: whoever waits for all nodes is measured by the chaos comparison. */
const FAULT_PROOF: readonly Name[] = ["holdfast", "floor"];

async function faults({ rounds, pairs }: Scale, tell: (row: Row) => void): Promise<void> {
  for (const [what, broken] of [
    ["healthy", 0],
    ["1 dead", 1],
    ["1 hung", 1],
    ["2 hung", 2],
  ] as const) {
    await using cluster = await startCluster(5);
    await withContestants(FAULT_PROOF, cluster.urls, async (contestants) => {
      for (const { process } of contestants) await process.call("times", "warm", pairs);
      for (const node of cluster.nodes.slice(0, broken))
        if (what.endsWith("dead")) await node.kill();
        else node.pause();
      tellAll("faults", 5, what, latencyFigures(await latencies(contestants, rounds, pairs)), tell);
      for (const node of cluster.nodes.slice(0, broken)) if (what.endsWith("hung")) node.resume();
    });
  }
}

async function multiKey({ rounds, pairs }: Scale, tell: (row: Row) => void): Promise<void> {
  await using cluster = await startCluster(5);
  await using locker = createLocker({ mode: "quorum", nodes: cluster.urls });
  await locker.init();
  await locker.ready();
  for (const keys of [1, 4, 16]) {
    const pair = async (key: string): Promise<void> => {
      const lease = await locker.acquire(Array.from({ length: keys }, (_, index) => `${key}:${index}`));
      await lease.release();
    };
    await pairTimes({ pair }, `warm:${keys}`, pairs);
    const found = latencyOf(await pairTimes({ pair }, `keys:${keys}`, rounds * pairs));
    tellAll("multi-key", 5, `${keys} keys`, latencyFigures(new Map([["holdfast", found]])), tell);
  }
}

const HELD_MS = 10_000;

/** CPU and memory of leases that keep themselves alive, nothing else going on. */
async function held({ leases }: Scale, tell: (row: Row) => void): Promise<void> {
  await using cluster = await startCluster(5);
  const options: LockerOptions = { mode: "quorum", nodes: cluster.urls };
  await using locker = createLocker({ ...options, ttlMs: 10_000 });
  await locker.init();
  await locker.ready();
  // What the first lock brings along is no part of the others.
  await (await locker.acquire("first")).release();
  collect();
  const before = process.memoryUsage().heapUsed;
  const all = [];
  for (let from = 0; from < leases; from += BATCH) {
    const some = Array.from({ length: Math.min(BATCH, leases - from) }, (_, index) =>
      locker.acquire(`held:${from + index}`, { autoExtend: true }),
    );
    all.push(...(await Promise.all(some)));
  }
  collect();
  const heapBytes = (process.memoryUsage().heapUsed - before) / leases;
  const cpu = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, HELD_MS));
  const { user, system } = process.cpuUsage(cpu);
  const lost = all.filter((lease) => !lease.isHeld()).length;
  const figures = { "client CPU %": (user + system) / 10 / HELD_MS, "heap bytes per lease": heapBytes, lost };
  tell({ suite: "held", nodes: 5, name: "holdfast", at: `${leases} leases`, figures });
}

const BATCH = 200;

/** In virtual time: what the quorums allow, whatever the machine that simulates them does. */
async function shards({ shardCounts }: Scale, tell: (row: Row) => void): Promise<void> {
  for (const count of shardCounts) {
    const figures = { "pairs/s": await pairsOnShards(count) };
    tell({ suite: "shards", nodes: 3, name: "holdfast", at: String(count), figures });
  }
}

const REQUEST_MS = 0.02;
const CLIENTS_PER_SHARD = 200;
const SHARDS_MS = 200;

async function pairsOnShards(count: number): Promise<number> {
  const simulation = new Simulation({ seed: `shards ${count}`, nodes: 3 * count });
  for (const server of simulation.servers) server.requestMs = REQUEST_MS;
  const names = simulation.servers.map(({ name }) => name);
  const homes = Array.from({ length: count }, (_, index) => names.slice(3 * index, 3 * index + 3));
  const fleet = Object.fromEntries(homes.map((servers, index) => [`shard-${index}`, servers]));
  const { locker } = simulation.start("client", { shards: fleet });
  await simulation.run(locker.init());
  await simulation.run(locker.ready());
  const end = simulation.clock.now() + SHARDS_MS;
  let pairs = 0;
  const worker = async (_: unknown, index: number): Promise<void> => {
    for (let turn = 0; simulation.clock.now() < end; turn++) {
      const lease = await locker.acquire(`work:${index}:${turn}`);
      await lease.release();
      pairs++;
    }
  };
  await simulation.run(Promise.all(Array.from({ length: CLIENTS_PER_SHARD * count }, worker)));
  await simulation.run(locker.close());
  return pairs / (SHARDS_MS / 1_000);
}

function collect(): void {
  (globalThis as { gc?: () => void }).gc?.();
}

function latencyFigures(found: ReadonlyMap<Name, Latency>): Map<Name, Row["figures"]> {
  return new Map(
    [...found].map(([name, { p50, p99 }]) => [name, { "p50 µs": 1_000 * p50, "p99 µs": 1_000 * p99 }]),
  );
}

function loadFigures(found: ReadonlyMap<Name, Load>): Map<Name, Row["figures"]> {
  return new Map(
    [...found].map(([name, { pairsPerSecond, clientCpuUs, serverCpuUs }]) => [
      name,
      { "pairs/s": pairsPerSecond, "client CPU µs": clientCpuUs, "server CPU µs": serverCpuUs },
    ]),
  );
}

function tellAll(
  suite: string,
  nodes: number,
  at: string,
  figures: ReadonlyMap<Name, Row["figures"]>,
  tell: (row: Row) => void,
): void {
  for (const [name, each] of figures) tell({ suite, nodes, name, at, figures: each });
}
