/**
 * From one attempt to a lock: tries, waits to be told or for a timer, and tries again, until it is granted, the time is over or the caller gives up. Nothing
 * here decides on safety; whatever an abandoned attempt still brings in is given back.
 */
import { type Clock, type Instant, Latch, sleep } from "../clock/clock.ts";
import type { Entropy } from "../clock/entropy.ts";
import { delayMs, type Denied, isContested, isHeld, ROUND_TRIP_MS_MIN } from "./backoff.ts";
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
  /** Hears of every attempt that was made and failed. */
  denied?(denied: D): void;
}

export interface WaitTerms {
  /** No attempt begins after this, and none but the first is waited for longer. */
  readonly deadline: Instant;
  /** How many attempts were made before. */
  readonly attempts: number;
  /** Ends after one attempt even before the deadline, unless nobody has it and nobody won. */
  readonly once: boolean;
  /** The caller's; its reason is thrown. */
  readonly signal: AbortSignal | undefined;
  /** The locker closes: ends the waiting as if the deadline had come. */
  readonly closing: AbortSignal;
  /** Holds back the first attempt for so long: others were told that the key is free. */
  readonly courtesyMs: number;
  /** How long the next attempt is held back at least: too many have failed in quick succession. */
  readonly paceMs: () => number;
  /** The user's retry strategy, or undefined for the library's own delays. */
  readonly retry: RetryFunction | undefined;
  /** Hears of releases; undefined where notices are switched off. */
  readonly ear: Ear | undefined;
}

export type WaitResult<G, D> = {
  readonly attempts: number;
  readonly outcome: G | D;
};

/** How often `once` is tried when nobody won: the contenders split the nodes, or this process stood still while it was answered. */
const ATTEMPTS_OF_ONE_TRY_MAX = 4;
/** After so many split votes the gate has not helped (its node may be the trouble): ask all again. */
const GATED_IN_A_ROW_MAX = 8;

/** So many notices in a row may come to nothing, because others were quicker, before the next ones are answered more slowly. */
const FUTILE_MAX = 3;
/** At most 64 round trips more slowly. */
const FUTILE_EXPONENT_MAX = 6;
/** The last attempt begins this many round trips before the deadline. */
const LAST_ATTEMPT_ROUND_TRIPS = 4;

/**
 * Settles with a grant, or with what was denied when the time was over; rejects with the reason of the signal. `first`: what an
 * attempt came to that was made already, of all nodes and without waiting.
 */
export async function attemptUntil<G extends Granted, D extends Denied>(
  attempter: Attempter<G, D>,
  terms: WaitTerms,
  clock: Clock,
  entropy: Entropy,
  first?: D,
): Promise<WaitResult<G, D>> {
  let hasGotIt = false;
  try {
    const result = await new Pursuit(attempter, terms, clock, entropy).run(first);
    hasGotIt = result.outcome.kind === "granted";
    return result;
  } finally {
    terms.ear?.close(hasGotIt);
  }
}

/** All nodes at once, and in no line. */
export const PLAINLY: Manner = { gated: false, waiting: undefined };

class Pursuit<G extends Granted, D extends Denied> {
  readonly #attempter: Attempter<G, D>;
  readonly #terms: WaitTerms;
  readonly #clock: Clock;
  readonly #entropy: Entropy;
  readonly #signals: readonly AbortSignal[];
  #attempts: number;
  #last: D | undefined;
  /** The last denial of an attempt that asked all nodes. */
  #full: D | undefined;
  #hasAskedToJoin = false;
  /** How many attempts in a row failed for the reason of the last one. */
  #failures = 0;
  /** How many in a row were made because of a notice. */
  #futile = 0;

  constructor(attempter: Attempter<G, D>, terms: WaitTerms, clock: Clock, entropy: Entropy) {
    const { signal, closing } = terms;
    this.#attempter = attempter;
    this.#terms = terms;
    this.#attempts = terms.attempts;
    this.#clock = clock;
    this.#entropy = entropy;
    this.#signals = signal === undefined ? [closing] : [signal, closing];
  }

