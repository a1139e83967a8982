/**
 * No busy loop, whatever the nodes answer: so many attempts on a key may fail in quick succession, and after that they come one by one.
 * Kept by key for all calls of a locker, since calls that take turns in one line would otherwise each begin anew. A lock that was granted
 * ends it: then there is progress, and contenders are as quick as their round trips.
 */
import type { Clock, Instant } from "../clock/clock.ts";

/** More than contenders need to get out of each other's way. */
const BURST = 16;
/** Between two attempts after that: 50 a second. */
const GAP_MS = 20;
/** More keys at once are not waited for but churned. */
const KEYS_MAX = 10_000;

interface Failures<D> {
  /** When they are forgotten, each one `GAP_MS` after the one before. */
  readonly forgottenAt: Instant;
  readonly last: D;
}

/** `D`: what an attempt that failed came to. */
export class Pace<D> {
  readonly #clock: Clock;
  /** In the order of their last failure. */
  readonly #failures = new Map<string, Failures<D>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** An attempt on these keys has failed. */
  failed(keys: readonly string[], last: D): void {
    const now = this.#clock.glance();
    this.#forget(now);
    for (const key of keys) {
      const before = Math.max(this.#failures.get(key)?.forgottenAt ?? 0, now);
      // Calls that make a single attempt are not held back, and must not hold back others for longer than one gap.
      const forgottenAt = Math.min(before, now + BURST * GAP_MS) + GAP_MS;
      this.#failures.delete(key);
      this.#failures.set(key, { forgottenAt, last });
    }
  }

  /** A lock on these keys was granted. */
  succeeded(keys: readonly string[]): void {
    if (this.#failures.size > 0) for (const key of keys) this.#failures.delete(key);
  }

  /** How long to hold back an attempt on these keys that is not the first one of its call. */
  delayMs(keys: readonly string[]): number {
    if (this.#failures.size === 0) return 0;
    const forgottenAt = Math.max(...keys.map((key) => this.#failures.get(key)?.forgottenAt ?? 0));
    return Math.max(0, forgottenAt - BURST * GAP_MS - this.#clock.glance());
  }

  /** What the last attempt came to, where the next one has to be held back: whoever comes next begins with that. */
  last(keys: readonly string[]): D | undefined {
    const slow = keys.find((key) => this.delayMs([key]) > 0);
    return slow === undefined ? undefined : this.#failures.get(slow)?.last;
  }

  #forget(now: Instant): void {
    if (this.#failures.size >= KEYS_MAX) this.#failures.clear();
    for (const [key, { forgottenAt }] of this.#failures) {
      if (forgottenAt > now) return;
      this.#failures.delete(key);
    }
  }
}
