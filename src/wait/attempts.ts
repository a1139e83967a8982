/**
 * From one attempt to a lock: tries, waits and tries again, until it is granted, the time is over or the caller gives up. Nothing
 * here decides on safety; whatever an abandoned attempt still brings in is given back.
 */
import { type Clock, type Instant, Latch, sleep } from "../clock/clock.ts";
import type { Entropy } from "../clock/entropy.ts";
import { delayMs, type Denied, ROUND_TRIP_MS_MIN } from "./backoff.ts";

export interface Granted {
  readonly kind: "granted";
}

/** What this room asks of a grantor. */
export interface Attempter<G extends Granted, D extends Denied> {
  /** One attempt; never rejects. `gated`: contenders meet at one node first (rule C7). */
  attempt(gated: boolean): Promise<G | D>;
  /** Gives back a grant nobody waits for any more. */
  abandon(granted: G): void;
}

export interface WaitTerms {
  /** No attempt begins after this, and none but the first is waited for longer. */
  readonly deadline: Instant;
  /** Ends after this many attempts even before the deadline, unless the last one was a split vote. */
  readonly once: boolean;
  /** The caller's; its reason is thrown. */
  readonly signal: AbortSignal | undefined;
  /** The locker closes: ends the waiting as if the deadline had come. */
  readonly closing: AbortSignal;
}

export type WaitResult<G, D> = {
  readonly attempts: number;
  readonly outcome: G | D;
};

/** How often `once` is tried again when the contenders split the nodes and nobody won. */
const SPLITS_OF_ONE_TRY_MAX = 4;
/** After so many split votes the gate has not helped (its node may be the trouble): ask all again. */
const GATED_IN_A_ROW_MAX = 8;

/** The last attempt begins this many round trips before the deadline. */
const LAST_ATTEMPT_ROUND_TRIPS = 4;

export async function attemptUntil<G extends Granted, D extends Denied>(
  attempter: Attempter<G, D>,
  terms: WaitTerms,
  clock: Clock,
  entropy: Entropy,
): Promise<WaitResult<G, D>> {
  const course = new Course<D>();
  for (let attempts = 1; ; attempts++) {
    terms.signal?.throwIfAborted();
    const gated = course.isGated();
    const outcome = await patiently(
      attempter,
      gated,
      course.isBegun ? terms.deadline : Infinity,
      terms,
      clock,
    );
    if (outcome?.kind === "granted") return { attempts, outcome };
    if (outcome !== undefined) course.note(outcome, gated);
    const delay = outcome === undefined ? -1 : nextDelayMs(course, attempts, terms, clock, entropy);
    if (delay < 0) return { attempts, outcome: course.told() };
    await sleep(clock, delay, signalsOf(terms));
  }
}

/** What the attempts so far have come to. */
class Course<D extends Denied> {
  #last: D | undefined;
  #full: D | undefined;
  /** How many attempts in a row failed for the reason of the last one. */
  failures = 0;

  get isBegun(): boolean {
    return this.#last !== undefined;
  }

  note(denied: D, gated: boolean): void {
    this.failures = denied.why === this.#last?.why ? this.failures + 1 : 1;
    this.#last = denied;
    if (!gated) this.#full = denied;
  }

  /** After a split vote, unless the gate has not helped for a while (C7). */
  isGated(): boolean {
    return this.#last !== undefined && isSplit(this.#last) && this.failures % GATED_IN_A_ROW_MAX !== 0;
  }

  last(): D {
    if (this.#last === undefined) throw new Error("no attempt was made");
    return this.#last;
  }

  /** What is told in the end: a gated attempt asked one node, the last full one all of them. */
  told(): D {
    return this.#full ?? this.last();
  }
}

/** Negative where this was the last attempt: there is no time, or no wish, for another one. */
function nextDelayMs(
  course: Course<Denied>,
  attempts: number,
  terms: WaitTerms,
  clock: Clock,
  entropy: Entropy,
): number {
  const last = course.last();
  const roomMs = roomForOneMoreMs(last, terms, clock);
  if (isTheLast(last, attempts, terms) || roomMs < ROUND_TRIP_MS_MIN) return -1;
  return Math.min(delayMs(last, course.failures, entropy.random()), roomMs);
}

function isSplit(denied: Denied): boolean {
  return denied.why === "split" || denied.why === "stale";
}

function isTheLast(denied: Denied, attempts: number, { once, closing }: WaitTerms): boolean {
  return closing.aborted || (once && (!isSplit(denied) || attempts >= SPLITS_OF_ONE_TRY_MAX));
}

/** How long may be slept so that one more attempt can still answer before the deadline. */
function roomForOneMoreMs({ roundTripMs }: Denied, { once, deadline }: WaitTerms, clock: Clock): number {
  // A fleet without connections answers at once: even then an attempt takes time, or the last ones would never end.
  const attemptMs = LAST_ATTEMPT_ROUND_TRIPS * Math.max(roundTripMs, ROUND_TRIP_MS_MIN);
  return once ? Infinity : deadline - clock.now() - attemptMs;
}

function signalsOf({ signal, closing }: WaitTerms): AbortSignal[] {
  return signal === undefined ? [closing] : [signal, closing];
}

/**
 * The attempt's outcome, or undefined when the deadline came first. An abort rejects at once with the signal's reason. Whatever
 * the attempt brings after that is given back.
 */
async function patiently<G extends Granted, D extends Denied>(
  attempter: Attempter<G, D>,
  gated: boolean,
  deadline: Instant,
  { signal }: WaitTerms,
  clock: Clock,
): Promise<G | D | undefined> {
  const attempt = attempter.attempt(gated);
  if (signal === undefined && deadline === Infinity) return attempt;
  const patience = new Latch(clock, Math.max(0, deadline - clock.now()));
  const wake = () => patience.settle();
  signal?.addEventListener("abort", wake);
  const outcome = await Promise.race([attempt, patience.settled]);
  patience.settle();
  signal?.removeEventListener("abort", wake);
  if (outcome !== undefined && signal?.aborted !== true) return outcome;
  void attempt.then((late) => late.kind === "granted" && attempter.abandon(late));
  signal?.throwIfAborted();
  return undefined;
}
