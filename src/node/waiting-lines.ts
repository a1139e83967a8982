/**
 * Who waits for a key on one node, and since when (rules Q1–Q4): hints, on which nothing rests. Whoever waits longest is told first of a
 * release, and whoever cannot hear it is passed over. A part of node-state.ts: the Lua does the same with a sorted set for every key.
 */
import type { Waiter } from "./lock-node.ts";

/** How long a line is remembered after the last one joined it; whoever waits longer asks again before that. */
export const LINE_TTL_MS = 10_000;
/** More do not fit into a line: they are on their own timers. */
export const LINE_LENGTH_MAX = 1_000;
/** So many who left without a word are passed over at one release. */
export const DEAD_WAITERS_MAX = 8;

/** Tells a waiter that a key was released; whether anybody heard it. */
export type Tell = (waiter: string, key: string) => boolean;

interface Line {
  /** By id: since when. */
  readonly waiters: Map<string, number>;
  expiresMs: number;
}

type Entry = readonly [id: string, sinceUs: number];

export class WaitingLines {
  readonly #lines = new Map<string, Line>();
  readonly #tell: Tell;

  constructor(tell: Tell) {
    this.#tell = tell;
  }

  get size(): number {
    return this.#lines.size;
  }

  copy(tell: Tell = this.#tell): WaitingLines {
    const copy = new WaitingLines(tell);
    for (const [key, { waiters, expiresMs }] of this.#lines)
      copy.#lines.set(key, { waiters: new Map(waiters), expiresMs });
    return copy;
  }

  /** Forgets the line of `key`, or all of them, where they have expired. */
  sweep(isOver: (expiresMs: number) => boolean, keys: Iterable<string> = this.#lines.keys()): void {
    for (const key of keys) {
      const line = this.#lines.get(key);
      if (line !== undefined && isOver(line.expiresMs)) this.#lines.delete(key);
    }
  }

  /** Q1: how many are ahead of it, or undefined where the line is full. */
  join(key: string, { id, sinceUs }: Waiter, expiresMs: number): number | undefined {
    const line = this.#lines.get(key) ?? { waiters: new Map<string, number>(), expiresMs };
    if (line.waiters.size >= LINE_LENGTH_MAX) return undefined;
    line.waiters.set(id, sinceUs);
    line.expiresMs = expiresMs;
    this.#lines.set(key, line);
    return [...line.waiters].filter((each) => isBefore(each, [id, sinceUs])).length;
  }

  /** Q2: false where it was not in line. */
  part(key: string, waiter: string): boolean {
    const waiters = this.#lines.get(key)?.waiters;
    const wasThere = waiters?.delete(waiter) === true;
    if (waiters?.size === 0) this.#lines.delete(key);
    return wasThere;
  }

  /** Q3: takes the longest waiting that hears it out of the line, and those before it that do not. False where nobody does. */
  wakeFirst(key: string): boolean {
    for (let tries = 0; tries < DEAD_WAITERS_MAX; tries++) {
      const first = firstOf(this.#lines.get(key)?.waiters ?? []);
      if (first === undefined) return false;
      this.part(key, first);
      if (this.#tell(first, key)) return true;
    }
    return false;
  }
}

function firstOf(waiters: Iterable<Entry>): string | undefined {
  let first: Entry | undefined;
  for (const each of waiters) if (first === undefined || isBefore(each, first)) first = each;
  return first?.[0];
}

/** As in a sorted set of Redis: by score, then by name. */
function isBefore([id, since]: Entry, [otherId, otherSince]: Entry): boolean {
  return since < otherSince || (since === otherSince && id < otherId);
}
