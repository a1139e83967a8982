/** When two leases of one key were valid at once: what a lock is there to prevent. */
import { type History, leasesOf } from "../history/history.ts";

export interface Span {
  readonly from: number;
  readonly to: number;
}

/** Pair by pair, in the order of their beginnings. */
export function overlapsOf(history: History): Span[] {
  const latest = new Map<string, number>();
  const overlaps: Span[] = [];
  for (const { keys, acquiredAt, endedAt } of leasesOf(history).sort((a, b) => a.acquiredAt - b.acquiredAt)) {
    for (const key of keys) {
      const end = latest.get(key) ?? -Infinity;
      if (end > acquiredAt) overlaps.push({ from: acquiredAt, to: Math.min(end, endedAt) });
      latest.set(key, Math.max(end, endedAt));
    }
  }
  return overlaps;
}
