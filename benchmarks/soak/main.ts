/**
 * `npm run soak`: many clients for a long time, on keys that come and go, while one node after the other is killed and comes back empty: does
 * anything grow? Heap, sockets, timers and listeners are counted once a minute, after a full collection.
 *
 *   --minutes 60     --clients 200     --restart 20s (seconds between two restarts)     --json FILE
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { startCluster } from "../../src/chaos/servers/cluster.ts";
import { createLocker, type Locker } from "../../src/index.ts";
import { columns } from "../columns.ts";
import { orUsage, usage } from "../usage.ts";

const { values } = orUsage(() =>
  parseArgs({
    options: {
      minutes: { type: "string", default: "60" },
      clients: { type: "string", default: "200" },
      restart: { type: "string", default: "20" },
      json: { type: "string" },
    },
  }),
);

interface Sample {
  readonly minute: number;
  readonly heapMb: number;
  readonly rssMb: number;
  readonly sockets: number;
  readonly timers: number;
  readonly listeners: number;
  readonly leases: number;
  readonly refused: number;
  readonly restarts: number;
}

const TTL_MS = 2_000;
const KEYS = 400;
const HEAD = [
  "minute",
  "heap MB",
  "rss MB",
  "sockets",
  "timers",
  "process listeners",
  "leases",
  "refused",
  "restarts",
];

await soak(number("minutes"), number("clients"), number("restart"));
process.exit();

async function soak(minutes: number, clients: number, restartSeconds: number): Promise<void> {
  await using cluster = await startCluster(5);
  const lockers: Locker[] = Array.from({ length: clients }, (_, index) =>
    createLocker({ mode: "quorum", nodes: cluster.urls, ttlMs: TTL_MS, owner: `client-${index}` }),
  );
  await lockers[0]?.init();
  await Promise.all(lockers.map((locker) => locker.ready()));
  const end = performance.now() + 60_000 * minutes;
  const counts = { leases: 0, refused: 0, restarts: 0 };
  const work = lockers.map((locker, index) => churn(locker, index, end, counts));
  const restarting = restart(cluster, end, 1_000 * restartSeconds, counts);
  const samples: Sample[] = [];
  console.log(HEAD.join("\t"));
  for (let minute = 0; minute <= minutes; minute++) {
    const sample = sampleOf(minute, counts);
    samples.push(sample);
    console.log(rowOf(sample).join("\t"));
    await new Promise((resolve) =>
      setTimeout(resolve, Math.min(60_000, Math.max(0, end - performance.now()))),
    );
  }
  await Promise.all([...work, restarting]);
  await Promise.all(lockers.map((locker) => locker.close()));
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const last = sampleOf(minutes, counts);
  console.log(`\nafter all lockers were closed\n${columns([HEAD, rowOf(last)])}`);
  judge(samples);
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify({ samples, last }, undefined, 2)}\n`);
}

/** Short holds and long ones, contended and not, given up and handed on. */
async function churn(
  locker: Locker,
  index: number,
  end: number,
  counts: { leases: number; refused: number },
): Promise<void> {
  for (let turn = 0; performance.now() < end; turn++) {
    const key =
      turn % 3 === 0
        ? `shared:${(index + turn) % 20}`
        : `own:${index}:${turn % KEYS}:${Math.floor(turn / KEYS)}`;
    const signal = turn % 7 === 0 ? AbortSignal.timeout(300) : undefined;
    await locker
      .using(
        key,
        { waitMs: 500, signal },
        () => new Promise((resolve) => setTimeout(resolve, (index * 7 + turn) % 40)),
      )
      .then(
        () => counts.leases++,
        () => counts.refused++,
      );
  }
}

async function restart(
  { nodes }: { readonly nodes: readonly { kill(): Promise<void>; restartEmpty(): Promise<void> }[] },
  end: number,
  everyMs: number,
  counts: { restarts: number },
): Promise<void> {
  for (let turn = 0; performance.now() < end - everyMs; turn++) {
    await new Promise((resolve) => setTimeout(resolve, everyMs));
    const node = nodes[turn % nodes.length];
    await node?.kill();
    await node?.restartEmpty();
    counts.restarts++;
  }
}

function sampleOf(minute: number, counts: Pick<Sample, "leases" | "refused" | "restarts">): Sample {
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed, rss } = process.memoryUsage();
  const active = process.getActiveResourcesInfo();
  const count = (kind: string): number => active.filter((each) => each === kind).length;
  const listeners = process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0);
  return {
    minute,
    heapMb: heapUsed / 1_048_576,
    rssMb: rss / 1_048_576,
    sockets: count("TCPSocketWrap") + count("TCPConnectWrap"),
    timers: count("Timeout"),
    listeners,
    ...counts,
  };
}

function rowOf({ heapMb, rssMb, ...rest }: Sample): string[] {
  const { minute, sockets, timers, listeners, leases, refused, restarts } = rest;
  return [
    minute,
    heapMb.toFixed(1),
    rssMb.toFixed(0),
    sockets,
    timers,
    listeners,
    leases,
    refused,
    restarts,
  ].map(String);
}

/**
 * The last quarter against the second, the least of each: what grows goes on growing, what warms up does not, and what a node that is just
 * down makes everybody remember for a moment is no growth.
 */
function judge(samples: readonly Sample[]): void {
  if (samples.length < 8) return console.log("too short to judge: at least 8 minutes");
  const quarter = Math.floor(samples.length / 4);
  for (const [name, pick, slack] of [
    ["heap MB", (sample: Sample) => sample.heapMb, 1.1],
    ["sockets", (sample: Sample) => sample.sockets, 1.1],
    ["timers", (sample: Sample) => sample.timers, 1.2],
    ["process listeners", (sample: Sample) => sample.listeners, 1],
  ] as const) {
    const least = (some: readonly Sample[]): number => Math.min(...some.map(pick));
    const [early, late] = [least(samples.slice(quarter, 2 * quarter)), least(samples.slice(-quarter))];
    const isFlat = late <= early * slack + 1;
    console.log(
      `${name}: at least ${early.toFixed(1)} in the second quarter, ${late.toFixed(1)} in the last: ${isFlat ? "flat" : "GROWS"}`,
    );
    if (!isFlat) process.exitCode = 1;
  }
}

function number(option: "minutes" | "clients" | "restart"): number {
  const value = Number(values[option]);
  if (!(value > 0)) usage(`--${option} must be a number above 0, got ${JSON.stringify(values[option])}`);
  return value;
}
