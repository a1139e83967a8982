/**
 * From what is wanted to a lease: a place in this process's line, a turn, attempts until one is granted, and after it the way back, by a
 * release or by handing the lock on to the next in line. Where waiting, granting and leases meet; none of them knows the others.
 */
import { type Clock, type Instant, Latch } from "./clock/clock.ts";
import type { Entropy } from "./clock/entropy.ts";
import {
  AcquireTimeoutError,
  LockerClosedError,
  type NodeReport,
  QueueFullError,
  QuorumUnreachableError,
} from "./errors.ts";
import type { Events } from "./events.ts";
import type { AttemptRequest, Claim, Denial, Grant, Grantor, ReleaseReport } from "./grantor.ts";
import { Lease } from "./lease/lease.ts";
import { type Attempter, attemptUntil, type Manner } from "./wait/attempts.ts";
import { Courtesy } from "./wait/courtesy.ts";
import type { RetryFunction } from "./wait/retry.ts";
import { type Place, Turnstile } from "./wait/turnstile.ts";
import { type Herald, Wakeups } from "./wait/wakeups.ts";

/** One call of acquire, checked. */
export interface Job {
  readonly keys: readonly string[];
  readonly nodeKeys: readonly string[];
  readonly owner: string;
  readonly ttlMs: number;
  readonly minValidityMs: number;
  readonly waitMs: number;
  readonly autoExtend: boolean;
  readonly maxHoldMs: number;
  /** One attempt, and no place in a line that others wait in. */
  readonly once: boolean;
  readonly signal: AbortSignal | undefined;
  /** The user's delays between attempts, made for this call. */
  readonly retry: RetryFunction | undefined;
}

export interface AcquirerContext {
  readonly grantor: Grantor;
  readonly heralds: readonly Herald[];
  readonly quorum: number;
  /** Whether waiters listen for notices of releases. */
  readonly notify: boolean;
  /** How long the connections that hear them outlive the last waiter. */
  readonly listeningIdleMs: number;
  /** How many calls may wait for their turn in this process. */
  readonly queueLengthMax: number;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly events: Events;
  readonly closing: AbortSignal;
  /** Throws what is wrong with a ttl. */
  readonly checkTtl: (ttlMs: number) => void;
}

/** A call as the others in its line see it. */
interface Contender {
  readonly job: Job;
  /** What its last attempt came to. */
  denial?: Denial;
  lease?: Lease;
}

/** Since when this process has the lock without a break, and how often it went from hand to hand. */
interface Tenure {
  readonly since: Instant;
  readonly handOvers: number;
}

interface Handed {
  readonly grant: Grant;
  readonly tenure: Tenure;
}

type Spot = Place<Contender, Handed>;

type Outcome =
  | { readonly kind: "granted"; readonly grant: Grant; readonly attempts: number; readonly tenure: Tenure }
  | { readonly kind: "denied"; readonly denial: Denial; readonly attempts: number }
  /** Its time was over before its turn came. */
  | { readonly kind: "queued"; readonly before: readonly Contender[] };

type Denied = Exclude<Outcome, { readonly kind: "granted" }>;

/** A lock goes from hand to hand in one process so often, or for so long, and then is free for all others. */
const HAND_OVERS_MAX = 32;
const TENURE_MS_MAX = 100;

/** How long an error waits for the nodes that had not answered when it was decided, above two round trips. */
const STRAGGLERS_MS = 5;

export class Acquirer {
  readonly #context: AcquirerContext;
  readonly #turnstile = new Turnstile<Contender, Handed>();
  readonly #courtesy: Courtesy;
  readonly #wakeups: Wakeups;
  readonly #leases = new Set<Lease>();
  readonly #ended = (lease: Lease): void => void this.#leases.delete(lease);
  /** Calls that have not settled; to be waited for when all ends. */
  #calls = 0;
  #allSettled: () => void = () => {};

  constructor(context: AcquirerContext) {
    const { clock, heralds, quorum, listeningIdleMs: idleMs } = context;
    this.#context = context;
    this.#courtesy = new Courtesy(clock);
    const waiter = context.entropy.unique();
    const isHeld = (key: string) => !this.#turnstile.isFree([key]);
    this.#wakeups = new Wakeups({ heralds, quorum, waiter, idleMs, isHeld, clock });
  }

  /** The lease; rejects with what kept it from being granted. */
  async acquire(job: Job, began: Instant): Promise<Lease> {
    const result = await this.#attempt(job, began);
    if (result instanceof Lease) return result;
    throw await this.#failure(result, job, began);
  }

