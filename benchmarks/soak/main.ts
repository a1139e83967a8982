/**
 * `npm run soak`: many clients for a long time, on keys that come and go, while one node after the other is killed and comes back empty: does
 * anything grow? Heap, sockets, timers and listeners are counted every five seconds, after a full collection; the most of each minute counts.
 *
 *   --minutes 60     --clients 200     --restart 20s (seconds between two restarts)     --json FILE
 */
import { EventEmitter } from "node:events";
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
  /** Of the process and of all its sockets. */
  readonly listeners: number;
  readonly leases: number;
  readonly refused: number;
  readonly restarts: number;
}

type Counts = Pick<Sample, "leases" | "refused" | "restarts">;

const SAMPLE_MS = 5_000;
const TTL_MS = 2_000;
const KEYS = 400;
const HEAD = [
  "minute",
  "heap MB",
  "rss MB",
  "sockets",
  "timers",
  "listeners",
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
  for (let minute = 1; minute <= Math.ceil(minutes); minute++) {
    const sample = await mostUntil(Math.min(end, end - 60_000 * (minutes - minute)), minute, counts);
    samples.push(sample);
    console.log(rowOf(sample).join("\t"));
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

async function mostUntil(end: number, minute: number, counts: Counts): Promise<Sample> {
  let most = sampleOf(minute, counts);
  for (let leftMs = end - performance.now(); leftMs > 0; leftMs = end - performance.now()) {
    await new Promise((resolve) => setTimeout(resolve, Math.min(leftMs, SAMPLE_MS)));
    const next = sampleOf(minute, counts);
    most = {
      ...next,
      heapMb: Math.max(most.heapMb, next.heapMb),
      rssMb: Math.max(most.rssMb, next.rssMb),
      sockets: Math.max(most.sockets, next.sockets),
      timers: Math.max(most.timers, next.timers),
      listeners: Math.max(most.listeners, next.listeners),
    };
  }
  return most;
}

function sampleOf(minute: number, counts: Counts): Sample {
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed, rss } = process.memoryUsage();
  const active = process.getActiveResourcesInfo();
  const count = (kind: string): number => active.filter((each) => each === kind).length;
  return {
    minute,
    heapMb: heapUsed / 1_048_576,
    rssMb: rss / 1_048_576,
    sockets: count("TCPSocketWrap") + count("TCPConnectWrap"),
    timers: count("Timeout"),
    listeners: [process, ...handles()].reduce((sum, each) => sum + listenersOf(each), 0),
    ...counts,
  };
}

/** Sockets above all. Not documented, but there in every version this runs on; where it is gone, only the process is counted. */
function handles(): readonly EventEmitter[] {
  const { _getActiveHandles: active } = process as unknown as { _getActiveHandles?: () => unknown[] };
  return (active?.call(process) ?? []).filter((each) => each instanceof EventEmitter);
}

function listenersOf(emitter: EventEmitter): number {
  return emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0);
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
 * The last quarter against the second: what grows goes on growing, what warms up does not. The median of the minutes' maxima, since whether
 * a sample falls into the moment in which a node is just down is chance.
 */
function judge(samples: readonly Sample[]): void {
  if (samples.length < 8) return console.log("too short to judge: at least 8 minutes");
  const quarter = Math.floor(samples.length / 4);
  for (const [name, pick, slack] of [
    ["heap MB", (sample: Sample) => sample.heapMb, 1.1],
    ["sockets", (sample: Sample) => sample.sockets, 1.05],
    ["timers", (sample: Sample) => sample.timers, 1.2],
    ["listeners", (sample: Sample) => sample.listeners, 1.05],
  ] as const) {
    const median = (some: readonly Sample[]): number =>
      some.map(pick).sort((a, b) => a - b)[some.length >> 1] ?? NaN;
    const [early, late] = [median(samples.slice(quarter, 2 * quarter)), median(samples.slice(-quarter))];
    const isFlat = late <= early * slack + 1;
    console.log(
      `${name}: ${early.toFixed(1)} in the second quarter, ${late.toFixed(1)} in the last: ${isFlat ? "flat" : "GROWS"}`,
    );
    if (!isFlat) process.exitCode = 1;
  }
}

function number(option: "minutes" | "clients" | "restart"): number {
  const value = Number(values[option]);
  if (!(value > 0)) usage(`--${option} must be a number above 0, got ${JSON.stringify(values[option])}`);
  return value;
}
