/**
 * Keeps a lease alive (rule L3): an extension when a third of the ttl has gone, and after one that brought no answer another,
 * soon, until the validity ends. Decides when; what an extension is, and what its failure means, is the lease's affair.
 */
import type { Clock, Instant, Timer } from "../clock/clock.ts";

export interface Kept {
  readonly extendedAt: Instant;
  readonly ttlMs: number;
  readonly validUntil: Instant;
}

/** A retry comes after this part of the remaining validity: often enough for several, seldom enough for a struggling node. */
const RETRY_FRACTION = 1 / 8;
const RETRY_MS_MIN = 10;

export class Keeper {
  readonly #clock: Clock;
  readonly #kept: Kept;
  /** Resolves to false when the lease is over; never rejects. */
  readonly #extend: () => Promise<boolean>;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(clock: Clock, kept: Kept, extend: () => Promise<boolean>) {
    this.#clock = clock;
    this.#kept = kept;
    this.#extend = extend;
    this.#scheduleNext();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #scheduleNext(): void {
    const { extendedAt, ttlMs } = this.#kept;
    this.#schedule(beat(extendedAt + ttlMs / 3, ttlMs));
  }

  #schedule(at: Instant): void {
    if (!this.#stopped) this.#timer = this.#clock.at(at, () => void this.#keep());
  }

  async #keep(): Promise<void> {
    const before = this.#kept.extendedAt;
    if (!(await this.#extend())) return this.stop();
    const { extendedAt, validUntil } = this.#kept;
    if (extendedAt > before) return this.#scheduleNext();
    const now = this.#clock.now();
    this.#schedule(now + Math.max(RETRY_MS_MIN, (validUntil - now) * RETRY_FRACTION));
  }
}

/** Leases of one process are extended in step, up to so much earlier than they need be, so that many travel in one call. */
const BEAT_MS_MAX = 50;

/** The last beat before `at`; early, never late. */
function beat(at: Instant, ttlMs: number): Instant {
  const beatMs = Math.min(BEAT_MS_MAX, ttlMs / 200);
  return Math.floor(at / beatMs) * beatMs;
}
