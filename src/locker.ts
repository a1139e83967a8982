/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The one place that knows the modes, and the way in: what is asked for is checked, and left to the acquirer. From here an acquire goes
 * through acquirer, wait/turnstile, wait/attempts, grant/grantor, quorum/quorum or single/single, and node/ to the script.
 */
import { setMaxListeners } from "node:events";

import { Acquirer, type Job } from "./acquirer.ts";
import { type Clock, Latch } from "./clock/clock.ts";
import { NodeTime } from "./clock/node-time.ts";
import { processMicros, SystemClock } from "./clock/system-clock.ts";
import { leadMs, validityMs } from "./clock/validity.ts";
import type { Electorate } from "./electorate.ts";
import { LeaseLostError, LockerClosedError, OptionRangeError } from "./errors.ts";
import { type Environment, machine } from "./environment.ts";
import { Events } from "./events.ts";
import { ProtocolGrantor } from "./grant/grantor.ts";
import { Proposals } from "./grant/proposals.ts";
import { Slots } from "./grant/slots.ts";
import { Lease } from "./lease/lease.ts";
import { RedisFleet } from "./node/fleet.ts";
import type { Fleet, FleetNodeState } from "./node/lock-node.ts";
import { MemoryFleet, MemoryNode } from "./node/memory-node.ts";
import { inspectAll, type Inspection } from "./node/inspection.ts";
import {
  checkKeys,
  checkOwner,
  checkTtl,
  type LockerOptions,
  resolveOptions,
  type Settings,
} from "./options.ts";
import { Quorum } from "./quorum/quorum.ts";
import { quorumOf } from "./quorum/tally.ts";
import { Single } from "./single/single.ts";
import { retrying, type RetryStrategy } from "./wait/retry.ts";

/** Options of one acquire. Times are in milliseconds; what is left out comes from the locker. */
export interface AcquireOptions {
  /** 500 … the locker's `maxTtlMs`. */
  readonly ttlMs?: number | undefined;
  /** How long to wait while others hold it. At least 0, which still makes one attempt. `tryAcquire` does not wait. */
  readonly waitMs?: number | undefined;
  /** Gives up with the signal's reason, at any moment; nothing is left behind. */
  readonly signal?: AbortSignal | undefined;
  readonly owner?: string | undefined;
  /** Extend by itself until released. Default true in `using`, false in `acquire` and `tryAcquire`. */
  readonly autoExtend?: boolean | undefined;
  /** The lease ends after this time whatever is extended. Above 0; default no limit. */
  readonly maxHoldMs?: number | undefined;
  /** Give the lock back if less validity than this is left when it is granted. */
  readonly minValidityMs?: number | undefined;
  /** When to try again where nobody tells of a release; see the locker's option. */
  readonly retry?: RetryStrategy | undefined;
}

/** Makes a locker. Throws `ConfigError` or `OptionRangeError`; connects in the background (see `ready`). */
export function createLocker(options: LockerOptions): Locker {
  return new Locker(options);
}

