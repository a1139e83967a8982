/**
 * Who has just released a key that others were waiting for lets them go first: without it, a process that releases and acquires in
 * a loop is always there before a notice has travelled, and those who wait starve. A courtesy of this library's clients, no rule.
 */
import type { Clock, Instant } from "../clock/clock.ts";

/** So many times as long as the release took: a notice on its way, and the attempt it sets off. */
const RELEASES = 3;
const MS_MIN = 1;
const MS_MAX = 50;
/** More keys at once are not contended but churned. */
const KEYS_MAX = 10_000;

export class Courtesy {
  readonly #clock: Clock;
  readonly #until = new Map<string, Instant>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Somebody was told of a release that took `tookMs`. */
  owe(keys: readonly string[], tookMs: number): void {
    if (this.#until.size >= KEYS_MAX) this.#until.clear();
    const until = this.#clock.glance() + MS_MIN + Math.min(RELEASES * tookMs, MS_MAX);
    for (const key of keys) this.#until.set(key, until);
  }

  /** How long to hold back with these keys; 0 where nobody is owed anything. */
  take(keys: readonly string[]): number {
    if (this.#until.size === 0) return 0;
    let until = -Infinity;
    for (const key of keys) {
      until = Math.max(until, this.#until.get(key) ?? -Infinity);
      this.#until.delete(key);
    }
    return Math.max(0, until - this.#clock.glance());
  }
}
