/** What many runs of the swarm came to, added up; made in several threads and merged, so it is plain data. */
import type { Violation } from "../history/checkers.ts";
import type { HistoryEvent } from "../history/history.ts";
import type { Run } from "./swarm.ts";

interface Failure {
  readonly seed: string;
  readonly violations: readonly Violation[];
}

export interface Summary {
  runs: number;
  /** Runs that break an assumption on purpose. */
  brokenRuns: number;
  virtualMs: number;
  events: number;
  acquires: number;
  leases: number;
  extensions: number;
  votes: number;
  losses: number;
  storedWrites: number;
  /** Writes the resource refused for their fence. */
  refusedWrites: number;
  /** The longest time from healing to a client's lease, ms. */
  slowestRecoveryMs: number;
  faults: Record<string, number>;
  failures: Failure[];
}

/** The fields that are added up. */
const SUMS = [
  "runs",
  "brokenRuns",
  "virtualMs",
  "events",
  "acquires",
  "leases",
  "extensions",
  "votes",
  "losses",
  "storedWrites",
  "refusedWrites",
] as const;

export function emptySummary(): Summary {
  const numbers = Object.fromEntries(SUMS.map((field) => [field, 0])) as Record<
    (typeof SUMS)[number],
    number
  >;
  return { ...numbers, slowestRecoveryMs: 0, faults: {}, failures: [] };
}

export function summaryOf({ plan, history, violations, virtualMs }: Run): Summary {
  const count = (matches: (event: HistoryEvent) => boolean) => history.filter(matches).length;
  const faults: Record<string, number> = {};
  for (const event of history) {
    if (event.type === "fault") faults[event.fault] = (faults[event.fault] ?? 0) + 1;
  }
  return {
    runs: 1,
    brokenRuns: plan.broken.length > 0 ? 1 : 0,
    virtualMs,
    events: history.length,
    acquires: count(({ type }) => type === "acquiring"),
    leases: count(({ type }) => type === "acquired"),
    extensions: count(({ type }) => type === "extended"),
    votes: count(({ type }) => type === "vote"),
    losses: count(({ type }) => type === "lost"),
    storedWrites: count((event) => event.type === "write" && event.isStored),
    refusedWrites: count((event) => event.type === "write" && !event.isStored),
    slowestRecoveryMs: recoveryOf(history),
    faults,
    failures: violations.length === 0 ? [] : [{ seed: plan.seed, violations }],
  };
}

export function added(a: Summary, b: Summary): Summary {
  const sum = { ...a, faults: { ...a.faults }, failures: [...a.failures, ...b.failures] };
  for (const field of SUMS) sum[field] += b[field];
  sum.slowestRecoveryMs = Math.max(a.slowestRecoveryMs, b.slowestRecoveryMs);
  for (const [fault, times] of Object.entries(b.faults)) sum.faults[fault] = (sum.faults[fault] ?? 0) + times;
  return sum;
}

/** From the healing to the last client's first lease after it. */
export function recoveryOf(history: readonly HistoryEvent[]): number {
  const healedAt = history.find(({ type }) => type === "healed")?.at ?? Infinity;
  const firsts = new Map<string, number>();
  for (const event of history) {
    if (event.type === "acquired" && event.at >= healedAt && !firsts.has(event.client))
      firsts.set(event.client, event.at - healedAt);
  }
  return Math.max(0, ...firsts.values());
}
