/** A lock as redlock hands it out, resting on a lease. */
import { wallMs } from "../clock/machine-clocks.ts";
import type { Lease } from "../lease/lease.ts";
import { ExecutionError, type ExecutionResult, type ExecutionStats } from "./errors.ts";
import type { Callback } from "./callbacks.ts";

/** As redlock's: 2 ms for the servers' grid, and the drift. */
const GRID_MS = 2;

/** What a lock was made by. */
export interface LockOrigin {
  readonly settings: { readonly driftFactor: number };
  release(lock: Lock): Promise<ExecutionResult>;
  extend(lock: Lock, duration: number, callback?: Callback<Lock>): Promise<Lock>;
  unlock(lock: Lock, callback?: Callback<ExecutionResult>): Promise<ExecutionResult>;
}

export class Lock {
  readonly redlock: LockOrigin;
  readonly resources: string[];
  /** What stands in the keys on the nodes. */
  readonly value: string;
  readonly attempts: readonly Promise<ExecutionStats>[];
  /** By the wall clock, in ms since the epoch; 0 once it was released or extended. The lease below does not trust that clock. */
  expiration: number;
  /** What it rests on: `fence`, `signal`, `verify()` and the rest. */
  readonly lease: Lease;

  /** @internal */
  constructor(
    redlock: LockOrigin,
    lease: Lease,
    duration: number,
    attempts: readonly Promise<ExecutionStats>[],
  ) {
    const drift = Math.round(redlock.settings.driftFactor * duration) + GRID_MS;
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

  release(): Promise<ExecutionResult> {
    return this.redlock.release(this);
  }

  extend(duration: number, callback?: Callback<Lock>): Promise<Lock> {
    return this.redlock.extend(this, duration, callback);
  }

  /** redlock 4. */
  unlock(callback?: Callback<ExecutionResult>): Promise<ExecutionResult> {
    return this.redlock.unlock(this, callback);
  }

  /** @internal */
  async giveBack(): Promise<ExecutionResult> {
    this.expiration = 0;
    const { outcome, uncertain } = await this.lease.release();
    if (outcome === "released") return { attempts: this.attempts };
    const why =
      outcome === "expired"
        ? "the lock had expired before"
        : `no quorum of nodes confirmed it: ${uncertain.join(", ")}`;
    throw new ExecutionError(`Unable to fully release the lock: ${why}.`, []);
  }
}
