/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The way in: what is asked for is checked, and left to the shard its keys live on. From here an acquire goes through shard, acquirer,
 * wait/turnstile, wait/attempts, grant/grantor, quorum/quorum or single/single, and node/ to the script.
 */
import { setMaxListeners } from "node:events";

import { type Attempt, holderIn, isOthers, ownerOf } from "./attempt.ts";
import { type Instant, Latch, settledOrAborted } from "./clock/clock.ts";
import { SystemClock } from "./clock/system-clock.ts";
import {
  ConfigError,
  DeadlockError,
  LeaseLostError,
  LockerClosedError,
  OptionRangeError,
  QuorumUnreachableError,
  shown,
} from "./errors.ts";
import { type Environment, machine } from "./environment.ts";
import { Events } from "./events.ts";
import {
  type CallKind,
  checkShape,
  checkToken,
  closeWithinMs,
  type Job,
  jobOf,
  NO_OPTIONS,
  nodeKeyOf,
  readyTerms,
} from "./job.ts";
import { Lease, type LeaseToken } from "./lease/lease.ts";
import { type Locks, type NamedLock, NamedLocks, pathOf, Workspace } from "./named-lock.ts";
import type { FleetNodeState } from "./node/lock-node.ts";
import type { Inspection } from "./node/inspection.ts";
import type {
  AcquireOptions,
  CloseOptions,
  InitOptions,
  LockerOptions,
  ReadyOptions,
  UsingOptions,
} from "./options/options.ts";
import { checkKey, flag, namedOptions, resolveOptions, type Settings } from "./options/settings.ts";
import { hashedNames, type HashedName, rendezvous } from "./rendezvous.ts";
import { leasesAround, Reentry } from "./reentry.ts";
import { Shard } from "./shard.ts";

const ACQUIRE: CallKind = { once: false, autoExtend: false, isLong: false };
const ATTEMPT: CallKind = { once: true, autoExtend: false, isLong: false };
const USING: CallKind = { once: false, autoExtend: true, isLong: true };
const NO_CLOSE_OPTIONS: CloseOptions = {};

const INIT_OPTIONS: ReadonlySet<string> = new Set<keyof InitOptions>(["resetFences"]);

/** Makes a locker. Throws `ConfigError` or `OptionRangeError`; connects in the background (see `ready`). */
export function createLocker(options: LockerOptions): Locker {
  return new Locker(options);
}

/** Locks on a quorum of Redis servers, on one, or in this process's memory: the same calls, the same leases. */
export class Locker implements AsyncDisposable, Locks {
  readonly #settings: Settings;
  readonly #clock: SystemClock;
  readonly #events: Events;
  readonly #shards: ReadonlyMap<string, Shard>;
  /** Where there is one shard: nothing has to be computed then. */
  readonly #only: Shard | undefined;
  readonly #names: readonly HashedName[];
  readonly #named = new NamedLocks(this);
  readonly #reentry = new Reentry();
  readonly #closing = new AbortController();
  /** Holders have had the time they were given to stop in. */
  readonly #hurry = new AbortController();
  #closed: Promise<void> | undefined;

  /** @internal See `createLocker`. */
  constructor(options: LockerOptions, environment: Environment = machine) {
    const settings = resolveOptions(options);
    this.#settings = settings;
    // One listener for every waiting acquire: any number of them is no leak.
    setMaxListeners(0, this.#closing.signal, this.#hurry.signal);
    this.#events = new Events(settings.observer);
    this.#clock = new SystemClock(
      environment.clocks(),
      (jumpMs) => this.#events.emit(() => ({ type: "clock-jump", jumpMs })),
      (detail) => this.#events.emit(() => ({ type: "clock-dropped", clock: "boot", detail })),
    );
    this.#shards = this.#createShards(environment);
    this.#names = hashedNames([...this.#shards.keys()]);
    this.#only = this.#shards.size === 1 ? [...this.#shards.values()][0] : undefined;
  }

