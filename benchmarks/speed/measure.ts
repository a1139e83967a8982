/** How a pair of acquire and release is timed, alone and under load, in rounds that all contestants take in turn. */
import { readFileSync } from "node:fs";

import type { Cluster } from "../../src/chaos/servers/cluster.ts";
import { quantile } from "../columns.ts";
import { type Contestant, type Name, open } from "./contestants.ts";

export interface Latency {
  readonly p50: number;
  readonly p99: number;
}

export interface Load {
  readonly pairsPerSecond: number;
  /** µs of a pair, of this process and of all servers together. */
  readonly clientCpuUs: number;
  readonly serverCpuUs: number;
}

/** Opens them, measures, and closes them; one that cannot even take a lock here is left out, and why is told. */
export async function withContestants<T>(
  names: readonly Name[],
  urls: readonly string[],
  measure: (contestants: readonly Contestant[]) => Promise<T>,
): Promise<T> {
  const contestants: Contestant[] = [];
  for (const name of names) contestants.push(await open(name, urls));
  try {
    for (const contestant of contestants) await contestant.prepare();
    return await measure(contestants);
  } finally {
    for (const contestant of contestants) contestant.close();
  }
}

/** One pair after the other, all contestants in turn; the first round is for warming up. */
export async function latencies(
  contestants: readonly Contestant[],
  rounds: number,
  pairs: number,
): Promise<Map<Name, Latency>> {
  const times = new Map(contestants.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round <= rounds; round++) {
    for (const { name, pair } of contestants) {
      for (let i = 0; i < pairs; i++) {
        const began = performance.now();
        await pair(`latency:${round}:${i}`);
        if (round > 0) times.get(name)?.push(performance.now() - began);
      }
    }
  }
  return new Map(
    [...times].map(([name, all]) => [name, { p50: quantile(all, 0.5), p99: quantile(all, 0.99) }]),
  );
}

/** So many at once, each with a key of its own, all contestants in turn; the medians of the rounds after the first. */
export async function loads(
  contestants: readonly Contestant[],
  cluster: Cluster,
  concurrency: number,
  rounds: number,
  ms: number,
): Promise<Map<Name, Load>> {
  const found = new Map(contestants.map(({ name }) => [name, [] as Load[]]));
  for (let round = 0; round <= rounds; round++)
    for (const contestant of contestants) {
      const load = await loadOnce(contestant, cluster, concurrency, round === 0 ? ms / 2 : ms);
      if (round > 0) found.get(contestant.name)?.push(load);
    }
  return new Map([...found].map(([name, all]) => [name, medianOf(all)]));
}

/** One round of one contestant. */
export async function loadOnce(
  { pair }: Contestant,
  cluster: Cluster,
  concurrency: number,
  ms: number,
): Promise<Load> {
  let pairs = 0;
  const [cpu, servers, began] = [process.cpuUsage(), serverCpuUs(cluster), performance.now()];
  const end = began + ms;
  const work = async (index: number): Promise<void> => {
    while (performance.now() < end) {
      // What a library gives up under load is time lost to it, and no error of the benchmark's.
      await pair(`load:${index}`).then(
        () => pairs++,
        () => {},
      );
    }
  };
  await Promise.all(Array.from({ length: concurrency }, (_, index) => work(index)));
  const tookMs = performance.now() - began;
  const { user, system } = process.cpuUsage(cpu);
  return {
    pairsPerSecond: (1_000 * pairs) / tookMs,
    clientCpuUs: (user + system) / pairs,
    serverCpuUs: (serverCpuUs(cluster) - servers) / pairs,
  };
}

function medianOf(all: readonly Load[]): Load {
  const middle = (pick: (load: Load) => number): number => quantile(all.map(pick), 0.5);
  return {
    pairsPerSecond: middle((load) => load.pairsPerSecond),
    clientCpuUs: middle((load) => load.clientCpuUs),
    serverCpuUs: middle((load) => load.serverCpuUs),
  };
}

/** Linux counts in hundredths of a second. */
const TICK_US = 10_000;

/** CPU time of all servers so far. NaN where the machine does not tell. */
function serverCpuUs({ nodes }: Cluster): number {
  return nodes.reduce((sum, { pid }) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return sum + (Number(fields[11]) + Number(fields[12])) * TICK_US;
    } catch {
      return Number.NaN;
    }
  }, 0);
}
