/**
 * `holdfast/redlock`: the shape of redlock 5, with the names of redlock 4 beside it, over this library's locks. One import is changed and
 * existing code runs; clients of both packages exclude each other on the same servers. What differs is in docs/migrating.md.
 */
import { EventEmitter } from "node:events";

import { wallMs } from "../clock/machine-clocks.ts";
import { ConfigError, LockerClosedError, OptionRangeError } from "../errors.ts";
import type { HoldfastEvent } from "../events.ts";
import type { Lease } from "../lease/lease.ts";
import { createLocker, type Locker } from "../locker.ts";
import type { RedisClient } from "../node/connection.ts";
import type { LockerOptions, QuorumOptions } from "../options/options.ts";
import { type Callback, nodeified } from "./callbacks.ts";
import {
  ExecutionError,
  type ExecutionResult,
  executionErrorOf,
  type ExecutionStats,
  type RedlockClient,
  ResourceLockedError,
  statsOf,
} from "./errors.ts";
import { Lock } from "./lock.ts";
import { Reports } from "./reports.ts";

export { ExecutionError, Lock, ResourceLockedError };
export type { Callback, ExecutionResult, ExecutionStats, RedlockClient };

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

/** Aborted when the lock is about to be lost; `error` says why. */
export type RedlockAbortSignal = AbortSignal & { error?: Error };

type Routine<T> = (signal: RedlockAbortSignal, context: { readonly fence: number }) => Promise<T>;

const DEFAULTS: Settings = Object.freeze({
  driftFactor: 0.01,
  retryCount: 10,
  retryDelay: 200,
  retryJitter: 100,
  automaticExtensionThreshold: 500,
});

/** A node that lost its memory stays out for so long at least, or for the longest duration that was really asked for, up to a day. */
const USUAL_TTL_MS_MAX = 60_000;
/** As good as for ever. */
const TTL_MS_MAX = 2 ** 52;
/** No lock is shorter on the nodes. Its own `expiration` is as was asked. */
const TTL_MS_MIN = 500;

export class Redlock extends EventEmitter {
  static readonly Lock: typeof Lock = Lock;
  /** Its name in redlock 4. */
  static readonly LockError: typeof ExecutionError = ExecutionError;

  readonly clients: Set<RedlockClient>;
  readonly settings: Settings;
  readonly #extra: HoldfastSettings;
  readonly #reports = new Reports();
  readonly #locker: Locker;
  readonly #routines = new Set<Promise<void>>();
  #isOver = false;

  /**
   * `clients`: ioredis clients of independent servers; each is duplicated, and the duplicates end with `quit()` or with the last of them.
   * `scripts`, which redlock takes, would change what a lock is: refused.
   */
  constructor(
    clients: Iterable<RedlockClient>,
    settings: Partial<Settings> & { readonly holdfast?: HoldfastSettings } = {},
    scripts: object = {},
  ) {
    super();
    this.on("error", () => {}); // As in redlock: faults of a minority are for those who listen, and crash nobody.
    this.clients = new Set(clients);
    if (this.clients.size === 0)
      throw new ConfigError("Redlock must be instantiated with at least one redis client.");
    const custom = [
      ...Object.keys(scripts),
      ...Object.keys(settings).filter((name) => name.endsWith("Script")),
    ];
    if (custom.length > 0)
      throw new ConfigError(
        `scripts of your own (${custom.join(", ")}) cannot be used: the nodes' rules are in them`,
      );
    const { holdfast = {}, ...redlockSettings } = settings;
    this.settings = { ...DEFAULTS, ...defined(redlockSettings) };
    this.#extra = holdfast;
    this.#locker = createLocker(this.#options()); // Connects now, and refuses now what cannot work.
    this.#watchTheirEnds();
  }

  /** Takes all resources, or none, for `duration` ms. Rejects with an `ExecutionError` after the last attempt. */
  async acquire(
    resources: string | readonly string[],
    duration: number,
    settings: Partial<Settings> = {},
  ): Promise<Lock> {
    checkDuration(duration);
    const keys = typeof resources === "string" ? [resources] : resources;
    const terms = { ...this.settings, ...defined(settings) };
    try {
      const locker = this.#openLocker();
      const lease = await locker.acquire(keys, { ttlMs: ttlOf(duration), ...waitingOf(terms) });
      return this.#lockOf(lease, duration);
    } catch (error) {
      await this.#undone(keys);
      throw executionErrorOf(error, keys, [...this.clients], triesOf(terms));
    }
  }