  /**
   * Acquires one key, or several all or nothing, waiting while others hold them. Rejects with `AcquireTimeoutError` when they are still
   * held after `waitMs`, `QuorumUnreachableError` when too few nodes can vote in time, `QueueFullError` when too many calls of this locker wait
   * already, and with `options.signal`'s reason when it aborts. Calls of one locker for one key are served in the order they came.
   */
  async acquire(keys: string | readonly string[], options: AcquireOptions = NO_OPTIONS): Promise<Lease> {
    const job = jobOf(keys, options, ACQUIRE, this.#settings);
    const began = this.#clock.glance();
    const shard = this.#shardFor(job);
    if (!shard.isOpen) await this.#openedFor(job, shard, began);
    const result = await shard.acquirer.attempt(job, began);
    if (result instanceof Lease) return result;
    throw await shard.refusals.error(result, job, began, leasesAround());
  }

  /**
   * One try, past all who wait in this process: the lease, or undefined when somebody else holds a key. Rejects with
   * `QuorumUnreachableError` when too few nodes can vote in time, since nothing is then known of the key.
   */
  async tryAcquire(
    keys: string | readonly string[],
    options: AcquireOptions = NO_OPTIONS,
  ): Promise<Lease | undefined> {
    const attempt = await this.attempt(keys, options);
    if (attempt.outcome === "unknown") throw attempt.error;
    return attempt.outcome === "acquired" ? attempt.lease : undefined;
  }

  /** As `tryAcquire`, and says whose it is: the lease where it is ours now, the holder where it is not, the error where nobody can know. */
  async attempt(keys: string | readonly string[], options: AcquireOptions = NO_OPTIONS): Promise<Attempt> {
    const job = jobOf(keys, options, ATTEMPT, this.#settings);
    const began = this.#clock.glance();
    const shard = this.#shardFor(job);
    if (!shard.isOpen) await this.#openedFor(job, shard, began);
    const result = await shard.acquirer.attempt(job, began);
    if (result instanceof Lease) return { outcome: "acquired", owner: result.owner, lease: result };
    if (result.kind === "denied" && isOthers(result.denial) && !this.#closing.signal.aborted) {
      const nodes = result.denial.reports();
      shard.refusals.tell(job, "CONTENDED", result.attempts, began, nodes);
      return { outcome: "held", ...holderIn(nodes) };
    }
    const error = await shard.refusals.error(result, job, began);
    if (error instanceof QuorumUnreachableError) return { outcome: "unknown", error };
    throw error;
  }

  /**
   * Acquires, runs `body` with a lease that is extended by itself, and releases. Answers with the body's result only if the lease was
   * never lost; otherwise rejects with `LeaseLostError`, the body's own error as its cause. A failing release never hides anything.
   *
   * Inside a body, `using` of a key it holds waits like anybody else, and in vain where the body waits for it. With `within: lease` it runs
   * at once under that lease and releases nothing, and with `reentrant: true` under the lease of the `using` around it, by the async
   * context; with `DeadlockError` where that holds only some of the keys. Branches that run so side by side do not exclude each other, and
   * the outer lock is given back when all of them have ended.
   */
  using<T>(keys: string | readonly string[], body: (lease: Lease) => T | Promise<T>): Promise<T>;
  using<T>(
    keys: string | readonly string[],
    options: UsingOptions,
    body: (lease: Lease) => T | Promise<T>,
  ): Promise<T>;
  async using<T>(
    keys: string | readonly string[],
    optionsOrBody: UsingOptions | ((lease: Lease) => T | Promise<T>),
    maybeBody?: (lease: Lease) => T | Promise<T>,
  ): Promise<T> {
    const body = typeof optionsOrBody === "function" ? optionsOrBody : maybeBody;
    const options: UsingOptions = typeof optionsOrBody === "function" ? NO_OPTIONS : optionsOrBody;
    if (typeof body !== "function") throw new OptionRangeError("body", "be a function", body);
    const job = jobOf(keys, options, USING, this.#settings);
    const { nodeKeys } = job;
    const outer = this.#outerLease(job, options);
    if (outer !== undefined)
      return workWithin(outer, () => this.#reentry.run(nodeKeys, outer, () => body(outer)));
    const began = this.#clock.glance();
    const shard = this.#shardFor(job);
    if (!shard.isOpen) await this.#openedFor(job, shard, began);
    const result = await shard.acquirer.attempt(job, began);
    if (!(result instanceof Lease)) throw await shard.refusals.error(result, job, began, leasesAround());
    return workUnder(result, () => this.#reentry.run(nodeKeys, result, () => body(result)));
  }

  /**
   * How many `using` of this key the present async context is in; 0 outside. Tells where the present code was started from, which with
   * queues and event emitters may be the body of a stranger: for logs and tests, not for decisions.
   */
  depth(key: string): number {
    return this.#reentry.depth(nodeKeyOf(key, this.#settings));
  }

  /**
   * Goes on with a lease that another process let go of (`lease.detach`): the same holder value, the same fence. Any lock whose holder
   * value is known can be taken over so, which is for a holder that is surely dead. Rejects with `LeaseLostError` where a quorum of nodes
   * is without it, and with `QuorumUnreachableError` where too few nodes say that they hold it, or say it so late that less than
   * `minValidityMs` is left: the token is good as before then, and can be tried again until the ttl is over.
   */
  async adopt(token: LeaseToken, options: AcquireOptions = NO_OPTIONS): Promise<Lease> {
    const { keys, holder, fence, proposal, ttlMs } = checkToken(token);
    const given = checkShape(options);
    const owner = holder.includes("#") ? ownerOf(holder) : given.owner;
    const job = jobOf(keys, { ...given, ttlMs: given.ttlMs ?? ttlMs, owner }, ATTEMPT, this.#settings);
    const began = this.#clock.glance();
    const shard = this.#shardFor(job);
    if (!shard.isOpen) await this.#openedFor(job, shard, began);
    return shard.acquirer.adopt(job, { keys: job.nodeKeys, holder, fence, largestProposal: proposal }, began);
  }

  /** The lock of this name, to pass around: one instance for a name, as long as somebody has it. Its key is the name. */
  lock(name: string): NamedLock {
    checkKey(name, this.#settings.nodePrefixes);
    return this.#named.get(name);
  }

  /** All named locks that somebody has. */
  locks(): readonly NamedLock[] {
    return this.#named.all();
  }

  /**
   * The same calls for one tenant, with `<name>:` before every key; `:` and `%` in the name are written `%3A` and `%25`, so that no two
   * workspaces share a lock. A workspace of a workspace has `<name>%/<name>:`.
   */
  workspace(name: string): Locks {
    return new Workspace(this, pathOf(name));
  }

  /** Every lease of this locker that was neither lost nor released. */
  leases(): readonly Lease[] {
    return [...this.#shards.values()].flatMap(({ acquirer }) => acquirer.leases());
  }

  /** Who holds the key, on each node, with the node's own state: for people and for `doctor`s, never for decisions. */
  async inspect(key: string): Promise<Inspection> {
    this.#refuseClosed();
    const nodeKey = nodeKeyOf(key, this.#settings);
    const shard = this.#shardOf([nodeKey]);
    await shard.opened();
    this.#refuseClosed();
    return shard.inspect(key, nodeKey);
  }

  /** The name of the shard a key lives on; undefined where there are none. */
  shardOf(key: string): string | undefined {
    return this.#shardOf([nodeKeyOf(key, this.#settings)]).name || undefined;
  }

  /**
   * Declares that no lock is outstanding on these nodes, so that none has to be waited for: ends all quarantines. To be called once
   * when a fleet is first set up; while locks are held it breaks their exclusion. Answers with the state of every node.
   *
   * `resetFences`: clocks that were ahead and are set right leave fences in the future, and no lock of their keys can be acquired before that.
   * They are brought back to the present. Later fences are then smaller than those that were handed out: a resource that has seen one of these
   * refuses every write until it is told to forget it.
   */
  async init(options: InitOptions = {}): Promise<readonly FleetNodeState[]> {
    const resetsFences = flag("resetFences", namedOptions(options, INIT_OPTIONS)["resetFences"], false);
    this.#refuseClosed();
    if (this.#settings.readOnly) throw new ConfigError("init needs a locker without the option readOnly");
    const fleets = [...this.#shards.values()].map(({ fleet }) => fleet);
    const states = await Promise.all(fleets.map((fleet) => fleet.init(resetsFences)));
    for (const fleet of fleets) {
      const fault = fleet.misconfigured();
      if (fault !== undefined) throw fault;
    }
    return states.flat();
  }

  /**
   * Settles when a quorum of nodes may vote, on every shard, quarantines included. Rejects with `QuorumUnreachableError`, which says what is
   * known of each node, after `timeoutMs`; and at once where so many nodes wait for an operator (a wrong password, a server in cluster
   * mode) that no time will bring a quorum.
   */
  async ready(options: ReadyOptions = {}): Promise<void> {
    const { timeoutMs, signal } = readyTerms(options, this.#settings);
    this.#refuseClosed();
    const ended = new Latch(this.#clock, Infinity);
    const closing = settledOrAborted(ended, [this.#closing.signal]);
    const shards = [...this.#shards.values()].map((shard) => shard.ready(timeoutMs, signal));
    try {
      await Promise.race([closing, Promise.all(shards)]);
    } finally {
      ended.settle();
    }
    this.#refuseClosed();
  }

  /** The state of every node, as this client knows it now. */
  nodes(): readonly FleetNodeState[] {
    return [...this.#shards.values()].flatMap(({ fleet }) => fleet.state());
  }

  /**
   * Ends waiting acquires and tells all holders at once: the signals of their leases abort with a `LeaseLostError` (`closed`). Then waits
   * until they have given their locks back, `using` when its body has settled and other leases by `release`, at the latest until the
   * validities they have end, since nothing is extended any more; and closes connections and timers. With `withinMs` it waits no longer
   * than that: locks that are still held then are left to their ttl, and nobody gets in beside their holders. Where a holder itself waits
   * for `close`, only the end of the validity ends that, or `withinMs`.
   *
   * Rejects only where `withinMs` is out of its range. Safe to call twice: the earliest end counts.
   */
  async close(options: CloseOptions = NO_CLOSE_OPTIONS): Promise<void> {
    const withinMs = closeWithinMs(options);
    this.#closed ??= this.#close();
    const patience = new Latch(this.#clock, withinMs);
    void patience.settled.then(() => this.#hurry.abort());
    await this.#closed;
    patience.settle();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...this.#shards.values()].map((shard) => shard.close(this.#hurry.signal)));
    this.#clock.close();
  }

  #createShards({ entropy, memory, warnOfQuarantine }: Environment): Map<string, Shard> {
    const settings = this.#settings;
    const context = {
      settings,
      entropy,
      clock: this.#clock,
      events: this.#events,
      closing: this.#closing.signal,
      memory,
      warnOfQuarantine,
    };
    const shards = new Map<string, Shard>();
    try {
      for (const each of settings.shards) shards.set(each.name, new Shard(each, context));
      refuseTwins(shards.values());
      return shards;
    } catch (error) {
      for (const shard of shards.values()) void shard.close(this.#hurry.signal);
      this.#clock.close();
      throw error;
    }
  }

  /** The lease the call was told to go on under, if it was. */
  #outerLease(job: Job, { within, reentrant = this.#settings.reentrant }: UsingOptions): Lease | undefined {
    const outer =
      within === undefined ? (reentrant ? this.#leaseAround(job) : undefined) : this.#given(within, job);
    if (outer === undefined) return undefined;
    const loss = outer.loss();
    if (loss !== undefined) throw loss;
    if (outer.isOver) throw new LeaseLostError(outer, "released");
    job.signal?.throwIfAborted();
    return outer;
  }

  /** The lease of the `using` around the present code that holds all of these keys, if there is one. */
  #leaseAround({ keys, nodeKeys }: Job): Lease | undefined {
    const found = this.#reentry.find(nodeKeys);
    if (found instanceof Lease) return found;
    if (found.length > 0) throw new DeadlockError(keys, this.#namesOf(found));
    return undefined;
  }

  /** `within`, which must hold all of the keys. */
  #given(within: unknown, { keys, nodeKeys }: Job): Lease {
    const isOurs =
      within instanceof Lease && [...this.#shards.values()].some(({ acquirer }) => acquirer.hasMade(within));
    if (!isOurs) throw new ConfigError(`within must be a lease of this locker, got ${shown(within)}`);
    const held = within.held(nodeKeys);
    if (held.length === nodeKeys.length) return within;
    if (held.length > 0) throw new DeadlockError(keys, this.#namesOf(held));
    throw new OptionRangeError("within", `hold ${keys.map((key) => shown(key)).join(", ")}`, within.key);
  }

  /** Keys as they were asked for. */
  #namesOf(nodeKeys: readonly string[]): readonly string[] {
    return nodeKeys.map((key) => key.slice(this.#settings.keyPrefix.length));
  }

  /** The one all keys live on: a lock of several keys is all or nothing, which two quorums cannot be together. */
  #shardOf(nodeKeys: readonly string[]): Shard {
    if (this.#only !== undefined) return this.#only;
    const homes = nodeKeys.map((key) => rendezvous(key, this.#names)?.name ?? "");
    const [home = ""] = homes;
    const strayed = homes.findIndex((each) => each !== home);
    const shard = this.#shards.get(home);
    if (strayed < 0 && shard !== undefined) return shard;
    const rule = `live on one shard (${shown(nodeKeys[0])} on ${home}, ${shown(nodeKeys[strayed])} on ${homes[strayed] ?? "none"}); a common {tag} in them keeps keys together`;
    throw new OptionRangeError("keys", rule, nodeKeys.length);
  }

  /** Where a call goes that may go on. */
  #shardFor({ nodeKeys, signal }: Job): Shard {
    this.#refuseClosed();
    signal?.throwIfAborted();
    return this.#shardOf(nodeKeys);
  }

  async #openedFor(job: Job, shard: Shard, began: Instant): Promise<void> {
    const { waitMs, signal } = job;
    await shard.opened(began + waitMs, signal);
    const isClosing = this.#closing.signal.aborted;
    if (!isClosing && signal?.aborted !== true) return;
    const error: unknown = isClosing ? new LockerClosedError() : signal?.reason;
    throw await shard.refusals.error({ kind: "given-up", error }, job, began);
  }

  #refuseClosed(): void {
    if (this.#closing.signal.aborted) throw new LockerClosedError();
  }
}

/** Work under a lease of its own, which is given back when all bodies under it have ended. */
async function workUnder<T>(lease: Lease, body: () => Promise<T>): Promise<T> {
  let outcome: Outcome<T>;
  try {
    outcome = { value: await body() };
  } catch (error) {
    outcome = { error };
  }
  for (let others = lease.vacated(); others !== undefined; others = lease.vacated()) await others;
  const loss = lease.lossOfWork();
  await lease.release();
  return resultOf(outcome, loss);
}

/** Work under a lease that somebody else gives back: where that came first, the work was not covered to its end. */
async function workWithin<T>(lease: Lease, body: () => Promise<T>): Promise<T> {
  let outcome: Outcome<T>;
  lease.enter();
  try {
    outcome = { value: await body() };
  } catch (error) {
    outcome = { error };
  }
  const loss = lease.lossOfWork() ?? (lease.isOver ? new LeaseLostError(lease, "released") : undefined);
  lease.leave();
  return resultOf(outcome, loss);
}

type Outcome<T> = { readonly value: T } | { readonly error: unknown };

function resultOf<T>(outcome: Outcome<T>, loss: LeaseLostError | undefined): T {
  if (loss !== undefined)
    throw "error" in outcome && outcome.error !== loss ? causedBy(loss, outcome.error) : loss;
  if ("error" in outcome) throw outcome.error;
  return outcome.value;
}

function causedBy(loss: LeaseLostError, cause: unknown): LeaseLostError {
  return new LeaseLostError(loss, loss.lossCause, loss.nodes, { cause });
}

function refuseTwins(shards: Iterable<Shard>): void {
  const homes = new Map<string, string>();
  for (const { name, fleet } of shards) {
    for (const node of fleet.nodes) {
      const other = homes.get(node.name);
      if (other !== undefined)
        throw new ConfigError(
          `shards: ${node.name} is in ${shown(other)} and in ${shown(name)}; shards share no server`,
        );
      homes.set(node.name, name);
    }
  }
}
