/**
 * From one attempt to a lock: tries, waits and tries again, until it is granted, the time is over or the caller gives up. Nothing
 * here decides on safety; whatever an abandoned attempt still brings in is given back.
 */
import { type Clock, type Instant, sleep } from "../clock/clock.ts";
import type { Entropy } from "../clock/entropy.ts";
import { delayMs, type Denied } from "./backoff.ts";

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

export async function attemptUntil<G extends Granted, D extends Denied>(
  attempter: Attempter<G, D>,
  terms: WaitTerms,
  clock: Clock,
  entropy: Entropy,
): Promise<WaitResult<G, D>> {
  const signals = terms.signal === undefined ? [terms.closing] : [terms.signal, terms.closing];
  let last: D | undefined;
  let failures = 0;
  for (let attempts = 1; ; attempts++) {
    terms.signal?.throwIfAborted();
    const gated = last !== undefined && isSplit(last) && failures % GATED_IN_A_ROW_MAX !== 0;
    const outcome = await waitFor(attempter, gated, last === undefined ? Infinity : terms.deadline, terms.signal, clock);
    terms.signal?.throwIfAborted();
    if (outcome === undefined) return { attempts, outcome: last as D };
    if (outcome.kind === "granted") return { attempts, outcome };
    failures = outcome.why === last?.why ? failures + 1 : 1;
    last = outcome;
    if (terms.once && !(isSplit(outcome) && attempts < SPLITS_OF_ONE_TRY_MAX)) return { attempts, outcome };
    const remainingMs = terms.once ? Infinity : terms.deadline - clock.now();
    const delay = delayMs(outcome, failures, entropy.random());
    await sleep(clock, Math.min(delay, Math.max(0, remainingMs)), signals);
    terms.signal?.throwIfAborted();
    if (terms.closing.aborted || delay >= remainingMs) return { attempts, outcome };
  }
}

function isSplit(denied: Denied): boolean {
  return denied.why === "split" || denied.why === "stale";
}

/** The attempt's outcome, or undefined when the deadline or an abort came first; what it then still brings is given back. */
async function waitFor<G extends Granted, D extends Denied>(
  attempter: Attempter<G, D>,
  gated: boolean,
  deadline: Instant,
  signal: AbortSignal | undefined,
  clock: Clock,
): Promise<G | D | undefined> {
  const attempt = attempter.attempt(gated);
  if (signal === undefined && deadline === Infinity) return attempt;
  const patience = new AbortController();
  const signals = signal === undefined ? [patience.signal] : [signal, patience.signal];
  const timeout = sleep(clock, Math.max(0, deadline - clock.now()), signals).then(() => undefined);
  const outcome = await Promise.race([attempt, timeout]);
  patience.abort();
  if (outcome === undefined || signal?.aborted === true) {
    void attempt.then((late) => late.kind === "granted" && attempter.abandon(late));
  }
  return outcome;
}
