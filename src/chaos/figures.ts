/** The figures of a run, counted from its history. */
import { type History, type HistoryEvent, type LeaseRecord, leasesOf } from "../history/history.ts";
import { recoveryOf } from "../sim/summary.ts";
import { overlapsOf } from "./overlaps.ts";
import type { Figures } from "./result.ts";

export function figuresOf(history: History): Figures {
  const count = (type: HistoryEvent["type"]) => history.filter((event) => event.type === type).length;
  const leases = leasesOf(history);
  const late = staleWrites(history, leases);
  return {
    acquires: count("acquiring"),
    leases: count("acquired"),
    extensions: count("extended"),
    losses: count("lost"),
    faults: faultsOf(history),
    overlapMs: overlapsOf(history).reduce((sum, { from, to }) => sum + to - from, 0),
    signalMarginMs: signalMarginMs(history),
    writes: count("write"),
    staleWrites: late.length,
    staleWritesRefused: late.filter(({ isStored }) => !isStored).length,
    lostUpdates: lostUpdates(history),
    acquireMs: distribution(acquireTimes(history)),
    unavailableMs: unavailableMs(history, leases),
    recoveryMs: recoveryOf(history),
  };
}

function faultsOf(history: History): Record<string, number> {
  const faults: Record<string, number> = {};
  for (const event of history)
    if (event.type === "fault") faults[event.fault] = (faults[event.fault] ?? 0) + 1;
  return faults;
}

/** A client that was stopped or blocked could not be told in time, nor one whose clock has jumped to the end. */
function signalMarginMs(history: History): number {
  const away = new Set<string>();
  let least = NaN;
  for (const event of history) {
    if (event.type === "condition" && (event.condition === "stopped" || event.condition === "blocked"))
      away.add(event.target);
    if (event.type === "shortened") away.add(event.client);
    if (event.type !== "lost" || event.cause !== "expired" || away.has(event.client)) continue;
    const marginMs = event.until - event.at;
    if (!(marginMs >= least)) least = marginMs;
  }
  return least;
}

type WriteEvent = HistoryEvent & { type: "write" };

/** Writes that came when somebody had been granted a larger fence. */
function staleWrites(history: History, leases: readonly LeaseRecord[]): WriteEvent[] {
  const writes = history.filter((event): event is WriteEvent => event.type === "write");
  return writes.filter(({ key, fence, at }) =>
    leases.some((lease) => lease.fence > fence && lease.acquiredAt < at && lease.keys.includes(key)),
  );
}

/** Two that counted from the same number have counted once. */
function lostUpdates(history: History): number {
  const read = new Set<string>();
  let lost = 0;
  for (const event of history) {
    if (event.type !== "counted") continue;
    const from = `${event.key} ${event.read}`;
    if (read.has(from)) lost++;
    read.add(from);
  }
  return lost;
}

function acquireTimes(history: History): number[] {
  const askedAt = new Map<string, number>();
  return history.flatMap((event) => {
    if (event.type === "acquiring" && !event.mustSucceed) askedAt.set(event.op, event.at);
    const began = event.type === "acquired" ? askedAt.get(event.op) : undefined;
    return began === undefined ? [] : [event.at - began];
  });
}

function distribution(times: readonly number[]): Figures["acquireMs"] {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** From the first who asks while nobody has it, or from its end where somebody asks then, to the next lease. */
function unavailableMs(history: History, leases: readonly LeaseRecord[]): number {
  const ends = new Map(leases.map(({ op, endedAt }) => [op, endedAt]));
  let [worst, heldUntil, askedAt] = [0, -Infinity, Infinity];
  for (const event of history) {
    if (event.type === "acquiring") askedAt = Math.min(askedAt, Math.max(event.at, heldUntil));
    if (event.type !== "acquired") continue;
    worst = Math.max(worst, event.at - Math.max(askedAt, heldUntil));
    heldUntil = Math.max(heldUntil, ends.get(event.op) ?? event.at);
    askedAt = Infinity;
  }
  return worst;
}
