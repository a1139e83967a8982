/**
 * Sees that the client's elapsed clock runs slower than the nodes' clocks (rule L6), and lets it run as fast. On Linux all clocks that a
 * program without native code can read are set right together: while chrony slews them by its default limit, a second lasts 1.09 s of true
 * time on each, and nothing inside the machine shows it. What does is the time that comes with the nodes' replies.
 *
 * A reply bounds its node's offset on both sides, so two of them bound the rate in between; only what is proven counts. As for the nodes'
 * time, a majority decides: so many nodes must have run faster, which a minority with wrong clocks cannot pretend. Where most of them are
 * wrong (stepped together, or a single node was), leases end early by a bounded factor, which is safe.
 */
import type { Instant } from "./clock.ts";

/** An elapsed clock that can be told to run faster than the machine's. */
export interface Paced {
  /** How many ms of its time pass in one ms of the machine's monotonic clock; at least 1. */
  readonly pace: number;
  /** From now on it has this pace; `lostMs` have passed besides, unseen. */
  follow(pace: number, lostMs: number): void;
}

/** Quartz and NTP's own corrections stay within a tenth of this, and the validity allows for it (`driftFactor`). */
const RATE_NOISE = 0.01;
/** A Linux kernel slews by 10 % at most, this client's clock one way and the nodes' the other way. */
const PACE_MAX = 1.25;
/** A baseline is long enough when what the network leaves open is less than this part of it, and it is never shorter … */
const UNCERTAINTY_MAX = 0.005;
const BASELINE_MS_MIN = 1_000;
/** … nor longer than replies allow once it is so long: what is proven then has to do. */
const BASELINE_MS_MAX = 10_000;
/** A rate that was measured so long ago says nothing of the present. */
const MEASURE_TTL_MS = 30_000;

/** A node's offset at one moment, in µs of node time minus client time: somewhere between the two. */
interface Offset {
  readonly low: number;
  readonly high: number;
  readonly at: Instant;
  /** The client's pace when it was taken: across a change of it nothing can be measured. */
  readonly pace: number;
}

/** How much faster than the client's clock a node's has run, as a fraction: surely at least `low`, surely at most `high`. */
interface Gain {
  readonly low: number;
  readonly high: number;
  readonly at: Instant;
  readonly baselineMs: number;
}

/** The clock was put forward by `lostMs`, which were lost over the last `baselineMs`. */
export interface Forward {
  readonly lostMs: number;
  readonly baselineMs: number;
}

export class RateWatch {
  readonly #quorum: number;
  readonly #clock: Paced;
  readonly #changed: (rate: number) => void;
  readonly #begins: (Offset | undefined)[];
  readonly #gains: (Gain | undefined)[];
  /** By node: until then its replies are of no interest. The only thing that most replies cost. */
  readonly #ripeAt: Instant[];

  /** `quorum`: so many nodes must agree. `changed` hears of every new rate of the nodes' clocks, 1 where it is the client's again. */
  constructor(nodes: number, quorum: number, clock: Paced, changed: (rate: number) => void) {
    this.#quorum = quorum;
    this.#clock = clock;
    this.#changed = changed;
    this.#begins = Array.from({ length: nodes }, () => undefined);
    this.#gains = Array.from({ length: nodes }, () => undefined);
    this.#ripeAt = Array.from({ length: nodes }, () => -Infinity);
  }

  /** Node `index` said `nodeUs` at some moment between the two instants. Answers with what the clock was put forward by, if it was. */
  observe(index: number, nodeUs: number, askedAt: Instant, answeredAt: Instant): Forward | undefined {
    if (answeredAt < (this.#ripeAt[index] ?? Infinity)) return undefined;
    const { pace } = this.#clock;
    const low = nodeUs - answeredAt * 1_000;
    const end = { low, high: nodeUs - askedAt * 1_000, at: answeredAt, pace };
    const begin = this.#begins[index];
    if (begin?.pace !== pace) {
      this.#beginAnew(index, end);
      return undefined;
    }
    const longMs = baselineForMs(begin, end);
    if (end.at - begin.at < longMs) {
      this.#ripeAt[index] = begin.at + longMs;
      return undefined;
    }
    this.#beginAnew(index, end);
    this.#gains[index] = gainBetween(begin, end);
    return this.#decide(answeredAt);
  }

  #beginAnew(index: number, offset: Offset): void {
    this.#begins[index] = offset;
    this.#ripeAt[index] = offset.at + BASELINE_MS_MIN;
    this.#gains[index] = undefined;
  }

  /** Faster as soon as a quorum proves it; slower again only where a quorum proves that there is no need. */
  #decide(now: Instant): Forward | undefined {
    const recent = this.#gains.filter((gain): gain is Gain => !!gain && now - gain.at <= MEASURE_TTL_MS);
    const faster = nth(recent, this.#quorum, (a, b) => b.low - a.low);
    if (faster === undefined) return undefined;
    if (faster.low > RATE_NOISE) return this.#follow(faster.low, faster.baselineMs);
    const gain = nth(recent, this.#quorum, (a, b) => a.high - b.high)?.high ?? 0;
    return this.#clock.pace > 1 && gain < -RATE_NOISE / 2 ? this.#follow(gain, 0) : undefined;
  }

  #follow(gain: number, baselineMs: number): Forward | undefined {
    const before = this.#clock.pace;
    const asked = before * (1 + gain);
    // Close to the machine's own rate is the machine's own rate: the allowance covers the rest.
    const pace = asked < 1 + RATE_NOISE / 2 ? 1 : Math.min(asked, PACE_MAX);
    if (pace === before) return undefined;
    const lostMs = Math.max(0, (pace / before - 1) * baselineMs);
    this.#clock.follow(pace, lostMs);
    this.#gains.fill(undefined);
    this.#changed(pace);
    return lostMs > 0 ? { lostMs, baselineMs } : undefined;
  }
}

/** How long it must be for what the network leaves open at its two ends. */
function baselineForMs(begin: Offset, end: Offset): number {
  const openMs = (end.high - end.low + (begin.high - begin.low)) / 1_000;
  return Math.max(BASELINE_MS_MIN, Math.min(BASELINE_MS_MAX, openMs / UNCERTAINTY_MAX));
}

function gainBetween(begin: Offset, end: Offset): Gain {
  const baselineMs = end.at - begin.at;
  return {
    low: (end.low - begin.high) / (baselineMs * 1_000),
    high: (end.high - begin.low) / (baselineMs * 1_000),
    at: end.at,
    baselineMs,
  };
}

function nth(gains: readonly Gain[], n: number, order: (a: Gain, b: Gain) => number): Gain | undefined {
  return [...gains].sort(order)[n - 1];
}
