/**
 * Every error this library makes: a code for programs, a sentence for people, and what each node said. Contention has a code of
 * its own, so that "somebody holds it" is never mistaken for "the nodes cannot be reached".
 */

/** What one node said in an attempt, in words made for a person at three in the morning. */
export interface NodeReport {
  /** Address of the node, without credentials. */
  readonly node: string;
  /** `unanswered`: the decision fell before this node spoke. */
  readonly verdict: "granted" | "refused" | "faulted" | "unanswered";
  /** Stable word for programs, e.g. `held`, `quarantined`, `timeout`, `unreachable`. */
  readonly reason: string;
  /** The same for people, with whom and how long. */
  readonly detail: string;
  /** Milliseconds from question to answer; undefined where none came. */
  readonly latencyMs: number | undefined;
  /** Who holds the key on this node, where it said so. */
  readonly holder?: string;
  /** For how much longer, in ms. */
  readonly remainingMs?: number;
}

export type HoldfastErrorCode =
  | "ACQUIRE_TIMEOUT"
  | "DEADLOCK"
  | "QUORUM_UNREACHABLE"
  | "QUEUE_FULL"
  | "LEASE_LOST"
  | "CONFIG_INVALID"
  | "OPTION_RANGE"
  | "LOCKER_CLOSED"
  /** Of `holdfast/redlock`: an `ExecutionError`. */
  | "EXECUTION_FAILED"
  /** Of `holdfast/redlock`: a `ResourceLockedError`. */
  | "RESOURCE_LOCKED";

/** The registry of symbols is one for all realms and all copies of this package in a process, which their classes are not. */
const MARK = Symbol.for("holdfast.error");

/**
 * What every error of this library is, by `instanceof`: those of another copy of the package, of another version and of another realm too,
 * and those that are a `RangeError` or an `AggregateError` besides. Made by this library only.
 */
export abstract class HoldfastError extends Error {
  /** Stable word for programs. */
  abstract readonly code: HoldfastErrorCode;

  /** @internal The classes below it are told apart as usual. */
  static override [Symbol.hasInstance](this: unknown, value: unknown): boolean {
    return this === HoldfastError
      ? isHoldfastError(value)
      : Function.prototype[Symbol.hasInstance].call(this, value);
  }
}

/** Whether this library made the error, in whatever copy, version or realm; `code` then says which one it is. */
export function isHoldfastError(
  error: unknown,
): error is
  | AcquireTimeoutError
  | DeadlockError
  | QueueFullError
  | QuorumUnreachableError
  | LeaseLostError
  | ConfigError
  | OptionRangeError
  | LockerClosedError {
  return typeof error === "object" && error !== null && MARK in error;
}

/** The key stayed held by others (or split between contenders) until `waitMs` was over. */
export class AcquireTimeoutError extends HoldfastError {
  override readonly name: string = "AcquireTimeoutError";
  readonly code = "ACQUIRE_TIMEOUT" as const;
  readonly keys: readonly string[];
  /** What each node said in the last attempt. */
  readonly nodes: readonly NodeReport[];
  /** 0 where its turn in this process did not come. */
  readonly attempts: number;
  readonly waitedMs: number;
  /** How many calls of this locker were still before it; 0 where its turn had come. */
  readonly ahead: number;
  /**
   * Whether a lock in the way belonged to a `using` around this call, by the async context: a deadlock, unless the two are strangers
   * that merely share a context (a queue, an event emitter, a batch loader).
   */
  readonly isHeldAround: boolean;

  constructor(
    keys: readonly string[],
    nodes: readonly NodeReport[],
    attempts: number,
    waitedMs: number,
    ahead = 0,
    holder?: { readonly holder: string; remainingMs(): number },
    isHeldAround = false,
  ) {
    const inLine = ahead === 0 ? "" : `, ${counted(ahead, "call")} of this process ahead`;
    const local =
      holder === undefined
        ? ""
        : `\n  this process holds it as ${holder.holder} for ${Math.round(holder.remainingMs())} ms more`;
    super(
      `${quoted(keys)} could not be acquired within ${Math.round(waitedMs)} ms (${counted(attempts, "attempt")}${inLine}):${local}${listed(nodes)}${isHeldAround ? HELD_AROUND : ""}`,
    );
    this.keys = keys;
    this.nodes = nodes;
    this.attempts = attempts;
    this.waitedMs = waitedMs;
    this.ahead = ahead;
    this.isHeldAround = isHeldAround;
  }
}

