/** What a timeline draws, computed from a history: spans of time and marks, before they become shapes. */
import { type Condition, type History, type HistoryEvent, leasesOf } from "../../history/history.ts";
import type { Span } from "../overlaps.ts";

export interface Hold extends Span {
  readonly op: string;
  readonly fence: number;
  /** The end of the validity as it was last known. */
  readonly validUntil: number;
}

export interface Wait extends Span {
  readonly op: string;
  /** Undefined where it ended with a lease. */
  readonly refusedWith: string | undefined;
}

export interface ConditionSpan extends Span {
  readonly condition: Condition;
}

type Of<T extends HistoryEvent["type"]> = HistoryEvent & { type: T };

export function eventsOf<T extends HistoryEvent["type"]>(history: History, type: T): Of<T>[] {
  return history.filter((event): event is Of<T> => event.type === type);
}

export function holdsOf(history: History, client: string): Hold[] {
  const validUntil = new Map<string, number>();
  for (const event of history) {
    if ("until" in event) validUntil.set(event.op, event.until);
    // What was given back is valid no longer.
    if (event.type === "releasing") validUntil.set(event.op, event.at);
  }
  return leasesOf(history)
    .filter((lease) => lease.client === client)
    .map(({ op, fence, acquiredAt, endedAt }) => ({
      op,
      fence,
      from: acquiredAt,
      to: endedAt,
      validUntil: validUntil.get(op) ?? endedAt,
    }));
}

export function waitsOf(history: History, client: string, end: number): Wait[] {
  const open = new Map<string, number>();
  const waits: Wait[] = [];
  for (const event of history) {
    if (!("client" in event) || event.client !== client) continue;
    if (event.type === "acquiring") open.set(event.op, event.at);
    if (event.type !== "acquired" && event.type !== "not-acquired") continue;
    const from = open.get(event.op);
    open.delete(event.op);
    if (from === undefined) continue;
    const refusedWith = event.type === "acquired" ? undefined : event.code;
    waits.push({ op: event.op, from, to: event.at, refusedWith });
  }
  for (const [op, from] of open) waits.push({ op, from, to: end, refusedWith: "never answered" });
  return waits;
}

export function conditionsOf(history: History, target: string, end: number): ConditionSpan[] {
  const since = new Map<Condition, number>();
  const spans: ConditionSpan[] = [];
  for (const event of eventsOf(history, "condition")) {
    if (event.target !== target) continue;
    const from = since.get(event.condition);
    if (event.isOn && from === undefined) since.set(event.condition, event.at);
    if (event.isOn || from === undefined) continue;
    spans.push({ condition: event.condition, from, to: event.at });
    since.delete(event.condition);
  }
  for (const [condition, from] of since) spans.push({ condition, from, to: end });
  return spans;
}

/** Spans so short or so close that they would be drawn on each other become one; for what is merely shown. */
export function merged<T extends Span>(spans: readonly T[], nearer: number): T[] {
  const result: T[] = [];
  for (const span of spans) {
    const last = result.at(-1);
    const isTiny = span.to - span.from < nearer;
    if (last !== undefined && isTiny && last.to - last.from < 8 * nearer && span.from - last.to < nearer)
      result[result.length - 1] = { ...last, to: span.to };
    else result.push(span);
  }
  return result;
}
