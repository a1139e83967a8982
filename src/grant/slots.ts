/**
 * How many attempts may be under way at once: back-pressure. An attempt's time is read before it is sent, and nodes refuse what is older
 * than W; so a burst must wait before it is asked, not in front of the nodes, or all of it comes too late, is tried again, and comes too
 * late again (found with 20,000 acquires in one turn: 22 s, and many failed; with slots less than one). First come, first served.
 */
import { type Clock, Latch } from "../clock/clock.ts";

/** More than is needed to keep five nodes busy, and so few that all of them together are answered in some 30 ms by slow ones. */
const SLOTS = 1_024;

interface Waiter {
  readonly latch: Latch;
  isServed: boolean;
}

export class Slots {
  readonly #clock: Clock;
  readonly #size: number;
  readonly #waiters = new Set<Waiter>();
  #taken = 0;

  constructor(clock: Clock, size: number = SLOTS) {
    this.#clock = clock;
    this.#size = size;
  }

  get isFree(): boolean {
    return this.#taken < this.#size;
  }

  /** One more, even where there is none: for what must not wait, and makes the others wait longer. */
  take(): void {
    this.#taken++;
  }

  give(): void {
    this.#taken--;
    if (!this.isFree) return;
    const [next] = this.#waiters;
    if (next === undefined) return;
    this.#waiters.delete(next);
    this.#taken++;
    next.isServed = true;
    next.latch.settle();
  }

  /** Takes the next free one; false where none came free for so long. */
  async wait(withinMs: number): Promise<boolean> {
    const waiter: Waiter = { latch: new Latch(this.#clock, withinMs), isServed: false };
    this.#waiters.add(waiter);
    await waiter.latch.settled;
    this.#waiters.delete(waiter);
    return waiter.isServed;
  }
}
