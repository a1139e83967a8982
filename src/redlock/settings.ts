/** redlock's settings and durations, checked, and what they are in this library's words. */
import { ConfigError, OptionRangeError, shown } from "../errors.ts";
import type { QuorumOptions } from "../options/options.ts";

/** As redlock has them. */
export interface Settings {
  /** Allowance for clock rates; default 0.01. */
  readonly driftFactor: number;
  /** Attempts after the first; −1 for no end; default 10. */
  readonly retryCount: number;
  /** ms between attempts while nobody tells of a release; default 200. */
  readonly retryDelay: number;
  /** At most so many ms more or less; default 100. */
  readonly retryJitter: number;
  /** Accepted, and not needed: `using` extends when a third of the duration has gone. */
  readonly automaticExtensionThreshold: number;
  /** The database of the locks, as in @sesamecare-oss/redlock; an integer of at least 0; default that of each client. */
  readonly db?: number | undefined;
}

/** What redlock has no words for; see the options of `createLocker`. */
export type HoldfastSettings = Partial<
  Pick<
    QuorumOptions,
    | "allowEviction"
    | "clockWindowMs"
    | "fenceTtlMs"
    | "keyPrefix"
    | "maxTtlMs"
    | "nodeTimeoutMs"
    | "notify"
    | "observer"
    | "owner"
    | "restartGuard"
  >
>;

const DEFAULTS: Settings = Object.freeze({
  driftFactor: 0.01,
  retryCount: 10,
  retryDelay: 200,
  retryJitter: 100,
  automaticExtensionThreshold: 500,
});

const NAMES = [...Object.keys(DEFAULTS), "db"] as const;

/** Over the defaults, or over those of an instance. What is not given hides nothing; what redlock does not know has no effect, as there. */
export function settingsOf(given: object | null | undefined, base: Settings = DEFAULTS): Settings {
  if (given === undefined || given === null) return base;
  if (typeof given !== "object") throw new ConfigError(`settings must be an object, got ${shown(given)}`);
  const chosen: Record<string, unknown> = { ...base };
  for (const name of NAMES) {
    const value: unknown = (given as Record<string, unknown>)[name];
    if (value !== undefined && value !== null) chosen[name] = checked(name, value);
  }
  return chosen as unknown as Settings;
}

function checked(name: string, value: unknown): number {
  const isCount = name === "retryCount" || name === "db";
  const least = name === "retryCount" ? -1 : 0;
  const isFine =
    typeof value === "number" && value >= least && (isCount ? isCountable(value) : value < Infinity);
  if (isFine) return value;
  const kind = isCount ? "an integer" : "a number";
  throw new OptionRangeError(name, `be ${kind} of at least ${least}`, value);
}

/** Infinity is one of redlock's ways to try without end. */
function isCountable(value: number): boolean {
  return Number.isInteger(value) || value === Infinity;
}

/** As good as for ever, and the longest that nodes are asked for. */
export const TTL_MS_MAX: number = 2 ** 52;
/** No lock is shorter on the nodes. Its own `expiration` is as was asked. */
const TTL_MS_MIN = 500;

/** For how long the nodes are asked. */
export function ttlOf(duration: number): number {
  return Math.min(Math.max(TTL_MS_MIN, duration), TTL_MS_MAX);
}

export function checkDuration(duration: number): void {
  if (Number.isSafeInteger(duration) && duration >= 1) return;
  const rule = `be an integer from 1 to ${Number.MAX_SAFE_INTEGER} in milliseconds`;
  if (Number.isInteger(duration) || Math.abs(duration) === Infinity)
    throw new OptionRangeError("duration", rule, duration);
  throw new FractionalDurationError("duration", rule, duration);
}

/** In redlock's own words, which its users may compare with. */
class FractionalDurationError extends OptionRangeError {
  override readonly message = "Duration must be an integer value in milliseconds.";
}

/** How many tries redlock makes; without an end there is no number to tell. */
export function triesOf({ retryCount }: Settings): number {
  return isEndless(retryCount) ? 1 : retryCount + 1;
}

/** As long as redlock's attempts would take; the delays between them are for when nobody tells of a release. */
export function waitingOf({ retryCount, retryDelay, retryJitter }: Settings): {
  readonly waitMs: number;
  readonly retry: { retryCount: number; retryDelay: number; retryJitter: number };
} {
  const waitMs = isEndless(retryCount) ? Infinity : retryCount * (retryDelay + retryJitter / 2);
  return { waitMs, retry: { retryCount: -1, retryDelay, retryJitter } };
}

/** The pause before the next try; `chance` is uniform in [0, 1). */
export function pauseMs({ retryDelay, retryJitter }: Settings, chance: number): number {
  return Math.max(0, retryDelay + (2 * chance - 1) * retryJitter);
}

function isEndless(retryCount: number): boolean {
  return retryCount < 0 || retryCount === Infinity;
}
