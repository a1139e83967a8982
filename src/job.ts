/** What a call asks for, checked: whatever is wrong with it is said here, before anything is asked of a node. */
import { defaultMaxListeners, getMaxListeners, setMaxListeners } from "node:events";

import { quarantineMs, validityMs } from "./clock/validity.ts";
import { ConfigError, OptionRangeError, shown } from "./errors.ts";
import type { LeaseToken } from "./lease/lease.ts";
import type { AcquireOptions, CloseOptions, ReadyOptions, UsingOptions } from "./options/options.ts";
import {
  checkKey,
  checkKeys,
  checkOwner,
  checkTtl,
  flag,
  namedOptions,
  number,
  type Settings,
} from "./options/settings.ts";
import { type RetryFunction, retrying } from "./wait/retry.ts";

/** One call of acquire, checked. */
export interface Job {
  readonly keys: readonly string[];
  readonly nodeKeys: readonly string[];
  readonly owner: string;
  readonly ttlMs: number;
  readonly minValidityMs: number;
  readonly waitMs: number;
  readonly autoExtend: boolean;
  readonly maxHoldMs: number;
  /** One attempt, and no place in a line that others wait in. */
  readonly once: boolean;
  readonly signal: AbortSignal | undefined;
  /** The user's delays between attempts, made for this call. */
  readonly retry: RetryFunction | undefined;
}

/** What the calls of a locker differ in. */
export interface CallKind {
  readonly once: boolean;
  readonly autoExtend: boolean;
  /** Work is done under it: a lock of which little is left is of no use then. */
  readonly isLong: boolean;
}

/** Where nothing is asked for. */
export const NO_OPTIONS: AcquireOptions = {};

export function jobOf(keys: unknown, given: unknown, kind: CallKind, settings: Settings): Job {
  if (settings.readOnly) throw new ConfigError("a locker with the option readOnly acquires nothing");
  const options = given === NO_OPTIONS ? NO_OPTIONS : checkShape(given);
  if ("within" in options && options.within !== undefined && !kind.isLong)
    throw new ConfigError("within is an option of using; acquire makes a lease of its own");
  const list = checkKeys(keys, settings.nodePrefixes);
  const ttlMs = options.ttlMs ?? settings.ttlMs;
  checkTtl(settings, ttlMs);
  return {
    keys: list,
    nodeKeys: nodeKeysOf(list, settings),
    owner: options.owner === undefined ? settings.owner : checkOwner(options.owner),
    ttlMs,
    minValidityMs: minValidityOf(options, ttlMs, kind, settings),
    waitMs: number("waitMs", options.waitMs, settings.waitMs, 0, Infinity),
    autoExtend: options.autoExtend ?? kind.autoExtend,
    maxHoldMs: number("maxHoldMs", options.maxHoldMs, Infinity, 1, Infinity),
    once: kind.once,
    signal: options.signal,
    retry: (options.retry === undefined ? settings.retry : retrying(options.retry))?.(),
  };
}

/** One key, as on the nodes. */
export function nodeKeyOf(key: unknown, settings: Settings): string {
  checkKey(key, settings.nodePrefixes);
  return settings.keyPrefix + key;
}

function nodeKeysOf(keys: readonly string[], { keyPrefix }: Settings): readonly string[] {
  return keyPrefix === "" ? keys : keys.map((key) => keyPrefix + key);
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof UsingOptions>([
  "ttlMs",
  "waitMs",
  "signal",
  "owner",
  "autoExtend",
  "maxHoldMs",
  "minValidityMs",
  "retry",
  "reentrant",
  "within",
]);

const CLOSE_OPTION_NAMES: ReadonlySet<string> = new Set<keyof CloseOptions>(["withinMs"]);

/** How long `close` may wait for holders. */
export function closeWithinMs(given: unknown): number {
  const { withinMs }: CloseOptions = namedOptions(given, CLOSE_OPTION_NAMES);
  return number("withinMs", withinMs, Infinity, 0, Infinity);
}

export function checkShape(given: unknown): UsingOptions {
  const options: UsingOptions = namedOptions(given, OPTION_NAMES);
  flag("autoExtend", options.autoExtend, false);
  flag("reentrant", options.reentrant, false);
  checkSignal(options.signal);
  return options;
}

const READY_OPTION_NAMES: ReadonlySet<string> = new Set<keyof ReadyOptions>(["timeoutMs", "signal"]);

/** How long nodes may take to be met and admitted, above the quarantine they may be in. */
const READY_MS = 10_000;

/** What is asked of `ready`, checked. By default longer than what these options themselves impose on a new fleet. */
export function readyTerms(
  given: unknown,
  settings: Settings,
): { readonly timeoutMs: number; readonly signal: AbortSignal | undefined } {
  const { timeoutMs, signal }: ReadyOptions = namedOptions(given, READY_OPTION_NAMES);
  checkSignal(signal);
  const { restartGuard, quarantineTtlMs } = settings;
  const imposedMs = restartGuard === "trust" ? 0 : quarantineMs(quarantineTtlMs, settings);
  return { timeoutMs: number("timeoutMs", timeoutMs, READY_MS + imposedMs, 0, Infinity), signal };
}

/** Of whatever make: programs under test often have a DOM's instead of Node's. */
function checkSignal(signal: unknown): void {
  if (signal === undefined) return;
  const isSignal =
    typeof signal === "object" &&
    signal !== null &&
    "aborted" in signal &&
    "throwIfAborted" in signal &&
    "addEventListener" in signal;
  if (!isSignal) throw new ConfigError(`signal must be an AbortSignal, got ${shown(signal)}`);
  if (signal instanceof EventTarget) allowManyListeners(signal);
}

/** One signal for many acquires is no leak; what Node warns of by default is ten. A limit of the user's own stays. */
function allowManyListeners(signal: EventTarget): void {
  if (getMaxListeners(signal) === defaultMaxListeners) setMaxListeners(LISTENERS_MAX, signal);
}

const LISTENERS_MAX = 10_000;

/** Of a lock that is to be worked under, half of the ttl should be left; where margins take much of it, nearly all that can be. */
function minValidityOf(
  { minValidityMs }: AcquireOptions,
  ttlMs: number,
  { isLong }: CallKind,
  settings: Settings,
): number {
  const mostMs = validityMs(ttlMs, settings);
  const given = minValidityMs ?? settings.minValidityMs;
  if (given === undefined) return isLong ? Math.min(ttlMs / 2, 0.9 * mostMs) : ttlMs / 10;
  const asked = number("minValidityMs", given, 0, 0, Infinity);
  if (asked <= mostMs) return asked;
  const rule = `be at most what a ttlMs of ${ttlMs} leaves as validity (${mostMs}), or nothing could be granted`;
  throw new OptionRangeError("minValidityMs", rule, asked);
}

/** What another process let go of. */
export function checkToken(token: LeaseToken): LeaseToken {
  const { holder, fence, proposal } = token ?? {};
  const isFine =
    typeof holder === "string" &&
    holder !== "" &&
    Number.isSafeInteger(fence) &&
    Number.isSafeInteger(proposal) &&
    proposal >= fence;
  if (!isFine) throw new OptionRangeError("token", "be what `lease.detach` answered with", token);
  return token;
}
