/** Options as users write them. Times are in milliseconds; what is left out has the default that is said here. */
import type { Observer } from "../events.ts";
import type { Lease } from "../lease/lease.ts";
import type { NodeInput } from "../node/connection.ts";
import type { RestartGuard } from "../node/fleet.ts";
import type { RetryStrategy } from "../wait/retry.ts";

/** What all modes share. Times are in milliseconds. */
interface CommonOptions {
  /** How long a lock lives on the nodes unless extended. Integer, 500 … 86 400 000; default 10 000. */
  readonly ttlMs?: number | undefined;
  /** The longest ttl any call may ask for. `ttlMs` … 2^52; default `ttlMs`. */
  readonly maxTtlMs?: number | undefined;
  /** How long a node may take to vote. Above 0 and below `ttlMs`; default `ttlMs / 20`, at least 20 and at most 250. */
  readonly nodeTimeoutMs?: number | undefined;
  /**
   * How much slower this client's clock may run than the nodes' clocks, as a fraction of the ttl, which every validity is shortened by at
   * least. 0 … 0.25; default 0.085, since chrony slows a clock that is ahead by 8.33 %, unseen by anything inside the machine; in memory
   * mode 0.01. With 0.01 a validity is up to 8 % longer, for clocks that are never slewed faster than that.
   */
  readonly driftFactor?: number | undefined;
  /** A lock with less validity left is given back. At least 0; default 10 % of the ttl, and about 50 % in `using`. */
  readonly minValidityMs?: number | undefined;
  /**
   * How long `acquire` and `using` wait for a lock that others hold, or for nodes. At least 0; default 10 000, or 2 500 more than the quarantine that
   * the other options impose on a new fleet, where that is longer (12 800 with no option set).
   */
  readonly waitMs?: number | undefined;
  /**
   * Whether waiters are told of releases: they then hold one more connection to every node while they wait, and for 5 s after. With
   * false they try again as `retry` says. Default true. Releases are told to those who listen either way.
   */
  readonly notify?: boolean | undefined;
  /**
   * When to try again where nobody tells of a release: notices are off, the holder is another library, or too few nodes can be reached.
   * A function, a list of delays, `fixedRetry`, `exponentialRetry`, or redlock's `{ retryCount, retryDelay, retryJitter }`; its end ends
   * the waiting. Default: 25 … 50 ms while it is held, at most 200 ms while nodes are missing, until `waitMs` is over.
   */
  readonly retry?: RetryStrategy | undefined;
  /** How many calls of this locker may wait behind others of it, on each shard; more are refused with `QueueFullError`. At least 0; default 10 000. */
  readonly queueLengthMax?: number | undefined;
  /**
   * Whether `using` inside a `using` of the same key goes on under its lease instead of waiting for it. Known by the async context, which
   * strangers share that run in one queue, event emitter or batch loader: with true they are let in beside each other. Default false.
   */
  readonly reentrant?: boolean | undefined;
  /** Put before every key on the nodes, behind what a node's own client puts there (`keyPrefix` of ioredis). Default none. */
  readonly keyPrefix?: string | undefined;
  /** The readable part of the holder value. 1 … 128 printable characters without `#`; default `<host>:<process id>`. */
  readonly owner?: string | undefined;
  /** How long a node remembers the last fence of a key nobody uses. At least twice `maxTtlMs`; default 24 h. */
  readonly fenceTtlMs?: number | undefined;
  /** Hears every event of this locker, see `HoldfastEvent`. */
  readonly observer?: Observer | undefined;
}

