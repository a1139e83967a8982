/**
 * A node, as the rest of the library sees it: something that is asked and that votes. What a vote means for a lock is decided
 * elsewhere; how the question travels (Redis, memory, a simulated network) is the implementation's affair.
 */
import type { Instant } from "../clock/clock.ts";

/** Keys are those on the node, prefix included. Times with `Us` are microseconds of node time, and exact integers. */
export type Request = AcquireRequest | ExchangeRequest | ExtendRequest | ReleaseRequest | LeaveRequest;

export interface AcquireRequest {
  readonly op: "acquire";
  readonly keys: readonly string[];
  /** v: `<owner>#<unique>`, fresh for every attempt. */
  readonly holder: string;
  /** p: becomes the fence if the attempt wins. */
  readonly proposal: number;
  /** τ: the client's estimate of the nodes' time. */
  readonly tauUs: number;
  readonly ttlMs: number;
  /** Put in line for the key where somebody else holds it (Q1), and taken out of it where this is granted (Q2). */
  readonly waiter?: Waiter | undefined;
}

/** Who waits, and since when by the nodes' time: the longest waiting is told first of a release. A hint, never a right. */
export interface Waiter {
  readonly id: string;
  readonly sinceUs: number;
}

/** An ACQUIRE for which a lock that is `from`, this client's own, counts as free (X1): a hand-over in one round trip. */
export interface ExchangeRequest {
  readonly op: "exchange";
  readonly keys: readonly string[];
  readonly holder: string;
  readonly proposal: number;
  readonly tauUs: number;
  readonly ttlMs: number;
  readonly from: string;
}

export interface ExtendRequest {
  readonly op: "extend";
  readonly keys: readonly string[];
  readonly holder: string;
  readonly tauUs: number;
  readonly ttlMs: number;
}

export interface ReleaseRequest {
  readonly op: "release";
  readonly keys: readonly string[];
  readonly holder: string;
  /** The largest proposal the lease ever used: the tombstone of rule R2. */
  readonly proposal: number;
  /** Whether the longest waiting is told (Q3). Not of the votes of an attempt that others won, or that nobody did. */
  readonly wakes: boolean;
}

/** `waiter` waits no longer. If it was told of a release and has left it unused, the next one is told (Q4). */
export interface LeaveRequest {
  readonly op: "leave";
  readonly keys: readonly string[];
  readonly waiter: string;
}

/** Three-valued: a node grants, refuses, or does not answer properly. Nothing may turn the third into one of the others. */
export type Vote = Granted | Refused | Faulted;

export interface Granted {
  readonly kind: "granted";
  readonly nowUs: number;
  /** From the question's departure to the answer; undefined where nothing travelled. */
  readonly tookMs?: number;
  /** Of a release: somebody who waits was told of it. */
  readonly woke?: true;
  /**
   * Of a release: the lock is gone, but its tombstone is not (all) there: it was cut short, or could not be written (R2). Until it is, an
   * acquire of the same attempt that is still under way can pass, so the release has to be asked again.
   */
  readonly owesTombstone?: true;
}

export type Refused = {
  readonly kind: "refused";
  readonly nowUs: number;
  readonly tookMs?: number;
} & Refusal;

export type Refusal =
  /** N6: somebody else holds `keys[key]`. `fence` is the largest token accepted so far. */
  | {
      readonly reason: "held";
      readonly key: number;
      readonly holder: string;
      readonly remainingMs: number;
      readonly fence: number;
      /** How many wait for it longer than this waiter; undefined where it was not put in line. */
      readonly ahead?: number | undefined;
    }
  /** N5, N7: the proposal is not larger than `fence`. */
  | { readonly reason: "stale"; readonly fence: number }
  /** N8: the client's τ or p does not fit the node's clock (`nowUs`). */
  | { readonly reason: "clock" }
  /** N1: the node's present memory was not admitted by this client. */
  | { readonly reason: "unadmitted" }
  /** N2: admitted, and too young for this client's guard: silent until everything it may have forgotten has expired. */
  | { readonly reason: "quarantined"; readonly untilUs: number }
  /** E1, E2: `keys[key]` is not held with our value; `holder` has it, or nobody. */
  | { readonly reason: "missing"; readonly key: number; readonly holder: string | undefined };

