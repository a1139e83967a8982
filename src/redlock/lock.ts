/** A lock as redlock hands it out, resting on a lease. */
import { wallMs } from "../clock/machine-clocks.ts";
import { ConfigError } from "../errors.ts";
import { Lease } from "../lease/lease.ts";
import type { Callback } from "./callbacks.ts";
import type { ExecutionResult, ExecutionStats } from "./errors.ts";
import type { Settings } from "./settings.ts";

/** As redlock's: 2 ms for the servers' grid, and the drift. */
const GRID_MS = 2;

/** What a lock was made by. */
export interface LockOrigin {
  readonly settings: Settings;
  release(lock: Lock, callback?: Callback<ExecutionResult> | Partial<Settings>): Promise<ExecutionResult>;
  extend(lock: Lock, duration: number, callback?: Callback<Lock> | Partial<Settings>): Promise<Lock>;
  unlock(lock: Lock, callback?: Callback<ExecutionResult>): Promise<ExecutionResult>;
}

/** @internal */
export interface LockTerms {
  readonly duration: number;
  readonly driftFactor: number;
  readonly attempts: readonly Promise<ExecutionStats>[];
}

/** Made by `acquire` and `extend` alone: it rests on a lease, which a value and a time cannot stand in for. */
export class Lock {
  readonly redlock: LockOrigin;
  readonly resources: string[];
  /** What stands in the keys on the nodes. */
  readonly value: string;
  /** What each node said, in each try. */
  readonly attempts: readonly Promise<ExecutionStats>[];
  /** By the wall clock, in ms since the epoch; 0 once it was released or extended. The lease below does not trust that clock. */
  expiration: number;
  /** What it rests on: `fence`, `signal`, `verify()` and the rest. */
  readonly lease: Lease;

  /** @internal */
  constructor(redlock: LockOrigin, lease: Lease, { duration, driftFactor, attempts }: LockTerms) {
    if (!(lease instanceof Lease))
      throw new ConfigError("locks are made by acquire and extend; lease.detach() and adopt() move one");
    const drift = Math.round(driftFactor * duration) + GRID_MS;
    this.redlock = redlock;
    this.resources = [...lease.keys];
    this.value = lease.holder;
    this.attempts = attempts;
    this.expiration = wallMs() + Math.min(lease.remainingMs(), duration - drift);
    this.lease = lease;
  }

  /** The fencing token: larger than that of every earlier lock of these resources. */
  get fence(): number {
    return this.lease.fence;
  }

  /** redlock 4. */
  get resource(): string | string[] {
    return this.resources.length === 1 ? (this.resources[0] ?? "") : this.resources;
  }

  release(callback?: Callback<ExecutionResult> | Partial<Settings>): Promise<ExecutionResult> {
    return this.redlock.release(this, callback);
  }

  extend(duration: number, callback?: Callback<Lock> | Partial<Settings>): Promise<Lock> {
    return this.redlock.extend(this, duration, callback);
  }

  /** redlock 4. */
  unlock(callback?: Callback<ExecutionResult>): Promise<ExecutionResult> {
    return this.redlock.unlock(this, callback);
  }
}
