/**
 * What a swarm run may be put through besides what every run is: each is a change of its plan, drawn by a stream of its own, so that a run
 * without them is the run that it was before they were thought of.
 */
import { quorumOf } from "../quorum/tally.ts";
import { type Fault, FENCES, MEMORY_LOSSES, type Plan, RIGHT_CLOCKS } from "./plan.ts";
import { CALM } from "./network.ts";
import type { Prng } from "./prng.ts";

type Change = (plan: Plan, prng: Prng) => Partial<Plan>;

const QUIET = { lossChance: 0, doublingChance: 0, delayMsMax: 0 } as const;

export const HARDSHIPS = [
  "strangers",
  "all kinds of work",
  "shards",
  "no window",
  "one node",
  "memory mode",
  "backups",
  "swapped databases",
  "evictions",
  "twins",
  "there and back",
  "slewed clients",
  "short fences",
  "pace",
  "one key",
] as const;

export type Hardship = (typeof HARDSHIPS)[number];

const CHANGES: Readonly<Record<Hardship, Change>> = {
  /** Others use the same servers with other guards, modes, windows and ttls, or only look. */
  strangers: (plan, prng) => ({
    // Where memory is lost, and only there, they could do harm.
    faults: withFaults(plan, prng, "a stranger comes", "flush all", "kill, back with nothing"),
  }),

  /** Locks in bodies, locks that go from process to process, and grants that wait for replicas. */
  "all kinds of work": (plan, prng) => ({
    hasAllWork: true,
    waitReplicas: prng.pick([0, 1]),
    faults: withFaults(plan, prng, "lose the replicas"),
  }),

  /** Two fleets, on which the keys are spread. */
  shards: ({ nodes }) => ({ shards: 2, nodes: Math.min(nodes, 3) }),

  "no window": () => ({ clockWindowMs: 0 }),

  "one node": (_, prng) => ({ mode: "single", nodes: 1, wrongClocks: [], clockWindowMs: prng.pick([0, 50]) }),

  /** One process and its own memory. Nobody sees its votes, and its end is the end of the locks. */
  "memory mode": ({ faults }) => ({
    mode: "memory",
    clients: 1,
    sectionsAtOnce: 4,
    wrongClocks: [],
    broken: [],
    faults: new Map([...faults].filter(([fault]) => fault !== "crash a client")),
    unchecked: ["S5", "S6", "S7", "S8", "S9", "S10", "L2", "L4"],
  }),

  /** What loses nothing, and looks as if it did. */
  backups: (plan, prng) => ({ faults: withFaults(plan, prng, "renew a replication id") }),

  "swapped databases": (plan, prng) => ({ faults: withFaults(plan, prng, "swap databases") }),

  evictions: (plan, prng) => ({
    faults: withFaults(plan, prng, "evict"),
    broken: [...plan.broken, "no lock is evicted"],
  }),

  /** The address of one node leads to another one for a while. */
  twins: (plan, prng) =>
    plan.nodes > 1 ? { faults: withFaults(plan, prng, "lead to a twin") } : { faults: plan.faults },

  /** A name leads to one server, to another one for long enough to be trusted, and back. Everybody sees it. */
  "there and back": ({ ttlMs }, prng) => ({
    mode: "single",
    nodes: 1,
    spares: 1,
    wrongClocks: [],
    broken: [],
    maxTtlMs: Array.from({ length: 5 }, () => ttlMs),
    isStrict: true,
    faults: new Map([["lead elsewhere", prng.pick([4_000, 8_000])]]),
    faultyMs: 40_000,
    // Of the other server nobody asks while the name leads to this one.
    unchecked: ["S5"],
  }),

  /** Clocks of clients run as much off as a time service slews them. */
  "slewed clients": () => ({ clockSpread: 0.084 }),

  /** All clocks of nodes step together, less far than fences are kept. */
  "short fences": (plan, prng) => ({
    fenceTtlMs: 2 * Math.max(...plan.maxTtlMs),
    faults: new Map([...withoutMemoryLoss(plan), ["step all clocks", prng.pick([1_000, 3_000])]]),
    wrongClocks: [],
    broken: [...plan.broken, "clocks of nodes do not step together"],
  }),

  /** Few faults, whose nodes are known, and a calm network: free keys must be had soon. */
  pace: (_, prng) => ({
    hasPace: true,
    nodes: prng.pick([3, 5]),
    ttlMs: prng.int(2_000, 3_000),
    maxTtlMs: Array.from({ length: 5 }, () => 3_000),
    clockWindowMs: 50,
    isStrict: true,
    isDeclared: true,
    notify: true,
    noticeWeather: QUIET,
    weather: { ...CALM, delayMsMax: 1 },
    wrongClocks: [],
    broken: [],
    faultyMs: 9_000,
    faults: new Map(prng.some(PACED, 0.5).map((fault) => [fault, prng.pick([500, 1_500, 4_000])] as const)),
  }),

  /** Who waits for several keys may keep others waiting. */
  "one key": () => ({ keys: ["red"] }),
};

const PACED = [
  "kill",
  "stop a server",
  "isolate a server",
  "isolate a majority",
  "renew a replication id",
  "script flush",
] as const;

export function isHardship(name: string): name is Hardship {
  return HARDSHIPS.some((each) => each === name);
}

/** The plan, put through each of them in turn. */
export function hardened(plan: Plan, hardships: readonly Hardship[], prng: Prng): Plan {
  return hardships.reduce<Plan>((before, name) => {
    const after = { ...before, ...CHANGES[name](before, prng.fork(name)) };
    return { ...after, wrongClocks: fewWrong(after), broken: brokenIn(after) };
  }, plan);
}

/** With the fences, where there is now what loses them. */
function brokenIn({ broken, faults }: Plan): readonly string[] {
  const losesFences = broken.includes(RIGHT_CLOCKS) && MEMORY_LOSSES.some((fault) => faults.has(fault));
  return losesFences ? [...broken, FENCES] : broken;
}

/** Servers that are there, and no more than a minority of them, unless the plan breaks that on purpose. */
function fewWrong({ nodes, wrongClocks, broken }: Plan): readonly number[] {
  const known = wrongClocks.filter((index) => index < nodes);
  return broken.length > 0 ? known : known.slice(0, nodes - quorumOf(nodes));
}

function withFaults({ faults }: Plan, prng: Prng, ...more: readonly Fault[]): Plan["faults"] {
  return new Map([
    ...faults,
    ...more.map((fault) => [fault, prng.pick([500, 1_000, 2_000, 4_000])] as const),
  ]);
}

function withoutMemoryLoss({ faults }: Plan): [Fault, number][] {
  return [...faults].filter(([fault]) => !MEMORY_LOSSES.includes(fault));
}