  /** The lease, or undefined where somebody else has a key. */
  async tryAcquire(job: Job, began: Instant): Promise<Lease | undefined> {
    const result = await this.#attempt(job, began);
    if (result instanceof Lease) return result;
    if (result.kind !== "denied" || result.denial.why === "unreachable" || this.#context.closing.aborted)
      throw await this.#failure(result, job, began);
    this.#tellFailed(job, "CONTENDED", result.attempts, began, result.denial.reports());
    return undefined;
  }

  /** Gives back all leases, once what was under way has ended. */
  async close(): Promise<void> {
    if (this.#calls > 0) await new Promise<void>((resolve) => (this.#allSettled = resolve));
    await Promise.all([...this.#leases].map((lease) => lease.close()));
    this.#wakeups.close();
  }

  async #attempt(job: Job, began: Instant): Promise<Lease | Denied> {
    const contender: Contender = { job };
    const place = this.#placeFor(contender);
    this.#calls++;
    let lease: Lease | undefined;
    try {
      const isFirst = place === undefined || place.isFirst;
      const outcome = isFirst
        ? await this.#try(contender, began)
        : await this.#queue(contender, place, began);
      if (outcome.kind !== "granted") return outcome;
      lease = await this.#take(outcome, contender, place, began);
      return lease;
    } finally {
      if (lease === undefined) place?.leave();
      if (--this.#calls === 0) this.#allSettled();
    }
  }

  /** Who makes one attempt and would have to wait in line for it goes past the line. */
  #placeFor(contender: Contender): Spot | undefined {
    const { nodeKeys, once, waitMs } = contender.job;
    if (!this.#turnstile.isFree(nodeKeys)) {
      if (once || waitMs === 0) return undefined;
      const { queueLengthMax } = this.#context;
      if (this.#turnstile.waiting >= queueLengthMax) throw new QueueFullError(queueLengthMax);
    }
    return this.#turnstile.join(nodeKeys, contender);
  }

  /** In line, until it is the first or has what it waits for. */
  async #queue(contender: Contender, place: Spot, began: Instant): Promise<Outcome> {
    const { clock, closing } = this.#context;
    const { waitMs, signal } = contender.job;
    const turn = await place.turn({ deadline: began + waitMs, signal, closing }, clock);
    if (turn === "late") return { kind: "queued", before: place.before().map((each) => each.job) };
    if (turn === "first") return this.#try(contender, began);
    return { kind: "granted", attempts: 1, ...turn.handed };
  }

  /** At the nodes, until it is granted or the time is over. */
  #try(contender: Contender, began: Instant): Promise<Outcome> {
    const { grantor } = this.#context;
    const { job } = contender;
    const courtesyMs = this.#courtesy.take(job.nodeKeys);
    if (job.signal !== undefined || courtesyMs > 0) return this.#pursue(contender, began, courtesyMs);
    // Nearly always the first attempt is granted: then nothing of what else there is to waiting is needed.
    return grantor
      .attempt(requestOf(job, PLAINLY))
      .then((first) =>
        first.kind === "granted"
          ? this.#granted(first, 1)
          : this.#pursue(contender, began, courtesyMs, first),
      );
  }

  #granted(grant: Grant, attempts: number): Outcome {
    const tenure = { since: this.#context.clock.glance(), handOvers: 0 };
    return { kind: "granted", grant, attempts, tenure };
  }

  /** `first`: what the first attempt came to, where one was made. */
  async #pursue(contender: Contender, began: Instant, courtesyMs: number, first?: Denial): Promise<Outcome> {
    const { grantor, clock, entropy, closing, notify } = this.#context;
    const { job } = contender;
    const { nodeKeys, once, waitMs, signal, retry } = job;
    const attempter: Attempter<Grant, Denial> = {
      attempt: (manner) => grantor.attempt(requestOf(job, manner)),
      abandon: ({ claim }) => void claim.release(),
      denied: (denial) => (contender.denial = denial),
    };
    const ear = notify && !once && waitMs > 0 ? this.#wakeups.ear(nodeKeys) : undefined;
    const terms = { deadline: began + waitMs, once, signal, closing, courtesyMs, retry, ear };
    const { outcome, attempts } = await attemptUntil(attempter, terms, clock, entropy, first);
    return outcome.kind === "granted"
      ? this.#granted(outcome, attempts)
      : { kind: "denied", denial: outcome, attempts };
  }

  /** The last moment to give up: from here on it is the caller's. */
  #take(
    { grant, attempts, tenure }: Outcome & { readonly kind: "granted" },
    contender: Contender,
    place: Spot | undefined,
    began: Instant,
  ): Lease | Promise<never> {
    const { job } = contender;
    if (this.#context.closing.aborted || job.signal?.aborted === true) return this.#refuse(grant, job);
    const { quorum, checkTtl, clock, events } = this.#context;
    const { keys, owner, autoExtend, maxHoldMs } = job;
    const { claim } = grant;
    const terms = {
      keys,
      owner,
      autoExtend,
      maxHoldMs,
      quorum,
      checkTtl,
      giveBack: () => this.#giveBack(claim, place, tenure),
      lost: () => place?.leave(),
      ended: this.#ended,
    };
    const lease = new Lease(claim, terms, clock, events);
    contender.lease = lease;
    this.#leases.add(lease);
    if (events.isHeard) this.#tellAcquired(lease, grant, attempts, began);
    return lease;
  }

  async #refuse({ claim }: Grant, { signal }: Job): Promise<never> {
    await claim.release();
    signal?.throwIfAborted();
    throw new LockerClosedError();
  }

