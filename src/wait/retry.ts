/**
 * When to try again, as users choose it: at fixed times, ever more seldom, by a function or a list of their own, or in redlock's words.
 * Used where nobody tells of a release: notices are switched off, the holder is another library, or too few nodes can be reached.
 * Pure: chance and counts come in, a delay comes out.
 */
import { ConfigError, OptionRangeError, shown } from "../errors.ts";

/** What is known when the next try is planned. */
export interface RetryState {
  /** How many tries in a row have failed for this reason, from 1. */
  readonly failures: number;
  readonly why: "held" | "unreachable";
  /** Uniform in [0, 1): for jitter, so that contenders do not meet again. */
  readonly chance: number;
}

/** Milliseconds until the next try, or undefined to give up before `waitMs` is over. */
export type RetryFunction = (state: RetryState) => number | undefined;

/** As redlock has it: `retryCount` tries after the first (-1: without end), `retryDelay` ± `retryJitter` ms apart. */
export interface RedlockRetry {
  /** Default 10. */
  readonly retryCount?: number | undefined;
  /** Default 200. */
  readonly retryDelay?: number | undefined;
  /** Default 100. */
  readonly retryJitter?: number | undefined;
}

/** A list (or anything that can be iterated again for every acquire) gives one delay after the other; its end gives up. */
export type RetryStrategy = RetryFunction | Iterable<number> | RedlockRetry;

/** A try every `delayMs` ± `jitterMs`. Both at least 0; `jitterMs` at most `delayMs`; default 0. */
export function fixedRetry(delayMs: number, jitterMs: number = 0): RetryFunction {
  checkMs("delayMs", delayMs, Infinity);
  checkMs("jitterMs", jitterMs, delayMs);
  return ({ chance }) => delayMs + (2 * chance - 1) * jitterMs;
}

/**
 * Delays that double (or grow by `factor`, at least 1) from `initialMs` (default 10) to `maxMs` (default 1 000), of which a random
 * part is waited: all of it in the end with `jitter: "full"` (default), at least half with `"equal"`, always all with `"none"`.
 */
export function exponentialRetry(
  options: {
    readonly initialMs?: number | undefined;
    readonly maxMs?: number | undefined;
    readonly factor?: number | undefined;
    readonly jitter?: "full" | "equal" | "none" | undefined;
  } = {},
): RetryFunction {
  const { initialMs = 10, maxMs = 1_000, factor = 2, jitter = "full" } = options;
  checkMs("initialMs", initialMs, Infinity);
  checkMs("maxMs", maxMs, Infinity, initialMs);
  if (!(factor >= 1)) throw new OptionRangeError("factor", "be a number of at least 1", factor);
  const least = { full: 0, equal: 0.5, none: 1 }[jitter];
  if (least === undefined) throw new ConfigError(`jitter must be full, equal or none, got ${shown(jitter)}`);
  return ({ failures, chance }) =>
    Math.min(initialMs * factor ** (failures - 1), maxMs) * (least + (1 - least) * chance);
}

/** A strategy as users write it, checked: what makes a new function for every acquire. */
export function retrying(strategy: unknown): () => RetryFunction {
  if (typeof strategy === "function") return () => strategy as RetryFunction;
  if (typeof strategy !== "object" || strategy === null)
    throw new ConfigError(
      `retry must be a function, delays that can be iterated, or { retryCount, retryDelay, retryJitter }, got ${shown(strategy)}`,
    );
  if (Symbol.iterator in strategy) return fromList(strategy as Iterable<number>);
  return fromRedlock(strategy);
}

function fromList(delays: Iterable<number>): () => RetryFunction {
  const first: unknown = delays[Symbol.iterator]();
  // The second acquire would find nothing left in it.
  if (first === delays)
    throw new ConfigError("retry must be iterable anew for every acquire, got an iterator that runs once");
  return () => {
    const left = delays[Symbol.iterator]();
    return () => {
      const { done, value } = left.next();
      return done === true ? undefined : value;
    };
  };
}

const REDLOCK_NAMES = ["retryCount", "retryDelay", "retryJitter"];

function fromRedlock(strategy: RedlockRetry): () => RetryFunction {
  const unknown = Object.keys(strategy).find((name) => !REDLOCK_NAMES.includes(name));
  if (unknown !== undefined)
    throw new ConfigError(`retry has no ${shown(unknown)}; known are ${REDLOCK_NAMES.join(", ")}`);
  const { retryCount = 10, retryDelay = 200, retryJitter = 100 } = strategy;
  if (!Number.isInteger(retryCount) || retryCount < -1)
    throw new OptionRangeError("retryCount", "be an integer of at least -1", retryCount);
  checkMs("retryDelay", retryDelay, Infinity);
  checkMs("retryJitter", retryJitter, Infinity);
  return () => {
    let left = retryCount === -1 ? Infinity : retryCount;
    return ({ chance }) =>
      left-- > 0 ? Math.max(0, retryDelay + (2 * chance - 1) * retryJitter) : undefined;
  };
}

function checkMs(option: string, value: unknown, most: number, least = 0): void {
  if (typeof value === "number" && value >= least && value <= most) return;
  throw new OptionRangeError(
    option,
    most === Infinity ? `be a number of at least ${least}` : `be a number from ${least} to ${most}`,
    value,
  );
}
