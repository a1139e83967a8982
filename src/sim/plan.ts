/**
 * What one seed means: how large the cluster is, what its clients do, and which faults hit it how often. Swarm testing: each run has
 * only some kinds of faults, since all at once hide each other.
 */
import { DRIFT_FACTOR, leadMs, quarantineMs, type ValidityRules, validityMs } from "../clock/validity.ts";
import type { LockerOptions } from "../options/options.ts";
import { quorumOf } from "../quorum/tally.ts";
import type { Property } from "../history/checkers.ts";
import type { HistoryEvent } from "../history/history.ts";
import type { Weather } from "./network.ts";
import type { Prng } from "./prng.ts";
import type { NoticeWeather } from "./server.ts";
import type { SimLockerOptions, Simulation } from "./simulation.ts";

const FAULTS = [
  "kill",
  "kill, back with everything",
  "kill, back with nothing",
  "kill, back with an old snapshot",
  "stop a server",
  "fail over",
  "fail over with loss",
  "flush",
  "script flush",
  "fill the memory",
  "refuse all writes",
  "cut both ways",
  "cut requests",
  "cut replies",
  "isolate a server",
  "isolate a majority",
  "disconnect",
  "disconnect a listener",
  "storm",
  "step a clock",
  "clock there and back",
  "clock rate",
  "stop a client",
  "stop a client in a call",
  "suspend a client",
  "hesitate",
  "step a client's wall clock",
  "crash a client",
] as const;

/** Of hardships only. */
const EXTRA_FAULTS = [
  "a stranger comes",
  "flush all",
  "lose the replicas",
  "renew a replication id",
  "swap databases",
  "evict",
  "lead to a twin",
  "lead elsewhere",
  "step all clocks",
] as const;

export type ExtraFault = (typeof EXTRA_FAULTS)[number];

export type Fault = (typeof FAULTS)[number] | ExtraFault;

export function isExtra(fault: Fault): fault is ExtraFault {
  return EXTRA_FAULTS.some((extra) => extra === fault);
}

/** What S1 and the properties of time rest on, in the words of docs/safety.md. */
export const RIGHT_CLOCKS = "clocks of a majority are right";
/** What S2, S3 and S4 rest on. */
export const FENCES = "fences of nodes do not go back";

export const MEMORY_LOSSES: readonly Fault[] = [
  "kill, back with nothing",
  "kill, back with an old snapshot",
  "fail over with loss",
  "flush",
  "flush all",
  "swap databases",
];

export interface Plan {
  readonly seed: string;
  readonly nodes: number;
  readonly clients: number;
  /** How many sections each client works on at once: they wait for each other in its own line. */
  readonly sectionsAtOnce: number;
  /** Whether waiters listen for notices, and what happens to those. */
  readonly notify: boolean;
  readonly noticeWeather: NoticeWeather;
  readonly keys: readonly string[];
  readonly ttlMs: number;
  /** By client: the largest ttl it may ask for; the same for all, unless that assumption is broken. */
  readonly maxTtlMs: readonly number[];
  readonly clockWindowMs: number;
  readonly isStrict: boolean;
  /** The first client declares the fleet new; otherwise all wait for the first quarantine. */
  readonly isDeclared: boolean;
  readonly weather: Weather;
  readonly faults: ReadonlyMap<Fault, number>;
  /** The servers whose clocks may be wrong by more than the window. */
  readonly wrongClocks: readonly number[];
  readonly faultyMs: number;
  /** Of the assumptions behind S1, those this run breaks on purpose. */
  readonly broken: readonly string[];
  readonly mode: LockerOptions["mode"];
  /** How many fleets there are, of `nodes` servers each. */
  readonly shards: number;
  /** Servers that nobody knows at first. */
  readonly spares: number;
  /** Undefined for the library's default. */
  readonly fenceTtlMs: number | undefined;
  readonly waitReplicas: number;
  /** Clocks of clients run at most so much faster or slower than they should. */
  readonly clockSpread: number;
  /** Whether locks are taken in bodies and handed to other processes, too. */
  readonly hasAllWork: boolean;
  /** Whether L2 and L4 are to be checked. */
  readonly hasPace: boolean;
  /** What cannot be seen in this run. */
  readonly unchecked: readonly Property[];
}

