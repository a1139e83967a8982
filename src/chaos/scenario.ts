/**
 * What a chaos scenario is: data. A cluster, clients that do some work under locks, faults at named moments, and what must be true of
 * the history in the end. Nodes and clients are counted from 1; times are in milliseconds.
 */

export interface Scenario {
  /** Unique, in kebab case. */
  readonly name: string;
  /** One sentence: what happens, and what a correct lock does then. */
  readonly title: string;
  /** Rows of the catalogue of faults in docs/chaos.md. */
  readonly rows?: readonly number[];
  readonly cluster?: ClusterPlan;
  readonly locker?: LockerPlan;
  readonly work: Work;
  /** One after the other. What they break is healed in the end at the latest. */
  readonly steps: readonly Step[];
  /** How long the clients go on working after the last step; default 300. */
  readonly afterMs?: number;
  readonly expect: Expectation;
}

export interface ClusterPlan {
  /** Default 3. */
  readonly nodes?: number;
  /** Append-only files, synced every second; default none, so that a node that dies has lost its memory. */
  readonly aof?: boolean;
  /** More arguments for redis-server. */
  readonly args?: readonly string[];
}

/** Options of every client's locker. */
export interface LockerPlan {
  /** `single`: one node. Default `quorum`. */
  readonly mode?: "quorum" | "single";
  /** Default 1 000. */
  readonly ttlMs?: number;
  /** Default `ttlMs`. */
  readonly maxTtlMs?: number;
  /** Default 50. */
  readonly clockWindowMs?: number;
  readonly nodeTimeoutMs?: number;
  readonly restartGuard?: "strict" | "trust";
}

/** What the clients do with the lock of one key until the steps are over; every client is a process of its own. */
export interface Work {
  /**
   * `mutex` takes the lock and gives it back, `counter` reads a number meanwhile and stores one more, without a fence; `register`
   * writes to a resource that checks fences, also after it has lost the lock; `herd` is many contenders in every client; with
   * `long-hold` the first client keeps the lock and extends it, and the others ask for it in vain.
   */
  readonly kind: "mutex" | "counter" | "register" | "herd" | "long-hold";
  /** Default 3. */
  readonly clients?: number;
  /** For `herd`: contenders in each client, default 10. */
  readonly contenders?: number;
  /** How long a lock is used; default 0 to 300. Longer than the validity where `extend` is off means that it runs out. */
  readonly sectionMs?: readonly [least: number, most: number];
  /** Between two locks; default 0 to 50. */
  readonly restMs?: readonly [least: number, most: number];
  /** How long an acquire waits; default 300. */
  readonly waitMs?: number;
  /** Whether leases are extended by themselves; default true. */
  readonly extend?: boolean;
}

export interface Step {
  /** What it waits for first, and for how long after that. */
  readonly once?: Cue;
  readonly afterMs?: number;
  readonly fault: Fault;
  /** Healed by itself after so long, while the next steps go on. */
  readonly forMs?: number;
}

export type Cue =
  /** Something this client was told, since the step before. */
  | {
      readonly client: number;
      readonly has: "asked" | "acquired" | "extended" | "lost" | "released";
      readonly times?: number;
    }
  /** A request on its way to a node: it, or its reply, waits until the fault has happened. */
  | {
      readonly client: number;
      readonly node: number;
      readonly request: "acquire" | "extend" | "release";
      readonly moment: "before it arrives" | "before its reply";
    }
  /** A node tells this client, which waits, that the key is free: the notice waits until the fault has happened. */
  | { readonly client: number; readonly node: number; readonly hears: "a release" };

export type Fault = NodeFault | ClockFault | NetworkFault | ClientFault;

/**
 * `kill` is SIGKILL, `pause` SIGSTOP. `hang up on listeners` ends the connections on which waiters hear of releases, `forbid notices`
 * lets nobody hear anything, and `forge notices` tells everybody who listens, again and again, that the key is free.
 */
export interface NodeFault {
  readonly do:
    | "kill"
    | "restart"
    | "restart empty"
    | "lose power"
    | "keep a snapshot"
    | "restore the snapshot"
    | "replace by another server"
    | "load slowly"
    | "pause"
    | "resume"
    | "flush"
    | "flush scripts"
    | "demote"
    | "promote"
    | "fill memory"
    | "free memory"
    | "evict"
    | "pause writes"
    | "sleep"
    | "run a busy script"
    | "require a password"
    | "forbid scripts"
    | "hang up on listeners"
    | "forbid notices"
    | "forge notices"
    | "limit clients"
    | "allow everybody";
  readonly nodes: readonly number[];
  /** For `pause writes`, `sleep`, `run a busy script`, `forge notices`. */
  readonly ms?: number;
}

export interface ClockFault {
  readonly do: "step the clock" | "swing the clock" | "run the clock at" | "set the clock right";
  readonly nodes: readonly number[];
  /** For `step` and `swing`: there, and with `swing` back, five times a second. */
  readonly ms?: number;
  /** For `run the clock at`: 1 is right. */
  readonly rate?: number;
}

export interface NetworkFault {
  readonly do:
    | "cut"
    | "drop requests"
    | "drop replies"
    | "hold requests"
    | "hold replies"
    | "delay"
    | "chop"
    | "reset connections"
    | "reset before the reply"
    | "refuse connections"
    | "swallow connections"
    | "lose packets"
    | "lose no packets"
    | "heal the network";
  readonly nodes: readonly number[];
  /** Whose way to the nodes; default everybody's. Lost packets are everybody's. */
  readonly clients?: readonly number[];
  /** For `delay`: so long, and up to so much longer. */
  readonly ms?: number;
  readonly jitterMs?: number;
  /** For `lose packets`: of 100. */
  readonly percent?: number;
}

export interface ClientFault {
  readonly do: "stop" | "continue" | "block" | "kill a client" | "step a client's clock" | "start anew";
  readonly clients: readonly number[];
  /** For `block` and `step a client's clock`. */
  readonly ms?: number;
}

export interface Expectation {
  /** The documented assumption that this scenario breaks on purpose: then only what rests on no assumption is checked. */
  readonly breaks?: string;
  readonly outcomes?: readonly Outcome[];
}

/** What must be true of the history beside the properties. */
export type Outcome =
  /** It was not lost while the steps went on. */
  | { readonly is: "kept"; readonly client: number }
  /** Its signal aborted, and before the validity ended. */
  | { readonly is: "told in time"; readonly client: number }
  /** So many leases, by this client or by all, before all is healed. */
  | {
      readonly is: "leases";
      readonly atLeast?: number;
      readonly atMost?: number;
      readonly client?: number;
      /** Only those after this step, counted from 1. */
      readonly afterStep?: number;
    }
  /** So long after the step (counted from 1) nobody was granted anything. */
  | { readonly is: "nothing granted"; readonly afterStep: number; readonly forMs: number }
  | { readonly is: "refused with"; readonly code: string }
  /** Every contender had the lock once. */
  | { readonly is: "everybody had a turn" }
  /** No two clients counted from the same number. */
  | { readonly is: "no lost update" }
  /** So many writes with an old fence came to the resource, and were refused. */
  | { readonly is: "late writes refused"; readonly atLeast: number };