/** What only nodes of Redis need. */
interface RedisModeOptions extends CommonOptions {
  /**
   * The largest accepted difference between the nodes' clocks. Costs 4.5 times itself of every validity; 0 switches the window off.
   * At least 0; default 100 in quorum mode, 0 in single mode.
   */
  readonly clockWindowMs?: number | undefined;
  /**
   * What a node that lost its memory does: with `strict` it grants nothing until all it may have forgotten has expired, with `trust` it
   * votes at once, at the price of exclusion across its restart. `first-use` is `strict`, but takes a fleet none of whose nodes has ever
   * been admitted for a new one, which needs no `init`; it breaks exclusion only where all nodes lose their memory at once. Default
   * `strict` in quorum mode, `trust` in single mode.
   */
  readonly restartGuard?: RestartGuard | undefined;
  /**
   * The ttl that a node which lost its memory is assumed to have granted at least: its quarantine lasts that long, or as long as the longest one
   * that the other nodes did grant and may still be outstanding. `ttlMs` … `maxTtlMs`; default `maxTtlMs`. Less is for fleets whose long locks are
   * rare; it rests on the other nodes being there to tell of them. Locks for longer than a day count as locks for a day.
   */
  readonly quarantineTtlMs?: number | undefined;
  /**
   * A name may lead to one server, to another one that grants, and back to the first, which knows nothing of that. Whoever saw the other one keeps
   * the first in quarantine. With this option everybody does, where no client was in touch with it for longer than this: nodes that nobody uses
   * for a while are then in quarantine before the next lock. Not with `trust`. 0 for never, or 1 000 … the quarantine for `quarantineTtlMs`; default 0.
   */
  readonly staleAfterMs?: number | undefined;
  /** Only looks: `inspect` and `nodes` change nothing on any node, and no lock can be acquired. Default false. */
  readonly readOnly?: boolean | undefined;
  /**
   * How many replicas of a node must have a lock before the node's grant counts (Redis `WAIT`), so that a failover keeps it; costs their round
   * trip with every acquire and extension. 0 … 16; default 0.
   */
  readonly waitReplicas?: number | undefined;
  /** Lets a node vote although its memory policy may evict locks. Default false. */
  readonly allowEviction?: boolean | undefined;
  /** How long a connection attempt may take. Above 0; default 1 000. */
  readonly connectTimeoutMs?: number | undefined;
}

export interface QuorumOptions extends RedisModeOptions {
  readonly mode: "quorum";
  /** Independent servers, best an odd number of them; a majority must agree. 1 … 15. */
  readonly nodes: readonly NodeInput[];
  readonly shards?: undefined;
}

export interface SingleOptions extends RedisModeOptions {
  readonly mode: "single";
  /** Exactly one. */
  readonly nodes: readonly [NodeInput] | readonly NodeInput[];
  readonly shards?: undefined;
}

/** Keys spread over several fleets, each of which is a quorum (or a single node) of its own. See docs/scaling.md before changing the set. */
export interface ShardedOptions extends RedisModeOptions {
  readonly mode: "quorum" | "single";
  /**
   * Name → nodes of that shard. Names and keys decide alone where a lock lives: all clients need the same names, and changing them moves
   * keys. A server belongs to one shard. 1 … 64 shards with names of 1 … 64 characters.
   */
  readonly shards: Readonly<Record<string, readonly NodeInput[]>>;
  readonly nodes?: undefined;
}

/** Locks among the users of this process's memory; needs no Redis. */
export interface MemoryOptions extends CommonOptions {
  readonly mode: "memory";
}

export type LockerOptions = QuorumOptions | SingleOptions | ShardedOptions | MemoryOptions;

/** Options of `ready`. */
export interface ReadyOptions {
  /**
   * How long to wait, in ms; `Infinity` for no limit. At least 0; default 10 000 more than the quarantine of new nodes with these options: about
   * 20 000 with the defaults, 10 000 where the restart guard is `trust`.
   */
  readonly timeoutMs?: number | undefined;
  /** Gives up with the signal's reason; with the state of every node where the reason is a time limit (`AbortSignal.timeout`). */
  readonly signal?: AbortSignal | undefined;
}

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
  /** Give the lock back if less validity than this is left when it is granted; `adopt` leaves it as it was. Default: the locker's option. */
  readonly minValidityMs?: number | undefined;
  /** When to try again where nobody tells of a release; see the locker's option. */
  readonly retry?: RetryStrategy | undefined;
}

/** Options of one `using`. */
export interface UsingOptions extends AcquireOptions {
  /**
   * Goes on under this lease, which must be one of the same locker and hold all keys: nothing is acquired and nothing released, and the
   * other options do not apply, but for `signal`. Needs no async context. Default none.
   */
  readonly within?: Lease | undefined;
  /** The same under the lease of the `using` around the call, by the async context. Default: the locker's option. */
  readonly reentrant?: boolean | undefined;
}

/** Options of `close`. */
export interface CloseOptions {
  /**
   * How long to wait for holders to give their leases back, in ms. Locks that are still held then are left to their ttl and not freed, since
   * somebody may still work under them. At least 0; default no limit but the end of their validities.
   */
  readonly withinMs?: number | undefined;
}

/** Options of `init`. */
export interface InitOptions {
  /** Whether fences in the future of the nodes' clocks are brought back to the present. Later fences may then be smaller. Default false. */
  readonly resetFences?: boolean | undefined;
}
