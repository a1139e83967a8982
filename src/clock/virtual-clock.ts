/**
 * A clock that stands still until told to go on, and then goes from event to event: ten seconds of leases and timeouts pass in
 * microseconds, in the same order every time. For tests and simulations of the code that production runs.
 */
import type { Clock, Instant, Timer } from "./clock.ts";
import { TimerQueue } from "./timer-queue.ts";

export class VirtualClock implements Clock {
  readonly #queue = new TimerQueue();
  #now: Instant;

  constructor(start: Instant = 0) {
    this.#now = start;
  }

  now(): Instant {
    return this.#now;
  }

  glance(): Instant {
    return this.#now;
  }

  at(instant: Instant, run: () => void): Timer {
    return this.#queue.add(instant, run);
  }

  /** How many timers wait; zero after everything was closed. */
  get pending(): number {
    return this.#queue.size;
  }

  /** Lets `ms` pass, event by event; between events everything that promises have set off runs to its end. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settled();
    while (await this.step(end));
    this.#now = end;
  }

  /** Goes to the next event, if it comes before `end`, and runs it; false, and nothing changed, where there is none. */
  async step(end: Instant): Promise<boolean> {
    const next = this.#queue.next();
    if (next === undefined || next > end) return false;
    this.#now = Math.max(this.#now, next);
    this.#queue.takeDue(this.#now)?.();
    await settled();
    return true;
  }

  /** Time passes and nobody is told: an event loop that was blocked, or a process that was stopped. Timers run late, on `advance`. */
  skip(ms: number): void {
    this.#now += ms;
  }
}

/**
 * Node runs a tick only when no microtask is left, and then what that tick set off; two in a row let code that uses ticks itself
 * settle too. A turn of the event loop would do as well and take ten times as long.
 */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(() => process.nextTick(resolve)));
}
