/**
 * What a safe lock costs over a bare one: uncontended acquire and release, against SET NX PX and compare-and-delete with ioredis on
 * the same servers, counted as a quorum. Interleaved rounds in one process, medians, ratios; nothing here decides a test.
 */
import { randomUUID } from "node:crypto";
import { cpus } from "node:os";

import { Redis } from "ioredis";

import { createLocker, type Locker } from "../src/index.ts";
import { type Cluster, startCluster } from "../src/chaos/servers/cluster.ts";

const ROUNDS = 10;
const PAIRS_PER_ROUND = 400;
const COMPARE_AND_DELETE =
  "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

type Pair = (key: string) => Promise<unknown>;

console.log(
  `Uncontended acquire + release. Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? "?"}; servers share these cores.\n`,
);
console.log("nodes   bare p50   holdfast p50   ratio   bare p99   holdfast p99");
for (const nodes of [1, 3, 5]) await compare(nodes);

async function compare(nodes: number): Promise<void> {
  await using cluster = await startCluster(nodes);
  await using locker = createLocker(
    nodes === 1 ? { mode: "single", nodes: cluster.urls } : { mode: "quorum", nodes: cluster.urls },
  );
  await locker.init();
  await locker.ready();
  const bare = await bareLock(cluster);
  const [floor, ours] = await interleaved([bare.pair, (key) => pairOf(locker, key)]);
  const [a, b] = [quantile(floor, 0.5), quantile(ours, 0.5)];
  const columns = [
    String(nodes),
    us(a),
    us(b),
    (b / a).toFixed(2),
    us(quantile(floor, 0.99)),
    us(quantile(ours, 0.99)),
  ];
  const widths = [5, 11, 15, 8, 11, 15];
  console.log(columns.map((column, index) => column.padStart(widths[index] ?? 0)).join(""));
  bare.close();
}

async function pairOf(locker: Locker, key: string): Promise<void> {
  const lease = await locker.acquire(key);
  await lease.release();
}

async function bareLock({ nodes }: Cluster): Promise<{ pair: Pair; close: () => void }> {
  const clients = nodes.map(({ port }) => new Redis(port, "127.0.0.1"));
  const quorum = Math.floor(nodes.length / 2) + 1;
  const shas = await Promise.all(clients.map((client) => client.script("LOAD", COMPARE_AND_DELETE)));
  const sha = String(shas[0]);
  const pair: Pair = async (key) => {
    const value = randomUUID();
    await majority(
      clients.map((client) => client.set(key, value, "PX", 10_000, "NX")),
      quorum,
    );
    await majority(
      clients.map((client) => client.evalsha(sha, 1, key, value)),
      quorum,
    );
  };
  return { pair, close: () => clients.forEach((client) => client.disconnect()) };
}

function majority(answers: readonly Promise<unknown>[], quorum: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let arrived = 0;
    for (const answer of answers) answer.then(() => ++arrived === quorum && resolve(), reject);
  });
}

/** Rounds of all in turn, so that what the machine does besides hits all alike. One round to warm up. */
async function interleaved(pairs: readonly Pair[]): Promise<[number[], number[]]> {
  const times: [number[], number[]] = [[], []];
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [who, pair] of pairs.entries()) {
      for (let i = 0; i < PAIRS_PER_ROUND; i++) {
        const began = performance.now();
        await pair(`bench:${who}:${round}:${i}`);
        if (round > 0) times[who]?.push(performance.now() - began);
      }
    }
  }
  return times;
}

function quantile(values: readonly number[], q: number): number {
  return [...values].sort((a, b) => a - b)[Math.floor(q * (values.length - 1))] ?? Number.NaN;
}

function us(ms: number): string {
  return `${(1_000 * ms).toFixed(0)} µs`;
}