/** Every so many runs break an assumption on purpose; S2–S4 must hold still. */
const BROKEN_CLOCKS_CHANCE = 0.08;
const NOTIFY_CHANCE = 0.85;
const TRUST_CHANCE = 0.06;
const DIFFERENT_MAX_TTL_CHANCE = 0.08;

export function drawPlan(seed: string, prng: Prng): Plan {
  const nodes = prng.pick([3, 3, 3, 5, 5, 5, 4, 1, 2]);
  const clients = prng.int(2, 5);
  const faulty = nodes - quorumOf(nodes);
  const hasBrokenClocks = prng.chance(BROKEN_CLOCKS_CHANCE);
  const wrong = hasBrokenClocks ? nodes : prng.int(0, faulty);
  const isStrict = !prng.chance(TRUST_CHANCE);
  const { ttlMs, clockWindowMs } = drawTimes(prng);
  const order = shuffled(
    Array.from({ length: nodes }, (_, index) => index),
    prng,
  );
  const faults = drawFaults(prng);
  const maxTtlMs = drawMaxTtls(clients, ttlMs, prng);
  return {
    seed,
    nodes,
    clients,
    sectionsAtOnce: prng.pick([1, 1, 2, 4]),
    notify: prng.chance(NOTIFY_CHANCE),
    noticeWeather: drawNoticeWeather(prng, ttlMs),
    keys: ["red", "green", "blue"].slice(0, prng.int(1, 3)),
    ttlMs,
    maxTtlMs,
    clockWindowMs,
    isStrict,
    isDeclared: prng.chance(0.7),
    weather: drawWeather(prng, ttlMs, clockWindowMs),
    faults,
    wrongClocks: order.slice(0, wrong),
    faultyMs: prng.int(2_000, 9_000),
    broken: [
      ...(hasBrokenClocks ? [RIGHT_CLOCKS] : []),
      // A floor is above what was forgotten only if the clock has not gone back meanwhile.
      ...(hasBrokenClocks && MEMORY_LOSSES.some((fault) => faults.has(fault)) ? [FENCES] : []),
      ...(isStrict ? [] : ["restart guard is strict"]),
      // A node that lost its memory is silent for the largest ttl that those who admit it know of.
      ...(new Set(maxTtlMs).size > 1 ? ["all clients have one maxTtlMs"] : []),
      // A lock that expired while the clock was ahead is missing when it is right again: the documented hole.
      ...(faults.has("clock there and back") && wrong > 0 ? ["no clock goes there and back"] : []),
    ],
    ...PLAIN,
  };
}

/** A run without hardships. */
const PLAIN = {
  mode: "quorum",
  shards: 1,
  spares: 0,
  fenceTtlMs: undefined,
  waitReplicas: 0,
  clockSpread: 0.003,
  hasAllWork: false,
  hasPace: false,
  unchecked: [],
} as const;

/** What the lockers of a run go by: the library's defaults, and the run's window. */
function rulesOf(clockWindowMs: number): ValidityRules {
  return { driftFactor: DRIFT_FACTOR, clockWindowMs };
}

/** N2: how long the least patient client keeps a node out that lost its memory. */
export function silenceMs({ isStrict, maxTtlMs, clockWindowMs }: Plan): number {
  return isStrict ? quarantineMs(Math.min(...maxTtlMs), rulesOf(clockWindowMs)) : 0;
}

/** By name, the servers of each shard. */
export function shardsOf({ nodes, shards }: Plan): [string, string[]][] {
  return Array.from({ length: shards }, (_, shard) => [
    `s${shard + 1}`,
    Array.from({ length: nodes }, (_each, index) => `n${shard * nodes + index + 1}`),
  ]);
}

/** Which servers its clients know, as lockers are told of it. */
export function placesOf(plan: Plan): Pick<SimLockerOptions, "knows" | "shards"> {
  const shards = shardsOf(plan);
  return plan.shards > 1 ? { shards: Object.fromEntries(shards) } : { knows: shards[0]?.[1] };
}