const WAYS_OUT =
  "using(key, { within: lease }, body) goes on under the lease it is given; with reentrant: true a using goes on under the lease of the using around it";

const HELD_AROUND = `
  A using around this call, by the async context, holds the lock: if that using waits for this call, the two are deadlocked.
  Work that belongs to it can say so: ${WAYS_OUT}.`;

/**
 * The call was told to go on under a lease (`within`, or `reentrant` and the async context) that holds some of its keys and not the others.
 * It would wait for itself, so it is refused at once.
 */
export class DeadlockError extends HoldfastError {
  override readonly name: string = "DeadlockError";
  readonly code = "DEADLOCK" as const;
  readonly keys: readonly string[];
  /** Those of the keys that the lease holds. */
  readonly held: readonly string[];

  constructor(keys: readonly string[], held: readonly string[]) {
    const missing = keys.filter((key) => !held.includes(key));
    super(
      `${quoted(keys)} would wait for itself: the lease it works under holds ${quoted(held)} and not ${quoted(missing)}. ` +
        `Name all keys in the outer call; or lock ${quoted(missing)} alone, and work on ${quoted(held)} under the lease that holds it: ${WAYS_OUT}`,
    );
    this.keys = keys;
    this.held = held;
  }
}

/** As many calls of this locker wait for their turn as `queueLengthMax` allows. */
export class QueueFullError extends HoldfastError {
  override readonly name: string = "QueueFullError";
  readonly code = "QUEUE_FULL" as const;

  constructor(queueLengthMax: number) {
    super(`${queueLengthMax} calls of this locker wait for a lock already (see queueLengthMax)`);
  }
}

/** Too few nodes could vote in time, so nobody can have the lock now: nodes down, hung, excluded or in quarantine. */
export class QuorumUnreachableError extends AggregateError {
  override readonly name: string = "QuorumUnreachableError";
  readonly code = "QUORUM_UNREACHABLE" as const;
  readonly nodes: readonly NodeReport[];
  /** How many nodes must vote for it. */
  readonly quorum: number;

  constructor(what: string, quorum: number, nodes: readonly NodeReport[], options?: ErrorOptions) {
    const able = ableToVote(nodes);
    super(
      nodes.filter((node) => !canVote(node)).map((node) => new Error(`${node.node}: ${node.detail}`)),
      `${what}: ${quorum} of ${nodes.length} nodes must vote and ${able} can:${listed(nodes)}${quarantineAdvice(nodes)}`,
      options,
    );
    this.nodes = nodes;
    this.quorum = quorum;
  }
}

/** What ends a quarantine, where one is what a person sees. */
export const QUARANTINE_ADVICE: string =
  "A node that was never used, or that lost its memory, stays silent until every lock that it may have forgotten has expired. " +
  "Is the fleet new, or can no lock be outstanding for another reason? Then `await locker.init()` (or `holdfast init`) ends the " +
  'quarantine. With restartGuard "first-use" a fleet that was never used needs neither.';

function quarantineAdvice(nodes: readonly NodeReport[]): string {
  return nodes.some(({ reason }) => reason === "quarantined") ? `\n${QUARANTINE_ADVICE}` : "";
}

export type LossCause =
  /** Extensions did not reach a quorum in time; signalled before the validity ends. */
  | "expired"
  /** A quorum of nodes said that they no longer hold the lock. */
  | "gone"
  /** `maxHoldMs` is used up. */
  | "max-hold"
  /** The locker closes: told at once, and held on until the holder gives it back or its validity ends. */
  | "closed"
  /** It was released by its holder; only where more is asked of it afterwards. */
  | "released";

/** The lease is no longer ours, or is about to end and cannot be kept. Also the reason of `lease.signal`. */
export class LeaseLostError extends HoldfastError {
  override readonly name: string = "LeaseLostError";
  readonly code = "LEASE_LOST" as const;
  readonly keys: readonly string[];
  readonly fence: number;
  readonly lossCause: LossCause;
  /** What each node said to the last extension, where one was tried. */
  readonly nodes: readonly NodeReport[];

  constructor(
    lease: { readonly keys: readonly string[]; readonly fence: number },
    lossCause: LossCause,
    nodes: readonly NodeReport[] = [],
    options?: ErrorOptions,
  ) {
    super(
      `lease on ${quoted(lease.keys)} (fence ${lease.fence}) lost: ${LOSSES[lossCause]}${listed(nodes)}`,
      options,
    );
    this.keys = lease.keys;
    this.fence = lease.fence;
    this.lossCause = lossCause;
    this.nodes = nodes;
  }
}

