/**
 * `holdfast/redlock`: the shape of redlock 5, with the names of redlock 4 beside it, over this library's locks. One import is changed and
 * existing code runs; clients of both packages exclude each other on the same servers. What differs is in docs/migrating.md.
 */
import { EventEmitter } from "node:events";

import { systemEntropy } from "../clock/entropy.ts";
import { pause, wallMs } from "../clock/machine-clocks.ts";
import { ConfigError, LockerClosedError, OptionRangeError, QuorumUnreachableError } from "../errors.ts";
import type { Lease } from "../lease/lease.ts";
import { createLocker } from "../locker.ts";
import type { RedisClient } from "../node/connection.ts";
import type { LockerOptions } from "../options/options.ts";
import { type Callback, nodeified } from "./callbacks.ts";
import {
  ExecutionError,
  type ExecutionResult,
  executionErrorOf,
  type ExecutionStats,
  isOutcome,
  type RedlockClient,
  reportsIn,
  ResourceLockedError,
  statsOf,
  statsOfEnded,
  statsOfRelease,
  statsOnceSaid,
  statsSeen,
} from "./errors.ts";
import { Lock } from "./lock.ts";
import {
  checkDuration,
  type HoldfastSettings,
  pauseMs,
  type Settings,
  settingsOf,
  TTL_MS_MAX,
  triesOf,
  ttlOf,
  waitingOf,
} from "./settings.ts";
import { SharedLocker } from "./shared-locker.ts";

export { ExecutionError, Lock, ResourceLockedError };
export type { Callback, ExecutionResult, ExecutionStats, HoldfastSettings, RedlockClient, Settings };

/** Aborted when the lock is about to be lost; `error` says why. */
export type RedlockAbortSignal = AbortSignal & { error?: Error };

/** What a routine is told of its lock, as in @sesamecare-oss/redlock. */
export interface RedlockUsingContext {
  /** As it is now: another one after each extension. */
  readonly lock: Lock;
  /** How often it has been extended. */
  readonly extensions: number;
  /** The fencing token, which never changes. */
  readonly fence: number;
}

type Routine<T> = (signal: RedlockAbortSignal, context: RedlockUsingContext) => Promise<T>;

/** A node that lost its memory stays out for so long at least, or for the longest duration that was really asked for, up to a day. */
const USUAL_TTL_MS_MAX = 60_000;
const USUAL_TTL_MS = 10_000;

export class Redlock extends EventEmitter {
  static readonly Lock: typeof Lock = Lock;
  /** Its name in redlock 4. */
  static readonly LockError: typeof ExecutionError = ExecutionError;

  readonly clients: Set<RedlockClient>;
  readonly settings: Settings;
  readonly #shared: SharedLocker;
  #hasQuit = false;

  /**
   * `clients`: ioredis clients of independent servers; each is duplicated, and the duplicates end with `quit()` or with the last of them.
   * Instances over the same clients share the duplicates, unless they have settings for this library. `scripts`, which redlock takes, would
   * change what a lock is: refused.
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
    refuseScripts(settings, scripts);
    this.settings = settingsOf(settings);
    const { holdfast } = settings;
    const { driftFactor, db } = this.settings;
    const likeness = holdfast === undefined ? JSON.stringify([driftFactor, db]) : undefined;
    // Connects now, and refuses now what cannot work.
    this.#shared = SharedLocker.over([...this.clients], likeness, () =>
      createLocker(optionsOf([...this.clients], this.settings, holdfast)),
    );
  }

  /** Takes all resources, or none, for `duration` ms. Rejects with an `ExecutionError` after the last attempt. */
  acquire(
    resources: string | readonly string[],
    duration: number,
    settings?: Partial<Settings> | Callback<Lock>,
  ): Promise<Lock> {
    return nodeified(
      this.#acquire(resources, duration, typeof settings === "function" ? undefined : settings),
      settings,
    );
  }