/** What all its clients run with. */
export function optionsOf(plan: Plan): SimLockerOptions {
  const { ttlMs, notify, mode, fenceTtlMs, clockWindowMs, isStrict, waitReplicas } = plan;
  const common = { mode, ttlMs, notify, fenceTtlMs };
  if (mode === "memory") return common;
  const restartGuard = isStrict ? "strict" : "trust";
  return { ...common, clockWindowMs, restartGuard, waitReplicas, ...placesOf(plan) };
}

/** L2 and L4 of a run with few faults: most of a node timeout would be too long, and so would be more than the way back of a node. */
export function paceOf(plan: Plan, { clock, servers }: Simulation): HistoryEvent {
  const { ttlMs, clockWindowMs, nodes, maxTtlMs } = plan;
  return {
    at: clock.now(),
    type: "pace",
    nodes: servers.map(({ name }) => name),
    quorum: quorumOf(nodes),
    promptMs: 0.8 * Math.max(20, ttlMs / 20),
    returnMs: RECONNECT_MS_MAX + CHECKUP_MS + RETRY_MS_MAX + 3 * clockWindowMs,
    lockMs: Math.max(...maxTtlMs) + RETRY_MS_MAX,
  };
}

/** Connections that broke are dialled again after so long at the most, nodes in quarantine are met as often, and attempts made again. */
const RECONNECT_MS_MAX = 1_000;
const CHECKUP_MS = 250;
const RETRY_MS_MAX = 750;

/** How long any client may have to wait once all is healed: connections, quarantines, locks of the dead, and the others' turns. */
export function recoveryMs({ maxTtlMs, clockWindowMs, clients }: Plan): number {
  const longest = Math.max(...maxTtlMs);
  return (
    6_000 +
    2 * quarantineMs(longest, rulesOf(clockWindowMs)) +
    longest +
    leadMs(clockWindowMs) +
    clients * 1_000
  );
}

function drawTimes(prng: Prng): { ttlMs: number; clockWindowMs: number } {
  for (;;) {
    const ttlMs = prng.int(500, 3_000);
    const clockWindowMs = prng.pick([100, 100, 50, 20]);
    const validity = validityMs(ttlMs, rulesOf(clockWindowMs));
    if (validity >= 0.55 * ttlMs) return { ttlMs, clockWindowMs };
  }
}

function drawMaxTtls(clients: number, ttlMs: number, prng: Prng): number[] {
  const one = Math.round(ttlMs * prng.pick([1, 1, 1.5, 2]));
  const differ = prng.chance(DIFFERENT_MAX_TTL_CHANCE);
  return Array.from({ length: clients }, () => (differ ? Math.round(ttlMs * prng.pick([1, 1.5, 2])) : one));
}

function drawWeather(prng: Prng, ttlMs: number, clockWindowMs: number): Weather {
  const delayMsMin = prng.pick([0.05, 0.2, 1, 5]);
  // What takes longer than the window to arrive is refused for its time, as it should be: that is a storm, not weather.
  const delayMsMax = Math.min(delayMsMin * prng.pick([1.5, 5, 20]), clockWindowMs / 2);
  const stormChance = prng.pick([0, 0, 0.001, 0.01, 0.05]);
  return { delayMsMin, delayMsMax, stormChance, stormMs: prng.pick([0.1, 0.5, 2]) * ttlMs };
}

function drawNoticeWeather(prng: Prng, ttlMs: number): NoticeWeather {
  return {
    lossChance: prng.pick([0, 0, 0.05, 0.5, 1]),
    doublingChance: prng.pick([0, 0, 0.3]),
    delayMsMax: prng.pick([0, 0, 10, ttlMs]),
  };
}

/** Mean ms between two faults of a kind. */
function drawFaults(prng: Prng): Map<Fault, number> {
  const density = prng.pick([0, 0.15, 0.3, 0.3, 0.6]);
  return new Map(prng.some(FAULTS, density).map((fault) => [fault, prng.pick([500, 2_000, 5_000, 10_000])]));
}

function shuffled(values: readonly number[], prng: Prng): number[] {
  return values
    .map((value) => ({ value, rank: prng.next() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ value }) => value);
}
