/**
 * How long to wait before the next attempt: pure. Full jitter where contenders lost together, since they must not meet again.
 */
import { OptionRangeError } from "../errors.ts";
import type { RetryFunction, RetryState } from "./retry.ts";

/** What this room needs to know of an attempt that failed. */
export interface Denied {
  readonly kind: "denied";
  readonly why: "held" | "split" | "stale" | "unreachable" | "slow";
  /** No wait will mend it. */
  readonly isLasting?: boolean;
  /** After this many ms a quorum of nodes can be free; undefined where that is not known. */
  readonly freeInMs: number | undefined;
  readonly roundTripMs: number;
  /** How many wait for it longer; undefined where the nodes did not put this attempt in line. */
  readonly ahead: number | undefined;
}

/** While somebody holds the key and nobody will tell: often enough to be there soon, seldom enough not to be in the way. */
const HELD_DELAY_MS_MAX = 50;
/** Who will be told looks all the same from time to time: the one who was told first may be hung, and the notice lost. */
const RECHECK_MS = 500;
/** Split votes: up to 64 round trips (rule C7). */
const SPLIT_ROUND_TRIPS_MAX = 64;
/** After so many in a row it is no herd that is in its own way, but votes left behind by somebody who died: as if it were held. */
const SPLITS_IN_A_ROW_MAX = 12;
/** A fleet that cannot vote is asked less and less often, but often enough to be back within a fifth of a second. */
const UNREACHABLE_DELAY_MS_MAX = 200;
/** A loopback's round trip is too short to spread contenders over. */
export const ROUND_TRIP_MS_MIN = 0.2;
/** When a lock expires, those in line try one after the other, so many round trips apart (Q5). */
const TURN_ROUND_TRIPS = 4;

export interface Situation {
  /** How many attempts in a row failed for this reason, from 1. */
  readonly failures: number;
  /** Uniform in [0, 1). */
  readonly chance: number;
  /** The user's, or undefined for the library's own. */
  readonly retry: RetryFunction | undefined;
}

/** Is it somebody else's lock, whose end has to be waited for? */
export function isHeld({ why }: Denied, failures: number): boolean {
  return why === "held" || (isContested(why) && failures > SPLITS_IN_A_ROW_MAX);
}

/** Undefined to give up: the user's strategy is at its end. */
export function delayMs(denied: Denied, situation: Situation): number | undefined {
  const { failures, chance } = situation;
  if (isHeld(denied, failures)) {
    return denied.ahead === undefined
      ? chosenMs(situation, "held", heldDelayMs(denied.freeInMs, chance))
      : turnMs(denied, denied.ahead, chance);
  }
  return isContested(denied.why)
    ? chance * Math.min(2 ** failures, SPLIT_ROUND_TRIPS_MAX) * turnaroundMs(denied)
    : chosenMs(situation, "unreachable", chance * Math.min(10 * 2 ** failures, UNREACHABLE_DELAY_MS_MAX));
}

/** Nobody has it, for all that is known: contenders were in each other's way, or the answers came too late. */
export function isContested(why: Denied["why"]): boolean {
  return why === "split" || why === "stale" || why === "slow";
}

function turnaroundMs({ roundTripMs }: Denied): number {
  return Math.max(roundTripMs, ROUND_TRIP_MS_MIN);
}

/** One ms more than is known: Redis drops a key only when its clock has gone past the expiry. */
function heldDelayMs(freeInMs: number | undefined, chance: number): number {
  return Math.min((freeInMs ?? Infinity) + 1, HELD_DELAY_MS_MAX * (0.5 + 0.5 * chance));
}

/** In line: a notice is to come first. This is for when none does, because nobody released it or nobody heard. */
function turnMs(denied: Denied, ahead: number, chance: number): number {
  const expiryMs = (denied.freeInMs ?? Infinity) + 1 + ahead * TURN_ROUND_TRIPS * turnaroundMs(denied);
  return Math.min(expiryMs, RECHECK_MS * (0.5 + chance));
}

function chosenMs(
  { failures, chance, retry }: Situation,
  why: RetryState["why"],
  ownMs: number,
): number | undefined {
  if (retry === undefined) return ownMs;
  const delay = retry({ failures, why, chance });
  if (delay !== undefined && !(delay >= 0))
    throw new OptionRangeError("retry", "give delays of at least 0 ms", delay);
  return delay;
}