  /** Gives it back. Rejects with an `ExecutionError` where it had expired, or where no quorum confirmed it. */
  release(lock: Lock, callback?: Callback<ExecutionResult> | Partial<Settings>): Promise<ExecutionResult> {
    return nodeified(lock.giveBack(), callback);
  }

  /** Makes it valid for `duration` ms from now, never for less than it was. Answers with a new lock; the old one has expired. */
  extend(lock: Lock, duration: number, callback?: Callback<Lock> | Partial<Settings>): Promise<Lock> {
    return nodeified(this.#extend(lock, duration), callback);
  }

  /**
   * Runs `routine` under a lock that is extended by itself. Rejects with what the routine threw, or with an `ExecutionError` where the lock
   * was lost on the way, whatever the routine answered.
   */
  using<T>(resources: string | readonly string[], duration: number, routine: Routine<T>): Promise<T>;
  using<T>(
    resources: string | readonly string[],
    duration: number,
    settings: Partial<Settings>,
    routine: Routine<T>,
  ): Promise<T>;
  async using<T>(
    resources: string | readonly string[],
    duration: number,
    settingsOrRoutine: Partial<Settings> | Routine<T>,
    maybeRoutine?: Routine<T>,
  ): Promise<T> {
    checkDuration(duration);
    const routine = typeof settingsOrRoutine === "function" ? settingsOrRoutine : maybeRoutine;
    if (typeof routine !== "function") throw new OptionRangeError("routine", "be a function", routine);
    const keys = typeof resources === "string" ? [resources] : resources;
    const settings = typeof settingsOrRoutine === "function" ? {} : settingsOrRoutine;
    const terms = { ...this.settings, ...defined(settings) };
    const options = { ttlMs: ttlOf(duration), ...waitingOf(terms) };
    let outcome: { readonly value: T } | { readonly thrown: unknown } | undefined;
    try {
      const work = this.#openLocker().using(keys, options, async (lease) => {
        void this.#tellFaults(lease);
        outcome = await settledAs(() => routine(withError(lease.signal), { fence: lease.fence }));
      });
      await this.#noted(work);
    } catch (error) {
      if (outcome === undefined || "value" in outcome)
        throw executionErrorOf(error, keys, [...this.clients], triesOf(terms));
    }
    if (outcome === undefined) throw new Error("the routine did not run");
    if ("thrown" in outcome) throw outcome.thrown;
    return outcome.value;
  }

  /**
   * Ends the connections, the given clients' too, once the routines of `using` have settled: their signals abort at once, and their locks are
   * given back behind them. Locks of `acquire` that were not released stay until they expire, as with redlock.
   */
  async quit(): Promise<void> {
    this.#isOver = true;
    await this.#close();
    await Promise.all([...this.clients].map(async (client) => client.quit?.()));
  }

  /** redlock 4. */
  lock(resource: string | readonly string[], ttl: number, callback?: Callback<Lock>): Promise<Lock> {
    return nodeified(this.acquire(resource, ttl), callback);
  }

  /** redlock 4. */
  acquireWithOptions(
    resource: string | readonly string[],
    ttl: number,
    options: Partial<Settings>,
    callback?: Callback<Lock>,
  ): Promise<Lock> {
    return nodeified(this.acquire(resource, ttl, options), callback);
  }

  /** redlock 4. */
  lockWithOptions(
    resource: string | readonly string[],
    ttl: number,
    options: Partial<Settings>,
    callback?: Callback<Lock>,
  ): Promise<Lock> {
    return this.acquireWithOptions(resource, ttl, options, callback);
  }

  /** redlock 4. */
  unlock(lock: Lock, callback?: Callback<ExecutionResult>): Promise<ExecutionResult> {
    return nodeified(lock.giveBack(), callback);
  }

  async #extend(lock: Lock, duration: number): Promise<Lock> {
    checkDuration(duration);
    if (lock.expiration < wallMs()) throw new ExecutionError("Cannot extend an already-expired lock.", []);
    try {
      await lock.lease.extend(ttlOf(duration));
    } catch (error) {
      throw executionErrorOf(error, lock.resources, [...this.clients]);
    }
    lock.expiration = 0;
    return this.#lockOf(lock.lease, duration);
  }

  #lockOf(lease: Lease, duration: number): Lock {
    return new Lock(this, lease, duration, this.#tellFaults(lease));
  }

  /** Of nodes that could not vote, once for each lock: what redlock emits as errors. That others hold a lock is none. */
  #tellFaults(lease: Lease): readonly Promise<ExecutionStats>[] {
    const stats = statsOf(this.#reports.take(lease.holder), lease.keys, [...this.clients]);
    for (const error of stats.votesAgainst.values()) {
      this.emit("error", error);
      this.emit("clientError", error);
    }
    return [Promise.resolve(stats)];
  }

  /** As in redlock, a failed acquire has left the nodes when it is told: what is asked now is answered behind the releases of its votes. */
  async #undone([key]: readonly string[]): Promise<void> {
    if (key !== undefined) await this.#locker.inspect(key).catch(() => {});
  }

  #openLocker(): Locker {
    if (this.#isOver) throw new LockerClosedError();
    return this.#locker;
  }

  #options(): LockerOptions {
    const { observer, maxTtlMs: usualMs = USUAL_TTL_MS_MAX, ...extra } = this.#extra;
    const isSingle = this.clients.size === 1;
    return {
      mode: isSingle ? "single" : "quorum",
      nodes: [...this.clients],
      ttlMs: Math.min(USUAL_TTL_MS, usualMs),
      maxTtlMs: TTL_MS_MAX,
      quarantineTtlMs: usualMs,
      driftFactor: this.settings.driftFactor,
      // Any duration goes in redlock, and a window costs 4.5 times itself of each.
      clockWindowMs: 0,
      restartGuard: isSingle ? "trust" : "first-use",
      ...extra,
      observer: (event: HoldfastEvent) => {
        this.#reports.hear(event);
        observer?.(event);
      },
    };
  }

  /** Programs that only ever end their own clients must be able to exit. */
  #watchTheirEnds(): void {
    let left = this.clients.size;
    for (const client of this.clients)
      client.once?.("end", () => {
        if (--left > 0) return;
        this.#isOver = true;
        void this.#close();
      });
  }

  /** Remembers the work of a routine until it has settled. */
  async #noted(work: Promise<void>): Promise<void> {
    this.#routines.add(work);
    try {
      await work;
    } finally {
      this.#routines.delete(work);
    }
  }

  async #close(): Promise<void> {
    const closed = this.#locker.close();
    await Promise.race([closed, Promise.allSettled(this.#routines)]);
    await this.#locker.close({ withinMs: 0 });
  }
}

export default Redlock;

const USUAL_TTL_MS = 10_000;

function ttlOf(duration: number): number {
  return Math.max(TTL_MS_MIN, duration);
}

function checkDuration(duration: number): void {
  if (!Number.isInteger(duration)) throw new FractionalDurationError("duration", "be an integer", duration);
  if (duration < 1 || duration > TTL_MS_MAX)
    throw new OptionRangeError("duration", `be an integer from 1 to ${TTL_MS_MAX} in milliseconds`, duration);
}

/** In redlock's own words, which its users may compare with. */
class FractionalDurationError extends OptionRangeError {
  override readonly message = "Duration must be an integer value in milliseconds.";
}

/** How many tries redlock makes; without an end there is no number to tell. */
function triesOf({ retryCount }: Settings): number {
  return Math.max(0, retryCount) + 1;
}

/** As long as redlock's attempts would take; the delays between them are for when nobody tells of a release. */
function waitingOf({ retryCount, retryDelay, retryJitter }: Settings): {
  readonly waitMs: number;
  readonly retry: { retryCount: number; retryDelay: number; retryJitter: number };
} {
  const waitMs = retryCount < 0 ? Infinity : retryCount * (retryDelay + retryJitter / 2);
  return { waitMs, retry: { retryCount: -1, retryDelay, retryJitter } };
}

/** What is given as undefined does not hide a default. */
function defined<T extends object>(settings: T): Partial<T> {
  return Object.fromEntries(
    Object.entries(settings).filter(([, value]) => value !== undefined),
  ) as Partial<T>;
}

async function settledAs<T>(
  run: () => Promise<T>,
): Promise<{ readonly value: T } | { readonly thrown: unknown }> {
  try {
    return { value: await run() };
  } catch (thrown) {
    return { thrown };
  }
}

/** redlock has the reason of an abort in `error`. */
function withError(signal: AbortSignal): RedlockAbortSignal {
  return Object.defineProperty(signal, "error", {
    configurable: true,
    get: () => (signal.aborted ? (signal.reason as Error) : undefined),
  });
}

export type { RedisClient };