  /** Hands it on to the next in line, where there is one that can take it and this process has not had it for too long. */
  async #giveBack(claim: Claim, place: Spot | undefined, tenure: Tenure): Promise<ReleaseReport> {
    const { clock, closing } = this.#context;
    const beganAt = clock.glance();
    const isOver = tenure.handOvers >= HAND_OVERS_MAX || beganAt - tenure.since > TENURE_MS_MAX;
    const next = isOver || closing.aborted ? undefined : place?.after();
    const report = next === undefined ? await claim.release() : await this.#handOver(claim, next, tenure);
    if (claim.hasWoken) this.#courtesy.owe(claim.keys, clock.glance() - beganAt);
    place?.leave();
    return report;
  }

  async #handOver(claim: Claim, next: Spot, { since, handOvers }: Tenure): Promise<ReleaseReport> {
    const { outcome, report } = await claim.handOver(requestOf(next.job.job, PLAINLY));
    if (outcome.kind === "denied") return report;
    const isTaken = next.hand({ grant: outcome, tenure: { since, handOvers: handOvers + 1 } });
    if (!isTaken) await outcome.claim.release();
    return report;
  }

  async #failure(outcome: Denied, job: Job, began: Instant): Promise<Error & { readonly code: string }> {
    const denial = outcome.kind === "denied" ? outcome.denial : undefined;
    if (denial !== undefined) await this.#lastWords(denial);
    const { closing, clock } = this.#context;
    const waitedMs = clock.glance() - began;
    const attempts = outcome.kind === "denied" ? outcome.attempts : 0;
    const error = closing.aborted
      ? new LockerClosedError()
      : outcome.kind === "denied"
        ? this.#refusal(outcome.denial, job, attempts, waitedMs)
        : this.#stuckBehind(outcome.before, job, waitedMs);
    this.#tellFailed(job, error.code, attempts, began, "nodes" in error ? error.nodes : []);
    return error;
  }

  /** The decision is made; nodes about to answer get a moment, since their answers are what a person will want to read. */
  async #lastWords(denial: Denial): Promise<void> {
    const patience = new Latch(this.#context.clock, 2 * denial.roundTripMs + STRAGGLERS_MS);
    await Promise.race([denial.complete(), patience.settled]);
    patience.settle();
  }

  #refusal(
    denial: Denial,
    { keys }: Job,
    attempts: number,
    waitedMs: number,
    ahead?: number,
  ): AcquireTimeoutError | QuorumUnreachableError {
    if (denial.why !== "unreachable")
      return new AcquireTimeoutError(keys, denial.reports(), attempts, waitedMs, ahead);
    const names = keys.map((key) => JSON.stringify(key)).join(", ");
    return new QuorumUnreachableError(
      `${names} could not be acquired`,
      this.#context.quorum,
      denial.reports(),
    );
  }

  /** Its turn did not come: what is known is what those before it know. */
  #stuckBehind(
    before: readonly Contender[],
    job: Job,
    waitedMs: number,
  ): AcquireTimeoutError | QuorumUnreachableError {
    const holder = before.find(({ lease }) => lease?.isHeld() === true)?.lease;
    const denial = before.find((each) => each.denial !== undefined)?.denial;
    if (holder === undefined && denial !== undefined)
      return this.#refusal(denial, job, 0, waitedMs, before.length);
    return new AcquireTimeoutError(job.keys, [], 0, waitedMs, before.length, holder);
  }

  #tellAcquired(lease: Lease, { claim, reports }: Grant, attempts: number, began: Instant): void {
    const { clock, events } = this.#context;
    const { holder, fence } = claim;
    const waitedMs = clock.glance() - began;
    events.emit(() => ({
      type: "acquired",
      keys: lease.keys,
      holder,
      fence,
      attempts,
      waitedMs,
      remainingMs: lease.remainingMs(),
      nodes: reports(),
    }));
  }

  #tellFailed(
    { keys }: Job,
    code: string,
    attempts: number,
    began: Instant,
    nodes: readonly NodeReport[],
  ): void {
    const { clock, events } = this.#context;
    const waitedMs = clock.glance() - began;
    events.emit(() => ({ type: "acquire-failed", keys, code, attempts, waitedMs, nodes }));
  }
}

const PLAINLY: Manner = { gated: false, waiting: undefined };

function requestOf(
  { nodeKeys, owner, ttlMs, minValidityMs }: Job,
  { gated, waiting }: Manner,
): AttemptRequest {
  return { keys: nodeKeys, owner, ttlMs, minValidityMs, gated, waiting };
}
