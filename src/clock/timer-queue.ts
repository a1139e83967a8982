/**
 * The timers of one clock in a binary heap: any number of leases and rounds, one entry each, removed for good when cancelled
 * (a lease of ten seconds that lives one millisecond must not leave ten seconds of garbage). Knows order, not time.
 */
import type { Instant, Timer } from "./clock.ts";

/** One object a timer: there are three for every lock that is taken and given back. */
class Entry implements Timer {
  readonly instant: Instant;
  /** Entries of one instant run in the order they were added. */
  readonly sequence: number;
  readonly run: () => void;
  /** Position in the heap, -1 once removed. */
  place: number;
  readonly #queue: TimerQueue;

  constructor(queue: TimerQueue, instant: Instant, sequence: number, run: () => void, place: number) {
    this.#queue = queue;
    this.instant = instant;
    this.sequence = sequence;
    this.run = run;
    this.place = place;
  }

  cancel(): void {
    this.#queue.cancel(this);
  }
}

export class TimerQueue {
  readonly #heap: Entry[] = [];
  readonly #emptied: () => void;
  #sequence = 0;

  /** `emptied`: called when the last one was cancelled. */
  constructor(emptied: () => void = () => {}) {
    this.#emptied = emptied;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** The earliest instant anyone waits for. */
  next(): Instant | undefined {
    return this.#heap[0]?.instant;
  }

  add(instant: Instant, run: () => void): Timer {
    const entry = new Entry(this, instant, this.#sequence++, run, this.#heap.length);
    this.#heap.push(entry);
    this.#rise(entry);
    return entry;
  }

  /** @internal See `Entry`. */
  cancel(entry: Entry): void {
    if (entry.place < 0) return;
    this.#remove(entry);
    if (this.#heap.length === 0) this.#emptied();
  }

  /** Takes the earliest entry out if its instant has come. */
  takeDue(now: Instant): (() => void) | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.instant > now) return undefined;
    this.#remove(first);
    return first.run;
  }

  clear(): void {
    for (const entry of this.#heap) entry.place = -1;
    this.#heap.length = 0;
  }

  #remove(entry: Entry): void {
    const hole = entry.place;
    if (hole < 0) return;
    entry.place = -1;
    const last = this.#heap.pop();
    if (last === undefined || last === entry) return;
    this.#put(last, hole);
    this.#rise(last);
    this.#sink(last);
  }

  #rise(entry: Entry): void {
    while (entry.place > 0) {
      const parentPlace = (entry.place - 1) >> 1;
      const parent = this.#heap[parentPlace];
      if (parent === undefined || !isBefore(entry, parent)) return;
      this.#put(parent, entry.place);
      this.#put(entry, parentPlace);
    }
  }

  #sink(entry: Entry): void {
    for (;;) {
      const child = this.#earlierChild(entry.place);
      if (child === undefined || !isBefore(child, entry)) return;
      const childPlace = child.place;
      this.#put(child, entry.place);
      this.#put(entry, childPlace);
    }
  }

  #earlierChild(place: number): Entry | undefined {
    const left = this.#heap[2 * place + 1];
    const right = this.#heap[2 * place + 2];
    return left !== undefined && right !== undefined && isBefore(right, left) ? right : left;
  }

  #put(entry: Entry, place: number): void {
    this.#heap[place] = entry;
    entry.place = place;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.instant < b.instant || (a.instant === b.instant && a.sequence < b.sequence);
}