export interface Faulted {
  readonly kind: "faulted";
  /** Only an operator can mend it: no wait will. */
  readonly isLasting?: true;
  readonly reason: "timeout" | "unreachable" | "excluded" | "not-admitted" | "backlog" | "replicas" | "error";
  readonly detail: string;
  /** False only if the request certainly never left: nothing can have happened on the node, now or later. */
  readonly sent: boolean;
}

/** What `inspect` sees of one node. */
export interface Sighting {
  readonly nowUs: number;
  readonly keys: readonly {
    readonly holder: string | undefined;
    readonly remainingMs: number;
    readonly fence: number;
  }[];
  readonly marker: Marker | undefined;
}

/** Who says that no lock was outstanding when a memory began: an operator, for all clients, or a client for those that are as trusting. */
export type Declaration = "init" | "first-use";

/**
 * The admission marker: what a memory of the node knows of itself (`holdfast:node`). It says when the memory began; how long to wait after
 * that is every client's own affair.
 */
export interface Marker {
  /** Names the memory: `run_id:master_replid:since`, of the server when it was admitted. */
  readonly incarnation: string;
  /** The server's replication id when the memory was last known to be the same. */
  readonly replicationId: string;
  /** What the server had done so far that could have replaced its memory; empty where that is not known. */
  readonly history: string;
  /** Node time of the admission: nothing older is remembered. */
  readonly sinceUs: number;
  readonly declared: Declaration | undefined;
  /** No smaller fence is granted. */
  readonly floor: number;
  /** The largest ttl that was granted, in this generation and in the one before, and when the next one begins (N3). */
  readonly ttlMs: number;
  readonly earlierTtlMs: number;
  readonly turnUs: number;
  /** How many keys the server had evicted. */
  readonly evictedKeys: number;
  /** Node time of the last admission or check-up that was asked to say so. */
  readonly contactUs: number;
  /** The options of whoever admitted it, for comparison. */
  readonly options: string;
}

export interface LockNode {
  /** Address without credentials, for people. */
  readonly name: string;
  /** The same for all clients of a server (its run id), so that all agree on an order; undefined before the first contact. */
  readonly identity: string | undefined;
  /** True while the node could vote for all the client knows: a hint for the order of asking, never for safety. */
  readonly isHealthy: boolean;

  /** Calls `reply` exactly once and never synchronously; requests are executed in the order in which they were asked. */
  ask(request: Request, reply: (vote: Vote) => void): void;
  /**
   * Asks for a release, and goes on asking over faults and reconnects until the node has executed it or `until` has come.
   * `reply` gets the first vote only.
   */
  undo(request: ReleaseRequest, until: Instant, reply: (vote: Vote) => void): void;
  inspect(keys: readonly string[], reply: (sighting: Sighting | Faulted) => void): void;

  /** True while notices can be heard: hints only. */
  readonly isListening: boolean;
  /** From now on `heard` gets the keys whose release this waiter is told of, and `ready` every time that listening begins. */
  listen(waiter: string, heard: (key: string) => void, ready: () => void): void;
  /** This waiter wants no more notices. */
  deafen(waiter: string): void;
}

/** All nodes of one locker and their way from a connection to a vote. */
export interface Fleet {
  readonly nodes: readonly LockNode[];
  /** Settles when a quorum of nodes can be asked, or every node has had its first chance: what a first attempt waits for. */
  opened(): Promise<void>;
  /**
   * True when a quorum of nodes may vote, quarantines included; false when none does by the deadline, when the signal aborts, or as soon as
   * no wait will bring one. Rejects with a ConfigError.
   */
  ready(deadline: Instant, signal?: AbortSignal): Promise<boolean>;
  /** Declares that no lock is outstanding anywhere: ends all quarantines, for all clients (rule G4). Answers with the nodes that took it. */
  /** `resetsFences`: fences that lie in the future of the nodes' clocks are brought back, and later ones may be smaller than they were. */
  init(resetsFences?: boolean): Promise<readonly FleetNodeState[]>;
  state(): readonly FleetNodeState[];
  /** A configuration that can never work, found out only by talking to the nodes; undefined while all is well. */
  misconfigured(): Error | undefined;
  close(): Promise<void>;
}

export interface FleetNodeState {
  readonly node: string;
  readonly state: "connecting" | "unreachable" | "excluded" | "unadmitted" | "quarantined" | "admitted";
  readonly detail: string;
}
