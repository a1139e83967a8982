/**
 * How long to wait before the next attempt: pure. Full jitter, since contenders that lost together must not meet again.
 */

/** What this room needs to know of an attempt that failed. */
export interface Denied {
  readonly kind: "denied";
  readonly why: "held" | "split" | "stale" | "unreachable" | "slow";
  /** After this many ms a quorum of nodes can be free; undefined where that is not known. */
  readonly freeInMs: number | undefined;
  readonly roundTripMs: number;
}

/** While somebody holds the key: often enough to be there soon, seldom enough not to be in the way. */
const HELD_DELAY_MS_MAX = 50;
/** Split votes: up to 64 round trips (rule C7). */
const SPLIT_ROUND_TRIPS_MAX = 64;
/** After so many in a row it is no herd that is in its own way, but votes left behind by somebody who died: as if it were held. */
const SPLITS_IN_A_ROW_MAX = 12;
/** A fleet that cannot vote is asked less and less often, but often enough to be back within a fifth of a second. */
const UNREACHABLE_DELAY_MS_MAX = 200;
/** A loopback's round trip is too short to spread contenders over. */
export const ROUND_TRIP_MS_MIN = 0.2;

/** `failures`: how many attempts in a row failed for this reason, from 1. `chance` is uniform in [0, 1). */
export function delayMs({ why, freeInMs, roundTripMs }: Denied, failures: number, chance: number): number {
  switch (why) {
    case "held":
      return heldDelayMs(freeInMs, chance);
    case "unreachable":
      return chance * Math.min(10 * 2 ** failures, UNREACHABLE_DELAY_MS_MAX);
    case "split":
    case "stale":
    case "slow":
      if (failures > SPLITS_IN_A_ROW_MAX) return heldDelayMs(freeInMs, chance);
      return (
        chance * Math.min(2 ** failures, SPLIT_ROUND_TRIPS_MAX) * Math.max(roundTripMs, ROUND_TRIP_MS_MIN)
      );
  }
}

/** One ms more than is known: Redis drops a key only when its clock has gone past the expiry. */
function heldDelayMs(freeInMs: number | undefined, chance: number): number {
  return Math.min((freeInMs ?? Infinity) + 1, HELD_DELAY_MS_MAX * (0.5 + 0.5 * chance));
}
