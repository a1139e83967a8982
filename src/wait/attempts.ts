/**
 * From one attempt to a lock: tries, waits to be told or for a timer, and tries again, until it is granted, the time is over or the caller gives up. Nothing
 * here decides on safety; whatever an abandoned attempt still brings in is given back.
 */
import { type Clock, type Instant, Latch, sleep } from "../clock/clock.ts";
import type { Entropy } from "../clock/entropy.ts";
import { delayMs, type Denied, isHeld, ROUND_TRIP_MS_MIN } from "./backoff.ts";
import type { RetryFunction } from "./retry.ts";
import type { Ear, Waiting } from "./wakeups.ts";

export interface Granted {
  readonly kind: "granted";
}

/** How one attempt is made. */
export interface Manner {
  /** Contenders meet at one node first (rule C7). */
  readonly gated: boolean;
  /** To be put in line where it is held; undefined where a notice would not be heard. */
  readonly waiting: Waiting | undefined;
}

/** What this room asks of a grantor. */
export interface Attempter<G extends Granted, D extends Denied> {
  /** One attempt; never rejects. */
  attempt(manner: Manner): Promise<G | D>;
  /** Gives back a grant nobody waits for any more. */
  abandon(granted: G): void;
  /** Hears of every attempt that failed. */
  denied?(denied: D): void;
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
  /** Holds back the first attempt for so long: others were told that the key is free. */
  readonly courtesyMs: number;
  /** The user's retry strategy, or undefined for the library's own delays. */
  readonly retry: RetryFunction | undefined;
  /** Hears of releases; undefined where notices are switched off. */
  readonly ear: Ear | undefined;
}

export type WaitResult<G, D> = {
  readonly attempts: number;
  readonly outcome: G | D;
};

/** How often `once` is tried again when the contenders split the nodes and nobody won. */
const SPLITS_OF_ONE_TRY_MAX = 4;
/** After so many split votes the gate has not helped (its node may be the trouble): ask all again. */
const GATED_IN_A_ROW_MAX = 8;

/** So many notices in a row may come to nothing, because others were quicker, before the next ones are answered more slowly. */
const FUTILE_MAX = 3;
/** At most 64 round trips more slowly. */
const FUTILE_EXPONENT_MAX = 6;
/** The last attempt begins this many round trips before the deadline. */
const LAST_ATTEMPT_ROUND_TRIPS = 4;

export async function attemptUntil<G extends Granted, D extends Denied>(
  attempter: Attempter<G, D>,
  terms: WaitTerms,
  clock: Clock,
  entropy: Entropy,
): Promise<WaitResult<G, D>> {
  let granted = false;
  try {
    const result = await attemptAgain(attempter, terms, clock, entropy);
    granted = result.outcome.kind === "granted";
    return result;
  } finally {
    terms.ear?.close(granted);
  }
}

async function attemptAgain<G extends Granted, D extends Denied>(
  attempter: Attempter<G, D>,
  terms: WaitTerms,
  clock: Clock,
  entropy: Entropy,
): Promise<WaitResult<G, D>> {
  const { ear } = terms;
  const course = new Course<D>();
  if (terms.courtesyMs > 0) await defer(terms, clock);
  for (let attempts = 1; ; attempts++) {
    terms.signal?.throwIfAborted();
    ear?.forget();
    const manner = { gated: course.isGated(), waiting: ear?.join() };
    const deadline = course.isBegun ? terms.deadline : Infinity;
    const outcome = await patiently(attempter, manner, deadline, terms, clock);
    if (outcome?.kind === "granted") return { attempts, outcome };
    if (outcome === undefined) return { attempts, outcome: course.told() };
    course.note(outcome, manner);
    attempter.denied?.(outcome);
    if (course.isHeld()) ear?.open();
    if (!(await mayTryAgain(course, attempts, terms, clock, entropy))) {
      terms.signal?.throwIfAborted();
      return { attempts, outcome: course.told() };
    }
  }
}

/** Others go first; whoever holds back is likely to have to wait, and listens already. */
async function defer(terms: WaitTerms, clock: Clock): Promise<void> {
  terms.ear?.open();
  await sleep(clock, Math.min(terms.courtesyMs, Math.max(0, terms.deadline - clock.now())), signalsOf(terms));
}

/** Rests until it is time for the next attempt; false where there is no time, or no wish, for one. */
async function mayTryAgain(
  course: Course<Denied>,
  attempts: number,
  terms: WaitTerms,
  clock: Clock,
  entropy: Entropy,
): Promise<boolean> {
  const last = course.last();
  if (isTheLast(last, attempts, terms)) return false;
  if (course.mayJoin(terms.ear)) return true;
  const situation = { failures: course.failures, chance: entropy.random(), retry: terms.retry };
  const delay = delayMs(last, situation);
  if (delay === undefined) return false;
  const roomMs = roomForOneMoreMs(last, terms, clock);
  if (roomMs >= ROUND_TRIP_MS_MIN) {
    await rest(course, Math.min(delay, roomMs), terms, clock, entropy);
    return true;
  }
  // Too late for an attempt at random, not for one that is told of.
  return rest(course, Math.max(0, terms.deadline - clock.now()), terms, clock, entropy);
}

/** True where somebody told that the key is free. */
async function rest(
  course: Course<Denied>,
  ms: number,
  terms: WaitTerms,
  clock: Clock,
  entropy: Entropy,
): Promise<boolean> {
  const { ear } = terms;
  if (ear === undefined || !course.isHeld()) {
    await sleep(clock, ms, signalsOf(terms));
    return false;
  }
  // Told again and again in vain: by those who forge notices, or faster than this client is.
  const exponent = Math.min(Math.max(0, course.futile - FUTILE_MAX), FUTILE_EXPONENT_MAX);
  const roundTripMs = Math.max(course.last().roundTripMs, ROUND_TRIP_MS_MIN);
  const deafMs = Math.min(ms, entropy.random() * roundTripMs * (2 ** exponent - 1));
  if (deafMs > 0) await sleep(clock, deafMs, signalsOf(terms));
  const isTold = await ear.sleep(ms - deafMs, signalsOf(terms));
  course.futile = isTold ? course.futile + 1 : 0;
  return isTold;
}

/** What the attempts so far have come to. */
class Course<D extends Denied> {
  #last: D | undefined;
  #full: D | undefined;
  #hasAskedToJoin = false;
  /** How many attempts in a row failed for the reason of the last one. */
  failures = 0;
  /** How many in a row were made because of a notice. */
  futile = 0;

  get isBegun(): boolean {
    return this.#last !== undefined;
  }

  note(denied: D, { gated, waiting }: Manner): void {
    this.failures = denied.why === this.#last?.why ? this.failures + 1 : 1;
    this.#last = denied;
    this.#hasAskedToJoin = waiting !== undefined;
    if (!gated) this.#full = denied;
  }

  isHeld(): boolean {
    return isHeld(this.last(), this.failures);
  }

  /** Listens meanwhile, but is in no line yet: the nodes are asked again at once, and say where it stands. */
  mayJoin(ear: Ear | undefined): boolean {
    return this.isHeld() && !this.#hasAskedToJoin && ear?.canJoin === true;
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
  manner: Manner,
  deadline: Instant,
  { signal }: WaitTerms,
  clock: Clock,
): Promise<G | D | undefined> {
  const attempt = attempter.attempt(manner);
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