  /** `first`: what the first attempt came to, where one was made already. */
  async run(first?: D): Promise<WaitResult<G, D>> {
    const { signal, ear, courtesyMs } = this.#terms;
    if (first === undefined && courtesyMs > 0) await this.#defer(courtesyMs);
    let outcome = first === undefined ? await this.#attempt() : this.#note(first, PLAINLY);
    while (outcome === undefined && (await this.#mayTryAgain())) {
      signal?.throwIfAborted();
      ear?.forget();
      outcome = await this.#attempt();
    }
    // Not over a grant: whoever hands it out gives it back.
    if (outcome === undefined) signal?.throwIfAborted();
    return { attempts: this.#attempts, outcome: outcome ?? this.#told() };
  }

  /** Others go first; whoever holds back is likely to have to wait, and listens already. */
  async #defer(courtesyMs: number): Promise<void> {
    const { ear, deadline } = this.#terms;
    ear?.open();
    const roomMs = Math.max(0, deadline - this.#clock.now());
    await sleep(this.#clock, Math.min(courtesyMs, roomMs), this.#signals);
  }

  /** The outcome that ends it, or undefined where it was denied once more. */
  async #attempt(): Promise<G | D | undefined> {
    this.#terms.signal?.throwIfAborted();
    const manner = { gated: this.#isGated(), waiting: this.#terms.ear?.join() };
    const deadline = this.#last === undefined ? Infinity : this.#terms.deadline;
    const outcome = await this.#patiently(this.#attempter.attempt(manner), deadline);
    this.#attempts++;
    if (outcome?.kind !== "denied") return outcome ?? this.#told();
    this.#attempter.denied?.(outcome);
    return this.#note(outcome, manner);
  }

  #note(outcome: D, manner: Manner): undefined {
    this.#failures = outcome.why === this.#last?.why ? this.#failures + 1 : 1;
    this.#last = outcome;
    this.#hasAskedToJoin = manner.waiting !== undefined;
    if (!manner.gated) this.#full = outcome;
    if (isHeld(outcome, this.#failures)) this.#terms.ear?.open();
  }

  /**
   * The attempt's outcome, or undefined when the deadline came first. An abort rejects at once with the signal's reason. Whatever
   * the attempt brings after that is given back.
   */
  async #patiently(attempt: Promise<G | D>, deadline: Instant): Promise<G | D | undefined> {
    const { signal } = this.#terms;
    if (signal === undefined && deadline === Infinity) return attempt;
    const patience = new Latch(this.#clock, Math.max(0, deadline - this.#clock.now()));
    const wake = () => patience.settle();
    signal?.addEventListener("abort", wake);
    const outcome = await Promise.race([attempt, patience.settled]);
    patience.settle();
    signal?.removeEventListener("abort", wake);
    if (outcome !== undefined && signal?.aborted !== true) return outcome;
    void attempt.then((late) => late.kind === "granted" && this.#attempter.abandon(late));
    signal?.throwIfAborted();
    return undefined;
  }

  /** Rests until it is time for the next attempt; false where there is no time, or no wish, for one. */
  async #mayTryAgain(): Promise<boolean> {
    const { ear, deadline, retry } = this.#terms;
    const last = this.#denial();
    if (this.#wasTheLast(last)) return false;
    // Listens meanwhile, but is in no line yet: the nodes are asked again at once, and say where it stands.
    const paceMs = this.#terms.paceMs();
    if (paceMs === 0 && isHeld(last, this.#failures) && !this.#hasAskedToJoin && ear?.canJoin === true)
      return true;
    const delay = delayMs(last, { failures: this.#failures, chance: this.#entropy.random(), retry });
    if (delay === undefined) return false;
    const roomMs = this.#roomForOneMoreMs(last);
    if (roomMs >= Math.max(ROUND_TRIP_MS_MIN, paceMs)) {
      await this.#rest(Math.min(Math.max(delay, paceMs), roomMs));
      return true;
    }
    // Too late for an attempt at random, not for one that is told of.
    return this.#rest(Math.max(0, deadline - this.#clock.now()));
  }

  /** True where somebody told that the key is free. */
  async #rest(ms: number): Promise<boolean> {
    const { ear } = this.#terms;
    const last = this.#denial();
    if (ear === undefined || !isHeld(last, this.#failures)) {
      await sleep(this.#clock, ms, this.#signals);
      return false;
    }
    const deafMs = Math.min(ms, Math.max(this.#deafMs(last), this.#terms.paceMs()));
    if (deafMs > 0) await sleep(this.#clock, deafMs, this.#signals);
    const isTold = await ear.sleep(ms - deafMs, this.#signals);
    this.#futile = isTold ? this.#futile + 1 : 0;
    return isTold;
  }

  /** Told again and again in vain: by those who forge notices, or faster than this client is. */
  #deafMs({ roundTripMs }: D): number {
    const exponent = Math.min(Math.max(0, this.#futile - FUTILE_MAX), FUTILE_EXPONENT_MAX);
    return this.#entropy.random() * Math.max(roundTripMs, ROUND_TRIP_MS_MIN) * (2 ** exponent - 1);
  }

  #wasTheLast(last: D): boolean {
    const { once, closing } = this.#terms;
    return (
      closing.aborted ||
      last.isLasting === true ||
      (once && (!isContested(last.why) || this.#attempts >= ATTEMPTS_OF_ONE_TRY_MAX))
    );
  }

  /** How long may be slept so that one more attempt can still answer before the deadline. */
  #roomForOneMoreMs({ roundTripMs }: D): number {
    const { once, deadline } = this.#terms;
    // A fleet without connections answers at once: even then an attempt takes time, or the last ones would never end.
    const attemptMs = LAST_ATTEMPT_ROUND_TRIPS * Math.max(roundTripMs, ROUND_TRIP_MS_MIN);
    return once ? Infinity : deadline - this.#clock.now() - attemptMs;
  }

  /** After a split vote, unless the gate has not helped for a while (C7). */
  #isGated(): boolean {
    return this.#last !== undefined && isSplit(this.#last) && this.#failures % GATED_IN_A_ROW_MAX !== 0;
  }

  #denial(): D {
    if (this.#last === undefined) throw new Error("no attempt was made");
    return this.#last;
  }

  /** What is told in the end: a gated attempt asked one node, the last full one all of them. */
  #told(): D {
    return this.#full ?? this.#denial();
  }
}

function isSplit({ why }: Denied): boolean {
  return why === "split" || why === "stale";
}