/** Locks on a quorum of Redis servers, on one, or in this process's memory: the same calls, the same leases. */
export class Locker implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #clock: SystemClock;
  readonly #events: Events;
  readonly #fleet: Fleet;
  readonly #electorate: Electorate;
  readonly #acquirer: Acquirer;
  readonly #closing = new AbortController();
  #isOpen = false;
  #closed: Promise<void> | undefined;

  /** @internal See `createLocker`. */
  constructor(options: LockerOptions, environment: Environment = machine) {
    const settings = resolveOptions(options);
    this.#settings = settings;
    // One listener for every waiting acquire: any number of them is no leak.
    setMaxListeners(0, this.#closing.signal);
    this.#events = new Events(settings.observer);
    this.#clock = new SystemClock(environment.clocks(), (jumpMs) =>
      this.#events.emit(() => ({ type: "clock-jump", jumpMs })),
    );
    const nodeTime = new NodeTime(Math.max(1, settings.nodes.length));
    const proposals = new Proposals(leadMs(settings.clockWindowMs));
    try {
      this.#fleet = createFleet(settings, environment, this.#clock, nodeTime, proposals, this.#events);
    } catch (error) {
      this.#clock.close();
      throw error;
    }
    this.#electorate = createElectorate(settings, this.#fleet, this.#clock);
    this.#acquirer = this.#createAcquirer(environment, nodeTime, proposals);
  }

  /**
   * Acquires one key, or several all or nothing, waiting while others hold them. Rejects with `AcquireTimeoutError` when they are still
   * held after `waitMs`, `QuorumUnreachableError` when too few nodes can vote, `QueueFullError` when too many calls of this locker wait
   * already, and with `options.signal`'s reason when it aborts. Calls of one locker for one key are served in the order they came.
   */
  async acquire(keys: string | readonly string[], options: AcquireOptions = {}): Promise<Lease> {
    const job = this.#job(keys, options, { once: false, autoExtend: false, isLong: false });
    const began = this.#clock.glance();
    if (!this.#isReadyFor(job)) await this.#opened(began + job.waitMs, job.signal);
    const result = await this.#acquirer.attempt(job, began);
    if (result instanceof Lease) return result;
    throw await this.#acquirer.failure(result, job, began);
  }

  /**
   * One try, past all who wait in this process: the lease, or undefined when somebody else holds a key. Rejects with
   * `QuorumUnreachableError` when too few nodes can vote, since nothing is then known of the key.
   */
  async tryAcquire(
    keys: string | readonly string[],
    options: AcquireOptions = {},
  ): Promise<Lease | undefined> {
    const job = this.#job(keys, options, { once: true, autoExtend: false, isLong: false });
    const began = this.#clock.glance();
    if (!this.#isReadyFor(job)) await this.#opened(began + job.waitMs, job.signal);
    const result = await this.#acquirer.attempt(job, began);
    if (result instanceof Lease) return result;
    if (result.kind !== "denied" || result.denial.why === "unreachable" || this.#closing.signal.aborted)
      throw await this.#acquirer.failure(result, job, began);
    this.#acquirer.tellFailed(job, "CONTENDED", result.attempts, began, result.denial.reports());
    return undefined;
  }

  /**
   * Acquires, runs `body` with a lease that is extended by itself, and releases. Answers with the body's result only if the lease was
   * never lost; otherwise rejects with `LeaseLostError`, the body's own error as its cause. A failing release never hides anything.
   */
  using<T>(keys: string | readonly string[], body: (lease: Lease) => T | Promise<T>): Promise<T>;
  using<T>(
    keys: string | readonly string[],
    options: AcquireOptions,
    body: (lease: Lease) => T | Promise<T>,
  ): Promise<T>;
  async using<T>(
    keys: string | readonly string[],
    optionsOrBody: AcquireOptions | ((lease: Lease) => T | Promise<T>),
    maybeBody?: (lease: Lease) => T | Promise<T>,
  ): Promise<T> {
    const body = typeof optionsOrBody === "function" ? optionsOrBody : maybeBody;
    const options = typeof optionsOrBody === "function" ? {} : optionsOrBody;
    if (typeof body !== "function") throw new OptionRangeError("body", "be a function", body);
    const job = this.#job(keys, options, { once: false, autoExtend: true, isLong: true });
    const began = this.#clock.glance();
    if (!this.#isReadyFor(job)) await this.#opened(began + job.waitMs, job.signal);
    const result = await this.#acquirer.attempt(job, began);
    if (!(result instanceof Lease)) throw await this.#acquirer.failure(result, job, began);
    return runBody(result, body);
  }

  /** Who holds the key, on each node, with the node's own state: for people and for `doctor`s, never for decisions. */
  async inspect(key: string): Promise<Inspection> {
    this.#refuseClosed();
    const [nodeKey] = this.#nodeKeys(checkKeys(key, this.#settings.keyPrefix));
    await this.#opened();
    const within = this.#settings.nodeTimeoutMs;
    return inspectAll(key, nodeKey ?? key, this.#fleet, this.#electorate.quorum, within, this.#clock);
  }

  /**
   * Declares that no lock is outstanding on these nodes, so that none has to be waited for: ends all quarantines. To be called once
   * when a fleet is first set up; while locks are held it breaks their exclusion. Answers with the state of every node.
   */
  async init(): Promise<readonly FleetNodeState[]> {
    this.#refuseClosed();
    const states = await this.#fleet.init();
    const fault = this.#fleet.misconfigured();
    if (fault !== undefined) throw fault;
    return states;
  }

  /** Settles when a quorum of nodes may vote, quarantines included. Waits without limit; give a signal to limit it. */
  async ready(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    this.#refuseClosed();
    await this.#fleet.ready(options.signal);
    this.#refuseClosed();
  }

  /** The state of every node, as this client knows it now. */
  nodes(): readonly FleetNodeState[] {
    return this.#fleet.state();
  }

  /** Ends waiting acquires, gives back all leases, and closes connections and timers. Never rejects; safe to call twice. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    await this.#acquirer.close();
    await this.#fleet.close();
    this.#clock.close();
  }

  #isReadyFor({ signal }: Job): boolean {
    this.#refuseClosed();
    signal?.throwIfAborted();
    return this.#isOpen;
  }

  /** Waits for the fleet's first chance, within the deadline; a configuration that cannot work is thrown. */
  async #opened(deadline = Infinity, signal?: AbortSignal): Promise<void> {
    const patience = new Latch(
      this.#clock,
      Math.max(this.#settings.nodeTimeoutMs, deadline - this.#clock.now()),
    );
    const wake = () => patience.settle();
    signal?.addEventListener("abort", wake);
    await Promise.race([this.#fleet.opened(), patience.settled]);
    patience.settle();
    signal?.removeEventListener("abort", wake);
    signal?.throwIfAborted();
    this.#refuseClosed();
    const fault = this.#fleet.misconfigured();
    if (fault !== undefined) throw fault;
    this.#isOpen = this.#fleet.state().every(({ state }) => state !== "connecting");
  }

  #job(
    keys: string | readonly string[],
    options: AcquireOptions,
    kind: { once: boolean; autoExtend: boolean; isLong: boolean },
  ): Job {
    const settings = this.#settings;
    const list = checkKeys(keys, settings.keyPrefix);
    const ttlMs = options.ttlMs ?? settings.ttlMs;
    checkTtl(settings, ttlMs);
    return {
      keys: list,
      nodeKeys: this.#nodeKeys(list),
      owner: options.owner === undefined ? settings.owner : checkOwner(options.owner),
      ttlMs,
      minValidityMs: checkAtLeast(
        "minValidityMs",
        options.minValidityMs ?? settings.minValidityMs ?? leastValidity(ttlMs, settings, kind.isLong),
        0,
      ),
      waitMs: checkAtLeast("waitMs", options.waitMs ?? settings.waitMs, 0),
      autoExtend: options.autoExtend ?? kind.autoExtend,
      maxHoldMs: checkAtLeast("maxHoldMs", options.maxHoldMs ?? Infinity, 1),
      once: kind.once,
      signal: options.signal,
      retry: (options.retry === undefined ? settings.retry : retrying(options.retry))?.(),
    };
  }

  #nodeKeys(keys: readonly string[]): readonly string[] {
    const { keyPrefix } = this.#settings;
    return keyPrefix === "" ? keys : keys.map((key) => keyPrefix + key);
  }

  #createAcquirer({ entropy }: Environment, nodeTime: NodeTime, proposals: Proposals): Acquirer {
    const settings = this.#settings;
    const electorate = this.#electorate;
    const clock = this.#clock;
    return new Acquirer({
      grantor: new ProtocolGrantor({
        electorate,
        rules: settings,
        clock,
        entropy,
        nodeTime,
        proposals,
        slots: new Slots(clock),
      }),
      heralds: this.#fleet.nodes,
      quorum: electorate.quorum,
      notify: settings.notify,
      listeningIdleMs: settings.mode === "memory" ? 0 : LISTENING_IDLE_MS,
      queueLengthMax: settings.queueLengthMax,
      clock,
      entropy,
      events: this.#events,
      closing: this.#closing.signal,
      checkTtl: (ttlMs) => checkTtl(settings, ttlMs),
    });
  }

  #refuseClosed(): void {
    if (this.#closing.signal.aborted) throw new LockerClosedError();
  }
}

async function runBody<T>(lease: Lease, body: (lease: Lease) => T | Promise<T>): Promise<T> {
  let outcome: { readonly value: T } | { readonly error: unknown };
  try {
    outcome = { value: await body(lease) };
  } catch (error) {
    outcome = { error };
  }
  const loss = lease.loss();
  await lease.release();
  if (loss !== undefined)
    throw "error" in outcome && outcome.error !== loss ? causedBy(loss, outcome.error) : loss;
  if ("error" in outcome) throw outcome.error;
  return outcome.value;
}

function causedBy(loss: LeaseLostError, cause: unknown): LeaseLostError {
  return new LeaseLostError(loss, loss.lossCause, loss.nodes, { cause });
}

/** Of a lock that is to be worked under, half of the ttl should be left; where margins take much of it, nearly all that can be. */
function leastValidity(ttlMs: number, settings: Settings, isLong: boolean): number {
  return isLong ? Math.min(ttlMs / 2, 0.9 * validityMs(ttlMs, settings)) : ttlMs / 10;
}

function checkAtLeast(option: string, value: number, least: number): number {
  if (!(value >= least)) throw new OptionRangeError(option, `be a number of at least ${least}`, value);
  return value;
}

function createElectorate({ mode }: Settings, { nodes }: Fleet, clock: Clock): Electorate {
  const [only] = nodes;
  if (mode === "quorum" || only === undefined) return new Quorum({ nodes, clock });
  return new Single(only, clock);
}

function createFleet(
  settings: Settings,
  { connect, listen }: Environment,
  clock: Clock,
  nodeTime: NodeTime,
  proposals: Proposals,
  events: Events,
): Fleet {
  if (settings.mode === "memory") {
    const toldTime = (nowUs: number) => nodeTime.observe(0, nowUs, clock.glance(), clock.glance());
    return new MemoryFleet(processMemory(settings.fenceTtlMs), toldTime);
  }
  const { nodeTimeoutMs, connectTimeoutMs } = settings;
  const silenceMs = Math.max(SILENCE_MS_MIN, 4 * nodeTimeoutMs);
  return new RedisFleet(
    settings.nodes,
    {
      ...settings,
      quorum: quorumOf(settings.nodes.length),
      times: { connectTimeoutMs, silenceMs },
      connect,
      listen,
      learnFloor: (floor) => proposals.learnFloor(floor),
    },
    clock,
    nodeTime,
    events,
  );
}

/** Connections on which notices are heard stay open so long after the last waiter: the next one is likely to come soon. */
const LISTENING_IDLE_MS = 5_000;

/** A connection is given up only after several requests went unanswered: until then their releases can queue behind them. */
const SILENCE_MS_MIN = 1_000;

/** One memory for all lockers of the process: otherwise two of them would both have the lock. */
let sharedMemory: MemoryNode | undefined;

function processMemory(fenceTtlMs: number): MemoryNode {
  sharedMemory ??= new MemoryNode(processMicros, fenceTtlMs);
  return sharedMemory;
}
