/** The public surface of holdfast. What is not named here is nobody's to depend on. */

// Locks
export { createLocker, type Locker } from "./locker.ts";
export type { Attempt } from "./attempt.ts";
export type { Lease, LeaseToken } from "./lease/lease.ts";
export type { Locks, NamedLock } from "./named-lock.ts";
export type { ReleaseReport } from "./grantor.ts";
export type { Inspection, NodeInspection } from "./node/inspection.ts";
export type { FleetNodeState } from "./node/lock-node.ts";

// Configuration
export type {
  AcquireOptions,
  CloseOptions,
  InitOptions,
  LockerOptions,
  MemoryOptions,
  QuorumOptions,
  ReadyOptions,
  ShardedOptions,
  SingleOptions,
  UsingOptions,
} from "./options/options.ts";
export type {
  ClientAdapter,
  ClientSession,
  NodeCredentials,
  NodeInput,
  RedisClient,
  RedisNodeOptions,
  SessionTerms,
} from "./node/connection.ts";
export {
  exponentialRetry,
  fixedRetry,
  type RedlockRetry,
  type RetryFunction,
  type RetryState,
  type RetryStrategy,
} from "./wait/retry.ts";
export { loadConfig, type ConfigSources } from "./options/load-config.ts";

// Errors
export {
  AcquireTimeoutError,
  ConfigError,
  DeadlockError,
  HoldfastError,
  type HoldfastErrorCode,
  isHoldfastError,
  LeaseLostError,
  LockerClosedError,
  type LossCause,
  type NodeReport,
  OptionRangeError,
  QueueFullError,
  QuorumUnreachableError,
} from "./errors.ts";

// Events
export { CHANNEL_NAME, type HoldfastEvent, type Observer } from "./events.ts";
