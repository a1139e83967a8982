/** How a pair of acquire and release is timed, alone and under load, in rounds that all contestants take in turn. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { type ClientProcess, spawnClient } from "../../src/chaos/machine/processes.ts";
import type { Cluster } from "../../src/chaos/servers/cluster.ts";
import { quantile } from "../columns.ts";
import type { Name } from "./contestants.ts";
import type { Worked } from "./work.ts";

export interface Latency {
  readonly p50: number;
  readonly p99: number;
}

export interface Load {
  readonly pairsPerSecond: number;
  /** µs of a pair, of the client's process and of all servers together. */
  readonly clientCpuUs: number;
  readonly serverCpuUs: number;
}

/** In a process of its own, which waits while others are measured. */
interface Contestant {
  readonly name: Name;
  readonly process: ClientProcess;
}

/** What is compared is compiled code: the first second of each costs twice as much. */
const WARM_UP_MS = 1_500;
const WARM_UP_AT_ONCE = 50;

/** Starts them, measures, and ends them. */
export async function withContestants<T>(
  names: readonly Name[],
  urls: readonly string[],
  measure: (contestants: readonly Contestant[]) => Promise<T>,
): Promise<T> {
  const script = fileURLToPath(new URL("./worker.js", import.meta.url));
  const contestants = names.map((name) => ({
    name,
    process: spawnClient(script, [name, JSON.stringify(urls)]),
  }));
  try {
    for (const { process } of contestants) {
      await process.call("prepare");
      await process.call("load", WARM_UP_AT_ONCE, WARM_UP_MS);
    }
    return await measure(contestants);
  } finally {
    await Promise.all(contestants.map(({ process }) => process.kill()));
  }
}

/** One pair after the other, all contestants in turn; the first round is for warming up. */
export async function latencies(
  contestants: readonly Contestant[],
  rounds: number,
  pairs: number,
): Promise<Map<Name, Latency>> {
  const times = new Map(contestants.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round <= rounds; round++)
    for (const { name, process } of contestants) {
      const found = (await process.call("times", `latency:${round}`, pairs)) as number[];
      if (round > 0) times.get(name)?.push(...found);
    }
  return new Map([...times].map(([name, all]) => [name, latencyOf(all)]));
}

export function latencyOf(times: readonly number[]): Latency {
  return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
}

/** So many at once, each with a key of its own, all contestants in turn; the medians of the rounds after the first. */
export async function loads(
  contestants: readonly Contestant[],
  cluster: Cluster,
  atOnce: number,
  rounds: number,
  ms: number,
): Promise<Map<Name, Load>> {
  const found = new Map(contestants.map(({ name }) => [name, [] as Load[]]));
  for (let round = 0; round <= rounds; round++)
    for (const { name, process } of contestants) {
      const work = process.call("load", atOnce, round === 0 ? ms / 2 : ms) as Promise<Worked>;
      const load = await loadWith(cluster, work);
      if (round > 0) found.get(name)?.push(load);
    }
  return new Map([...found].map(([name, all]) => [name, medianOf(all)]));
}

/** What the work comes to, with what it costs the servers. */
export async function loadWith(cluster: Cluster, work: Promise<Worked>): Promise<Load> {
  const before = serverCpuUs(cluster);
  const { pairs, tookMs, cpuUs } = await work;
  return {
    pairsPerSecond: (1_000 * pairs) / tookMs,
    clientCpuUs: cpuUs / pairs,
    serverCpuUs: (serverCpuUs(cluster) - before) / pairs,
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