const LOSSES: Record<LossCause, string> = {
  expired: "its validity ends and it was not extended in time",
  gone: "a quorum of nodes no longer holds it",
  "max-hold": "maxHoldMs is used up",
  closed: "the locker closes, and extends it no more",
  released: "it was released before",
};

/** The configuration cannot be right, whatever happens later: the wrong kind of value, one server under two addresses, a Cluster client. */
export class ConfigError extends HoldfastError {
  override readonly name: string = "ConfigError";
  readonly code = "CONFIG_INVALID" as const;
}

/** An option out of its range, or at odds with another; names option, rule and value. */
export class OptionRangeError extends RangeError {
  override readonly name: string = "OptionRangeError";
  readonly code = "OPTION_RANGE" as const;
  readonly option: string;

  constructor(option: string, rule: string, value: unknown) {
    super(`${option} must ${rule}, got ${shown(value)}`);
    this.option = option;
  }
}

/** The locker was closed before or while this was asked of it. */
export class LockerClosedError extends HoldfastError {
  override readonly name: string = "LockerClosedError";
  readonly code = "LOCKER_CLOSED" as const;

  constructor() {
    super("the locker is closed");
  }
}

// On the prototypes: no error shows it, and those with a base class of the language's have it too.
for (const { prototype } of [HoldfastError, QuorumUnreachableError, OptionRangeError])
  Object.defineProperty(prototype, MARK, { value: true });

function quoted(keys: readonly string[]): string {
  return keys.map((key) => JSON.stringify(key)).join(", ");
}

function counted(n: number, word: string): string {
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}

function listed(nodes: readonly NodeReport[]): string {
  return nodes.map((node) => `\n  ${node.node}  ${node.detail}${latency(node)}`).join("");
}

function latency({ latencyMs }: NodeReport): string {
  return latencyMs === undefined ? "" : ` (${latencyMs.toFixed(1)} ms)`;
}

/** How many of them could vote on the key, for all that is known of them. */
export function ableToVote(nodes: readonly NodeReport[]): number {
  return nodes.filter(canVote).length;
}

/** A node that grants, or refuses for a reason that lies with the key and not with the node. */
function canVote({ verdict, reason }: NodeReport): boolean {
  return (
    verdict === "granted" || verdict === "unanswered" || (verdict === "refused" && ABOUT_THE_KEY.has(reason))
  );
}

/** Refusals that say something about the key; all others are about the node. */
export const ABOUT_THE_KEY: ReadonlySet<string> = new Set(["held", "stale", "missing"]);

/** User input in a message: short, on one line, whatever it was, and without the credentials of a URL. */
export function shown(value: unknown): string {
  const text = typeof value === "string" ? JSON.stringify(withoutCredentials(value)) : printed(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function withoutCredentials(text: string): string {
  return text.replaceAll(/:\/\/.*@/gs, "://***@");
}

function printed(value: unknown): string {
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  if (typeof value === "function") return "a function";
  return String(value);
}

/**
 * What went wrong, in the words of whatever was thrown. An error that says nothing itself tells what its parts say: where a name has several
 * addresses, and none can be reached, Node makes an AggregateError without a message. Knows errors by what they have: those of other realms
 * are no instances of this one's classes, and names of classes do not outlive a minifier.
 */
export function messageOf(error: unknown): string {
  return wordsOf(error, PARTS_DEPTH) ?? "an error without a message";
}

/** Of errors that are made of errors, so deep. */
const PARTS_DEPTH = 3;

function wordsOf(error: unknown, depth: number): string | undefined {
  if (typeof error !== "object" || error === null) return error === "" ? undefined : String(error);
  const { message, errors, cause, code } = error as Partial<Record<string, unknown>>;
  if (isText(message)) return message;
  return partsOf(Array.isArray(errors) ? errors : [cause], depth) ?? (isText(code) ? code : undefined);
}

/** Each once. */
function partsOf(parts: readonly unknown[], depth: number): string | undefined {
  if (depth === 0) return undefined;
  const words = parts.map((part) => (part === undefined ? undefined : wordsOf(part, depth - 1)));
  return [...new Set(words.filter(isText))].join("; ") || undefined;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.trim() !== "";
}
