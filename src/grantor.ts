/**
 * The contract between those who want locks (waiting, leases) and the protocol that grants them (grant/): one attempt, and of
 * what it grants an extension, a check and a release, each with its three-valued answer. Types only.
 */
import type { Instant } from "./clock/clock.ts";
import type { NodeReport } from "./errors.ts";

export interface AttemptRequest {
  /** As on the nodes, prefix included. */
  readonly keys: readonly string[];
  readonly owner: string;
  readonly ttlMs: number;
  /** A grant with less validity left is given back. */
  readonly minValidityMs: number;
  /** Contenders meet at one node first (rule C7). */
  readonly gated: boolean;
  /** Who is put in line where somebody else holds it, and since when it waits; undefined for nobody. */
  readonly waiting?: { readonly id: string; readonly since: Instant } | undefined;
}

/** A granted attempt: what a lease rests on. Its times change as extensions succeed. */
export interface Claim {
  /** As on the nodes, prefix included. */
  readonly keys: readonly string[];
  /** v: `<owner>#<unique>`. */
  readonly holder: string;
  /** The fencing token; never changes. */
  readonly fence: number;
  /** Of the last acquire or extension that succeeded. */
  readonly ttlMs: number;
  /** When that one was asked for. */
  readonly extendedAt: Instant;
  readonly validUntil: Instant;

  /** The largest proposal made for it, by which its release is known to be newer. */
  readonly largestProposal: number;
  /** Never rejects, never shortens. */
  extend(ttlMs: number): Promise<Renewal>;
  /** Never rejects; settles within the node timeout. */
  release(): Promise<ReleaseReport>;
  /** Leaves it to its ttl: nothing is asked of the nodes any more. */
  abandon(): ReleaseReport;
  /** Gives it on, in one round trip and with a new fence; where that fails it is released. Never rejects, and settles as `release`. */
  handOver(request: AttemptRequest): Promise<HandOver>;
  /** Whether its release was told to somebody who waits for it. */
  readonly hasWoken: boolean;
  /** Asks the nodes whether they hold it; never rejects. */
  verify(): Promise<"held" | "lost" | "unknown">;
}

export type RefusalKind =
  /** Another holder has it. */
  | "held"
  /** Several contenders took some nodes each, and none a quorum. */
  | "split"
  /** A larger token is needed; the next attempt knows it. */
  | "stale"
  /** Too few nodes can vote. */
  | "unreachable"
  /** Granted, but too late to be of use. */
  | "slow";

/** What the nodes said in one round. */
export interface Said {
  /** By node, answers that came after the decision included. */
  readonly reports: () => NodeReport[];
  /** Settles when every node that was asked has answered, which a hung one may never do. */
  complete(): Promise<void>;
}

export interface Grant extends Said {
  readonly kind: "granted";
  readonly claim: Claim;
}

export interface Denial extends Said {
  readonly kind: "denied";
  readonly why: RefusalKind;
  /** Of several keys, those that nodes said others have; the first that each met. */
  readonly heldKeys: readonly string[];
  /** After this many ms so many nodes' locks will have expired that a quorum can be free; undefined where that is not known. */
  readonly freeInMs: number | undefined;
  /** So many nodes cannot vote until an operator has mended something that no wait will bring a quorum. */
  readonly isLasting: boolean;
  /** A node's typical answering time in this attempt, at most `nodeTimeoutMs`. */
  readonly roundTripMs: number;
  /** How many wait for it longer, for all that is known; undefined where nobody would be told of its release. */
  readonly ahead: number | undefined;
}

export type Renewal =
  | ({ readonly kind: "renewed" } & Said)
  /** Proven: a quorum of nodes does not hold it (`gone`), or its validity is over (`expired`). */
  | { readonly kind: "lost"; readonly cause: "gone" | "expired"; readonly reports: () => NodeReport[] }
  /** Not enough nodes said yes, not enough said no: the old validity stands. */
  | { readonly kind: "unknown"; readonly reports: () => NodeReport[] };

export interface ReleaseReport {
  /**
   * `released`: a quorum of nodes confirmed it within the validity. `expired`: the validity was over before; released all the
   * same where it was left. `uncertain`: too few nodes confirmed in time; the others are told in the background until the ttl is over.
   * `detached`: left to whoever adopts it, or to its ttl.
   */
  readonly outcome: "released" | "expired" | "uncertain" | "detached";
  /** Names of the nodes that may still hold the lock, until its ttl is over at the latest. */
  readonly uncertain: readonly string[];
}

export interface HandOver {
  /** What became of the attempt. */
  readonly outcome: Grant | Denial;
  /** What became of the lock that was given on. */
  readonly report: ReleaseReport;
}

/** What one process tells another so that it can go on with a lock (rule H1). */
export interface Bequest {
  /** As on the nodes, prefix included. */
  readonly keys: readonly string[];
  readonly holder: string;
  readonly fence: number;
  readonly largestProposal: number;
}

export interface Adoption {
  readonly claim: Claim;
  /** Only where it is `renewed` is the claim held. `slow`: it was extended, too late to be of use; it is held by whoever has its token. */
  readonly outcome: Renewal | { readonly kind: "slow"; readonly reports: () => NodeReport[] };
}

export interface Grantor {
  /** Never rejects. */
  attempt(request: AttemptRequest): Promise<Grant | Denial>;
  /** Goes on with a lock that another process let go of without releasing it, if so much validity is left of it then. Never rejects. */
  adopt(bequest: Bequest, ttlMs: number, minValidityMs: number): Promise<Adoption>;
}
