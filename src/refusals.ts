/**
 * Why there is no lease, for people: the error of a call that came to nothing, with what each node said, and the event that tells of it.
 * Nothing is decided here.
 */
import { isOthers } from "./attempt.ts";
import { type Clock, type Instant, Latch } from "./clock/clock.ts";
import {
  ableToVote,
  AcquireTimeoutError,
  LockerClosedError,
  type NodeReport,
  QueueFullError,
  QuorumUnreachableError,
} from "./errors.ts";
import type { Events } from "./events.ts";
import { reportsOfStates } from "./grant/report.ts";
import type { Denial } from "./grantor.ts";
import type { Job } from "./job.ts";
import type { Lease } from "./lease/lease.ts";
import type { FleetNodeState } from "./node/lock-node.ts";

/** Somebody before one in the line of a process: what became of it says what keeps those behind. */
interface Predecessor {
  readonly denial?: Denial | undefined;
  readonly lease?: Lease | undefined;
}

/** Why there is no lease. */
export type NoLease =
  | { readonly kind: "denied"; readonly denial: Denial; readonly attempts: number }
  /** Its time was over before its turn came. */
  | { readonly kind: "queued"; readonly before: readonly Predecessor[] }
  /** By the caller's signal, whose reason it is; by the locker's end; or before it began, where too many wait. */
  | { readonly kind: "given-up"; readonly error: unknown };

/** How long an error waits for the nodes that had not answered when it was decided, above two round trips. */
const STRAGGLERS_MS = 5;

export interface RefusalContext {
  readonly quorum: number;
  readonly clock: Clock;
  readonly events: Events;
  readonly closing: AbortSignal;
}

export class Refusals {
  readonly #context: RefusalContext;

  constructor(context: RefusalContext) {
    this.#context = context;
  }

  /** The error for a call that came to nothing, which is told. `around`: the leases its async context works under. */
  async error(denied: NoLease, job: Job, began: Instant, around: readonly Lease[] = []): Promise<unknown> {
    if (denied.kind === "given-up") return this.#givenUp(denied.error, job, began);
    if (denied.kind === "denied") await this.#lastWords(denied.denial);
    const { closing, clock } = this.#context;
    const error = closing.aborted
      ? new LockerClosedError()
      : this.#errorOf(denied, job, clock.glance() - began, around);
    const attempts = denied.kind === "denied" ? denied.attempts : 0;
    this.tell(job, error.code, attempts, began, "nodes" in error ? error.nodes : []);
    return error;
  }

  /**
   * The error of a `ready` that came to nothing; `timeoutMs` where its time is over. A reason that the signal's owner gave is theirs to recognise; a
   * mere time limit says nothing of the nodes, and this says it.
   */
  notReady(
    states: readonly FleetNodeState[],
    timeoutMs: number | undefined,
    signal: AbortSignal | undefined,
  ): unknown {
    const reason: unknown = signal?.reason;
    if (signal?.aborted === true && !isTimeLimit(reason)) return reason;
    const { quorum } = this.#context;
    const reports = reportsOfStates(states);
    if (signal?.aborted === true)
      return new QuorumUnreachableError("the locker was not ready in its signal's time", quorum, reports, {
        cause: reason,
      });
    const what =
      timeoutMs === undefined
        ? "the locker cannot become ready, and waiting will not help"
        : `the locker was not ready within ${timeoutMs} ms`;
    return new QuorumUnreachableError(what, quorum, reports);
  }

  tell({ keys }: Job, code: string, attempts: number, began: Instant, nodes: readonly NodeReport[]): void {
    const { clock, events } = this.#context;
    const waitedMs = clock.glance() - began;
    events.emit(() => ({ type: "acquire-failed", keys, code, attempts, waitedMs, nodes }));
  }

  #givenUp(error: unknown, job: Job, began: Instant): unknown {
    const isOurs = error instanceof LockerClosedError || error instanceof QueueFullError;
    this.tell(job, isOurs ? error.code : "ABORTED", 0, began, []);
    return error;
  }

  /** The decision is made; nodes about to answer get a moment, since their answers are what a person will want to read. */
  async #lastWords(denial: Denial): Promise<void> {
    const patience = new Latch(this.#context.clock, 2 * denial.roundTripMs + STRAGGLERS_MS);
    await Promise.race([denial.complete(), patience.settled]);
    patience.settle();
  }

  #errorOf(
    denied: Exclude<NoLease, { kind: "given-up" }>,
    job: Job,
    waitedMs: number,
    around: readonly Lease[],
  ): AcquireTimeoutError | QuorumUnreachableError {
    if (denied.kind === "denied") return this.#denial(denied.denial, job, denied.attempts, waitedMs, around);
    // Its turn did not come: what is known is what those before it know.
    const { before } = denied;
    const holder = before.find(({ lease }) => lease?.isHeld() === true)?.lease;
    const denial = before.find((each) => each.denial !== undefined)?.denial;
    if (holder === undefined && denial !== undefined)
      return this.#denial(denial, job, 0, waitedMs, around, before.length);
    const isHeldAround = before.some(({ lease }) => lease !== undefined && around.includes(lease));
    return new AcquireTimeoutError(job.keys, [], 0, waitedMs, before.length, holder, isHeldAround);
  }

  #denial(
    denial: Denial,
    { keys }: Job,
    attempts: number,
    waitedMs: number,
    around: readonly Lease[],
    ahead?: number,
  ): AcquireTimeoutError | QuorumUnreachableError {
    const { quorum } = this.#context;
    const reports = denial.reports();
    // What nodes said after the decision may show that too few of them can vote, which the decision did not need.
    if (isOthers(denial) && ableToVote(reports) >= quorum) {
      const isHeldAround = around.some((lease) => reports.some(({ holder }) => holder === lease.holder));
      return new AcquireTimeoutError(keys, reports, attempts, waitedMs, ahead, undefined, isHeldAround);
    }
    const names = keys.map((key) => JSON.stringify(key)).join(", ");
    const what =
      denial.why === "slow"
        ? "was granted too late to be of use"
        : `could not be acquired${denial.isLasting ? ", and waiting will not help" : ""}`;
    return new QuorumUnreachableError(`${names} ${what}`, quorum, reports);
  }
}

/** `AbortSignal.timeout`, of whatever realm. */
function isTimeLimit(reason: unknown): boolean {
  return typeof reason === "object" && reason !== null && "name" in reason && reason.name === "TimeoutError";
}
