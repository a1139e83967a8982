/** What is measured of one library on one cluster: how soon a waiting process has a lock that another gave back, and who gets how many turns. */
import { monotonicMs } from "../../src/chaos/machine/monotonic.ts";
import { type ClientProcess, spawnClient } from "../../src/chaos/machine/processes.ts";
import { sleep } from "../../src/chaos/machine/wait-for.ts";
import { type Cluster, startCluster } from "../../src/chaos/servers/cluster.ts";
import type { LibraryName } from "../libraries.ts";
import type { Turns } from "./worker.ts";

export interface HandOvers {
  readonly latenciesMs: readonly number[];
  /** Per hand-over, to all nodes together. */
  readonly requests: number;
  /** Of one process that waits while the other keeps the lock, a second. */
  readonly waitingRequests: number;
}

export interface Contention {
  readonly contenders: number;
  readonly turnsPerSecond: number;
  /** Of the slowest process, as a part of the mean. */
  readonly slowestShare: number;
  readonly longestWaitMs: number;
  /** From the start to the first lock. */
  readonly firstMs: number;
  readonly failures: number;
  readonly requestsPerTurn: number;
}

/** Between asking and giving back: longer than any library needs to ask once, and not the same each time. */
const HELD_MS_MIN = 25;
const HELD_MS_MAX = 75;
const WARM_MS = 1_500;
const WAITING_MS = 2_000;

/** Two processes give the lock to and fro. */
export async function handOvers(library: LibraryName, nodes: number, times: number): Promise<HandOvers> {
  return withWorkers(library, nodes, 2, 1, async ([one, other], cluster) => {
    if (one === undefined || other === undefined) throw new Error("two processes are needed");
    let [holding, waiting] = [one, other];
    await holding.call("take", "passed");
    const latenciesMs: number[] = [];
    const before = await requestsTo(cluster);
    for (let i = 0; i < times; i++) {
      const taken = waiting.call("take", "passed") as Promise<number>;
      await sleep(HELD_MS_MIN + ((HELD_MS_MAX - HELD_MS_MIN) * i) / times);
      const givenAt = (await holding.call("give")) as number;
      latenciesMs.push((await taken) - givenAt);
      [holding, waiting] = [waiting, holding];
    }
    const requests = ((await requestsTo(cluster)) - before) / times;
    const waitingRequests = await whileWaiting(holding, waiting, cluster);
    return { latenciesMs, requests, waitingRequests };
  });
}

async function whileWaiting(
  holding: ClientProcess,
  waiting: ClientProcess,
  cluster: Cluster,
): Promise<number> {
  const taken = waiting.call("take", "passed");
  await sleep(HELD_MS_MAX);
  const before = await requestsTo(cluster);
  await sleep(WAITING_MS);
  const requests = (await requestsTo(cluster)) - before;
  await holding.call("give");
  await taken;
  await waiting.call("give");
  return (1_000 * requests) / WAITING_MS;
}

/** All take and give back the same lock as fast as they can. */
export async function contention(
  library: LibraryName,
  nodes: number,
  processes: number,
  instances: number,
  ms: number,
): Promise<Contention> {
  return withWorkers(library, nodes, processes, instances, async (workers, cluster) => {
    const before = await requestsTo(cluster);
    const began = monotonicMs();
    const byProcess = (await Promise.all(
      workers.map((worker) => worker.call("contend", "contended", ms)),
    )) as Turns[][];
    const requests = (await requestsTo(cluster)) - before;
    const all = byProcess.flat();
    const shares = byProcess.map((some) => sum(some.map(({ turns }) => turns)));
    const turns = sum(shares);
    return {
      contenders: all.length,
      turnsPerSecond: (1_000 * turns) / ms,
      slowestShare: (Math.min(...shares) * processes) / turns,
      longestWaitMs: Math.max(...all.map(({ longestWaitMs }) => longestWaitMs)),
      firstMs: Math.min(...all.map(({ firstAt }) => firstAt ?? Infinity)) - began,
      failures: sum(all.map(({ failures }) => failures)),
      requestsPerTurn: requests / turns,
    };
  });
}

async function withWorkers<T>(
  library: LibraryName,
  nodes: number,
  processes: number,
  instances: number,
  measure: (workers: readonly ClientProcess[], cluster: Cluster) => Promise<T>,
): Promise<T> {
  await using cluster = await startCluster(nodes);
  const script = new URL("./worker.js", import.meta.url).pathname;
  const workers = Array.from({ length: processes }, () =>
    spawnClient(script, [library, JSON.stringify(cluster.urls), String(instances)]),
  );
  try {
    await workers[0]?.call("prepare");
    // Connections, scripts and compiled code are there before anything is measured.
    for (const worker of workers) await worker.call("contend", "warm", 1);
    await Promise.all(workers.map((worker) => worker.call("contend", "warm", WARM_MS)));
    return await measure(workers, cluster);
  } finally {
    await Promise.all(workers.map((worker) => worker.kill()));
  }
}

/**
 * What the nodes have read from their clients so far: a request is a read, and what a client sends at once is one. Redis's count of
 * commands would count every line of a script.
 */
async function requestsTo(cluster: Cluster): Promise<number> {
  const infos = await Promise.all(cluster.nodes.map((node) => node.cli("INFO", "stats")));
  return sum(infos.map((info) => Number(/total_reads_processed:(\d+)/.exec(String(info))?.[1])));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