  /** Gives it back. Rejects with an `ExecutionError` where it had expired or was released before, or where no quorum confirmed it. */
  release(lock: Lock, callback?: Callback<ExecutionResult> | Partial<Settings>): Promise<ExecutionResult> {
    return nodeified(this.#release(lock), callback);
  }

  /**
   * Makes it valid for `duration` ms from now, never for less than it was. Answers with a new lock; the old one has expired. Where too few nodes
   * answer, it is tried again as the settings say, as long as the lock is valid.
   */
  extend(lock: Lock, duration: number, settings?: Callback<Lock> | Partial<Settings>): Promise<Lock> {
    return nodeified(
      this.#extend(lock, duration, typeof settings === "function" ? undefined : settings),
      settings,
    );
  }

  /**
   * Runs `routine` under a lock that is extended by itself. Rejects with what the routine threw, or with an `ExecutionError` where the lock
   * was lost on the way, whatever the routine answered.
   */
  using<T>(resources: string | readonly string[], duration: number, routine: Routine<T>): Promise<T>;
  using<T>(
    resources: string | readonly string[],
    duration: number,
    settings: Partial<Settings> | undefined,
    routine: Routine<T>,
  ): Promise<T>;
  async using<T>(
    resources: string | readonly string[],
    duration: number,
    settingsOrRoutine: Partial<Settings> | Routine<T> | undefined,
    maybeRoutine?: Routine<T>,
  ): Promise<T> {
    checkDuration(duration);
    const routine = typeof settingsOrRoutine === "function" ? settingsOrRoutine : maybeRoutine;
    if (typeof routine !== "function") throw new OptionRangeError("routine", "be a function", routine);
    const keys = keysOf(resources);
    const given = typeof settingsOrRoutine === "function" ? undefined : settingsOrRoutine;
    const terms = settingsOf(given, this.settings);
    const options = { ttlMs: ttlOf(duration), ...waitingOf(terms) };
    let outcome: { readonly value: T } | { readonly thrown: unknown } | undefined;
    await this.#attempted(keys, terms, async () => {
      const work = this.#openLocker().using(keys, options, async (lease) => {
        const context = new UsingContext(lease, () => this.#lockOf(lease, duration, terms));
        outcome = await settledAs(() => routine(withError(lease.signal), context));
      });
      await this.#shared.working(work);
    }).catch((error: unknown) => {
      // The routine's own error goes first.
      if (outcome === undefined || "value" in outcome) throw error;
    });
    if (outcome === undefined) throw new Error("the routine did not run");
    if ("thrown" in outcome) throw outcome.thrown;
    return outcome.value;
  }

  /**
   * Ends the connections, the given clients' too, once the routines of `using` have settled: their signals abort at once, and their locks are
   * given back behind them. Locks of `acquire` that were not released stay until they expire, as with redlock.
   */
  quit(callback?: Callback<void>): Promise<void> {
    return nodeified(this.#quit(), callback);
  }

  /** redlock 4. */
  lock(resource: string | readonly string[], ttl: number, callback?: Callback<Lock>): Promise<Lock> {
    return nodeified(this.#acquire(resource, ttl), callback);
  }

  /** redlock 4. */
  acquireWithOptions(
    resource: string | readonly string[],
    ttl: number,
    options: Partial<Settings>,
    callback?: Callback<Lock>,
  ): Promise<Lock> {
    return nodeified(this.#acquire(resource, ttl, options), callback);
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
    return this.release(lock, callback);
  }

  async #acquire(
    resources: string | readonly string[],
    duration: number,
    settings?: Partial<Settings>,
  ): Promise<Lock> {
    checkDuration(duration);
    const keys = keysOf(resources);
    const terms = settingsOf(settings, this.settings);
    const options = { ttlMs: ttlOf(duration), ...waitingOf(terms) };
    const lease = await this.#attempted(keys, terms, () => this.#openLocker().acquire(keys, options));
    return this.#lockOf(lease, duration, terms);
  }

  async #release(lock: Lock): Promise<ExecutionResult> {
    const { lease, resources } = checkedLock(lock);
    const start = wallMs();
    lock.expiration = 0;
    if (lease.isOver) throw new ExecutionError(`${NOT_RELEASED}: it was released before.`, []);
    const names = this.#shared.names;
    const report = await this.#shared.during(() => lease.release());
    const attempts = [Promise.resolve(statsOfRelease(report, names, resources, [...this.clients]))] as const;
    if (report.outcome === "released") return { attempts, start };
    const why =
      report.outcome === "expired"
        ? "the lock had expired before"
        : `no quorum of nodes confirmed it: ${report.uncertain.join(", ")}`;
    throw new ExecutionError(`${NOT_RELEASED}: ${why}.`, attempts);
  }

  async #extend(lock: Lock, duration: number, settings?: Partial<Settings>): Promise<Lock> {
    checkDuration(duration);
    const { lease } = checkedLock(lock);
    const terms = settingsOf(settings, this.settings);
    if (lock.expiration < wallMs()) throw new ExecutionError("Cannot extend an already-expired lock.", []);
    const failed = await this.#shared.during(() => this.#extendInTries(lease, duration, terms));
    lock.expiration = 0;
    return this.#lockOf(lease, duration, terms, failed);
  }

  /** What the tries before the one that succeeded came to. */
  async #extendInTries(lease: Lease, duration: number, terms: Settings): Promise<ExecutionStats[]> {
    const failed: ExecutionStats[] = [];
    for (let left = terms.retryCount; ; left--) {
      try {
        await lease.extend(ttlOf(duration));
        return failed;
      } catch (error) {
        if (!isOutcome(error)) throw error;
        const stats = statsOf(reportsIn(error), lease.keys, [...this.clients]);
        failed.push(stats);
        this.#tellFaults(stats);
        const mayTryAgain = error instanceof QuorumUnreachableError && left !== 0;
        if (!mayTryAgain) throw executionErrorOf(error, failed);
      }
      await pause(pauseMs(terms, systemEntropy.random()));
    }
  }

  async #quit(): Promise<void> {
    this.#hasQuit = true;
    await this.#shared.close();
    await Promise.all([...this.clients].map(async (client) => client.quit?.()));
  }

  #openLocker(): ReturnType<typeof createLocker> {
    if (this.#hasQuit) throw new LockerClosedError();
    return this.#shared.locker;
  }

  /** `ask`, whose failure becomes redlock's: one entry for each of its tries. */
  async #attempted<T>(keys: readonly string[], terms: Settings, ask: () => Promise<T>): Promise<T> {
    return this.#shared.during(async () => {
      try {
        return await ask();
      } catch (error) {
        if (!isOutcome(error)) throw error;
        const stats = await this.#statsOf(error, keys);
        this.#tellFaults(stats);
        // Who stands in line asks more seldom than redlock does and is told instead: every entry has what was known in the end.
        throw executionErrorOf(error, Array<ExecutionStats>(triesOf(terms)).fill(stats));
      }
    });
  }

  /**
   * What the nodes said; where the call waited behind others of this process, they are asked now. As in redlock, a failed acquire has left the
   * nodes when it is told: what is asked now is answered behind the releases of its votes.
   */
  async #statsOf(error: Error, keys: readonly string[]): Promise<ExecutionStats> {
    const clients = [...this.clients];
    let locker;
    try {
      locker = this.#openLocker();
    } catch {
      return statsOfEnded(clients);
    }
    const seen = await Promise.all(keys.map((key) => locker.inspect(key))).catch(() => []);
    const reports = reportsIn(error);
    return reports.length > 0 ? statsOf(reports, keys, clients) : statsSeen(seen, clients);
  }

  /** `failed`: what the tries before came to. */
  #lockOf(lease: Lease, duration: number, { driftFactor }: Settings, failed: ExecutionStats[] = []): Lock {
    const said = statsOnceSaid(lease.said, lease.keys, [...this.clients]);
    void said.then((stats) => this.#tellFaults(stats));
    const attempts = [...failed.map((stats) => Promise.resolve(stats)), said];
    return new Lock(this, lease, { duration, driftFactor, attempts });
  }

  /** Of nodes that could not vote: what redlock emits as errors. That others hold a lock is none. */
  #tellFaults({ votesAgainst }: ExecutionStats): void {
    if (this.#hasQuit) return;
    for (const error of votesAgainst.values()) {
      if (error instanceof ResourceLockedError) continue;
      this.emit("error", error);
      this.emit("clientError", error);
    }
  }
}

