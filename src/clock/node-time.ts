/**
 * What the client knows of the nodes' wall clocks, learnt from the time in every reply (rule C2). A reply bounds its node's
 * offset between the moment the question left and the moment the answer came; the narrowest interval is kept, and one that no
 * longer fits shows that a clock was stepped. The estimate for all is the median of the nodes, which a minority of wrong clocks
 * cannot move. Offsets are node time in µs minus client time in µs.
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

export class NodeTime {
  readonly #samples: (Interval | undefined)[];
  readonly #rate: RateWatch | undefined;
  #median: number | undefined;

  /** `rate`: hears of every reply, and may put the client's clock forward. */
  constructor(nodes: number, rate?: RateWatch) {
    this.#rate = rate;
    this.#samples = Array.from({ length: nodes }, () => undefined);
  }

  /** Node `index` said `nodeUs` at some moment between the two instants. */
  observe(index: number, nodeUs: number, askedAt: Instant, answeredAt: Instant): void {
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
