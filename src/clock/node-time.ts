/**
 * What the client knows of the nodes' wall clocks, learnt from the time in every reply (rule C2). A reply bounds its node's
 * offset between the moment the question left and the moment the answer came; the narrowest interval is kept, and one that no
 * longer fits shows that a clock was stepped. The estimate for all is the median of the nodes, which a minority of wrong clocks
 * cannot move. Offsets are node time in µs minus client time in µs. The same replies say how long a round trip takes.
 */
import type { Instant } from "./clock.ts";
import type { Forward, RateWatch } from "./rate-watch.ts";

interface Interval {
  readonly low: number;
  readonly high: number;
  readonly at: Instant;
}

/** Two clocks may drift apart this much while a sample ages: 200 ppm, twice what NTP lets a clock be off. */
const AGEING_US_PER_MS = 0.2;
/** Long enough for a check-up or two: every turn then has an answer of a node that is well. */
const ROUND_TRIPS_TURN_MS = 10_000;

export class NodeTime {
  readonly #samples: (Interval | undefined)[];
  readonly #rate: RateWatch | undefined;
  readonly #roundTrips: readonly RoundTrips[];
  #median: number | undefined;

  /** `rate`: hears of every reply, and may put the client's clock forward. */
  constructor(nodes: number, rate?: RateWatch) {
    this.#rate = rate;
    this.#samples = Array.from({ length: nodes }, () => undefined);
    this.#roundTrips = Array.from({ length: nodes }, () => new RoundTrips());
  }

  /** Node `index` said `nodeUs` at some moment between the two instants. */
  observe(index: number, nodeUs: number, askedAt: Instant, answeredAt: Instant): void {
    this.#roundTrips[index]?.took(answeredAt - askedAt, answeredAt);
    const forward = this.#rate?.observe(index, nodeUs, askedAt, answeredAt);
    this.#sample(index, nodeUs, askedAt, answeredAt);
    if (forward !== undefined) this.#putBack(forward, answeredAt);
  }

  #sample(index: number, nodeUs: number, askedAt: Instant, answeredAt: Instant): void {
    const fresh = { low: nodeUs - answeredAt * 1_000, high: nodeUs - askedAt * 1_000, at: answeredAt };
    if (!isBetter(fresh, this.#samples[index])) return;
    this.#samples[index] = fresh;
    this.#median = medianOf(this.offsetsUs());
  }

  /** The nodes' time now, or undefined before the first reply. */
  estimateUs(now: Instant): number | undefined {
    return this.#median === undefined ? undefined : Math.round(now * 1_000 + this.#median);
  }

  /**
   * The quickest round trip to node `index` of about the last 20 s in which it answered; undefined before its first reply. Not the mean:
   * the late answers of a node that hung for a while say nothing of how long it takes.
   */
  roundTripMs(index: number): number | undefined {
    return this.#roundTrips[index]?.quickestMs();
  }

  /** Node `index`'s clock now. */
  nodeUs(index: number, now: Instant): number | undefined {
    const sample = this.#samples[index];
    return sample && now * 1_000 + middle(sample);
  }

  /** How far node `index` is from the median, in ms. */
  skewMs(index: number): number | undefined {
    const sample = this.#samples[index];
    return sample && this.#median !== undefined ? (middle(sample) - this.#median) / 1_000 : undefined;
  }

  /** How many nodes' clocks, itself included, are within `windowMs` of node `index`. */
  agreeing(index: number, windowMs: number): number {
    const sample = this.#samples[index];
    if (sample === undefined) return 0;
    return this.offsetsUs().filter((offset) => Math.abs(offset - middle(sample)) <= windowMs * 1_000).length;
  }

  /** The client's clock was put forward, so that offsets are smaller: of a sample as old as the baseline that was so already. */
  #putBack({ lostMs, baselineMs }: Forward, now: Instant): void {
    this.#samples.forEach((sample, index) => {
      if (sample === undefined) return;
      const us = 1_000 * lostMs * Math.max(0, 1 - (now - sample.at) / baselineMs);
      this.#samples[index] = { low: sample.low - us, high: sample.high - us, at: sample.at + lostMs };
    });
    this.#median = medianOf(this.offsetsUs());
  }

  offsetsUs(): number[] {
    return this.#samples.filter((sample) => sample !== undefined).map(middle);
  }
}

/** The quickest of a node's round trips, of now and of not long ago: two minima that take turns forget without a list of all. */
class RoundTrips {
  #nowMs = Infinity;
  #earlierMs = Infinity;
  #turnAt: Instant = -Infinity;

  took(ms: number, at: Instant): void {
    if (at - this.#turnAt > ROUND_TRIPS_TURN_MS) {
      this.#turnAt = at;
      this.#earlierMs = this.#nowMs;
      this.#nowMs = ms;
    } else if (ms < this.#nowMs) this.#nowMs = ms;
  }

  quickestMs(): number | undefined {
    const ms = Math.min(this.#nowMs, this.#earlierMs);
    return ms === Infinity ? undefined : ms;
  }
}

function isBetter(fresh: Interval, old: Interval | undefined): boolean {
  if (old === undefined) return true;
  const age = (fresh.at - old.at) * AGEING_US_PER_MS;
  const low = old.low - age;
  const high = old.high + age;
  const wasStepped = fresh.low > high || fresh.high < low;
  return wasStepped || fresh.high - fresh.low <= high - low;
}

function middle(interval: Interval): number {
  return (interval.low + interval.high) / 2;
}

/** Of two middle values the mean. */
export function medianOf(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  return upper === undefined || lower === undefined ? undefined : (lower + upper) / 2;
}