export default Redlock;

const NOT_RELEASED = "Unable to fully release the lock";

class UsingContext implements RedlockUsingContext {
  readonly fence: number;
  readonly #lease: Lease;
  readonly #make: () => Lock;
  #lock: Lock;
  #madeAt = 0;

  constructor(lease: Lease, make: () => Lock) {
    this.fence = lease.fence;
    this.#lease = lease;
    this.#make = make;
    this.#lock = make();
  }

  get extensions(): number {
    return this.#lease.extensions;
  }

  get lock(): Lock {
    if (this.#madeAt !== this.extensions) this.#lock = this.#make();
    this.#madeAt = this.extensions;
    return this.#lock;
  }
}

function refuseScripts(settings: object, scripts: object): void {
  const custom = [
    ...Object.keys(scripts),
    ...Object.keys(settings).filter((name) => name.endsWith("Script")),
  ];
  if (custom.length > 0)
    throw new ConfigError(
      `scripts of your own (${custom.join(", ")}) cannot be used: the nodes' rules are in them`,
    );
}

function optionsOf(
  clients: readonly RedlockClient[],
  { driftFactor, db }: Settings,
  { maxTtlMs: usualMs = USUAL_TTL_MS_MAX, ...extra }: HoldfastSettings = {},
): LockerOptions {
  const isSingle = clients.length === 1;
  return {
    mode: isSingle ? "single" : "quorum",
    nodes: db === undefined ? clients : clients.map((client) => inDatabase(client, db)),
    ttlMs: Math.min(USUAL_TTL_MS, usualMs),
    maxTtlMs: TTL_MS_MAX,
    quarantineTtlMs: usualMs,
    driftFactor,
    // Any duration goes in redlock, and a window costs 4.5 times itself of each.
    clockWindowMs: 0,
    restartGuard: isSingle ? "trust" : "first-use",
    ...extra,
  };
}

/** The same client, whose duplicates are in another database. */
function inDatabase(client: RedlockClient, db: number): RedlockClient {
  const duplicate = (override?: object): unknown => client.duplicate({ ...override, db });
  return Object.create(client, { duplicate: { value: duplicate } }) as RedlockClient;
}

function keysOf(resources: string | readonly string[]): readonly string[] {
  return typeof resources === "string" ? [resources] : resources;
}

/** Whoever brings a value and a time instead has nothing that a lease could rest on. */
function checkedLock(lock: Lock): Lock {
  if (!(lock instanceof Lock)) throw new OptionRangeError("lock", "be one that acquire or extend made", lock);
  return lock;
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
