/**
 * From what is wanted to a lease: a place in this process's line, a turn, attempts until one is granted, and after it the way back, by a
 * release or by handing the lock on to the next in line. Where waiting, granting and leases meet; none of them knows the others.
 */
import { type Clock, type Instant, Latch, settledOrAborted } from "./clock/clock.ts";
import type { Entropy } from "./clock/entropy.ts";
import { LeaseLostError, LockerClosedError, QueueFullError, QuorumUnreachableError } from "./errors.ts";
import type { Events } from "./events.ts";
import type {
  AttemptRequest,
  Bequest,
  Claim,
  Denial,
  Grant,
  Grantor,
  ReleaseReport,
  Said,
} from "./grantor.ts";
import type { Job } from "./job.ts";
import { Lease, type LeaseTerms } from "./lease/lease.ts";
import type { NoLease } from "./refusals.ts";
import { type Attempter, attemptUntil, type Manner, PLAINLY } from "./wait/attempts.ts";
import { Courtesy } from "./wait/courtesy.ts";
import { Pace } from "./wait/pace.ts";
import { type Place, Turnstile } from "./wait/turnstile.ts";
import { type Herald, Wakeups } from "./wait/wakeups.ts";

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

interface Granted {
  readonly kind: "granted";
  readonly grant: Grant;
  readonly attempts: number;
  readonly tenure: Tenure;
}

/** What leases come back to. */
interface Home {
  readonly quorum: number;
  readonly checkTtl: (ttlMs: number) => void;
  readonly giveBack: (stay: Stay, extending: Promise<unknown> | undefined) => Promise<ReleaseReport>;
  readonly ended: (lease: Lease) => void;
}

/** A lease as its line sees it: its terms, and what its end means to those behind it. */
class Stay implements LeaseTerms {
  readonly keys: readonly string[];
  readonly owner: string;
  readonly autoExtend: boolean;
  readonly maxHoldMs: number;
  readonly claim: Claim;
  readonly said: Said;
  readonly place: Spot | undefined;
  readonly tenure: Tenure;
  readonly home: Home;

  constructor(job: Job, grant: Grant, place: Spot | undefined, tenure: Tenure, home: Home) {
    this.keys = job.keys;
    this.owner = job.owner;
    this.autoExtend = job.autoExtend;
    this.maxHoldMs = job.maxHoldMs;
    this.claim = grant.claim;
    this.said = grant;
    this.place = place;
    this.tenure = tenure;
    this.home = home;
  }

  get quorum(): number {
    return this.home.quorum;
  }

  checkTtl(ttlMs: number): void {
    this.home.checkTtl(ttlMs);
  }

  giveBack(extending: Promise<unknown> | undefined): Promise<ReleaseReport> {
    return this.home.giveBack(this, extending);
  }

  lost(): void {
    this.place?.leave();
  }

  ended(lease: Lease): void {
    this.home.ended(lease);
  }
}

/** A lock goes from hand to hand in one process so often, or for so long, and then is free for all others. */
const HAND_OVERS_MAX = 32;
const TENURE_MS_MAX = 100;

export class Acquirer {
  readonly #context: AcquirerContext;
  readonly #turnstile: Turnstile<Contender, Handed>;
  readonly #courtesy: Courtesy;
  readonly #pace: Pace<Denial>;
  readonly #wakeups: Wakeups;
  readonly #leases = new Set<Lease>();
  readonly #home: Home;
  /** Calls and releases that have not settled; to be waited for when all ends. */
  #calls = 0;
  #allSettled: () => void = () => {};
  #isClosed = false;

  constructor(context: AcquirerContext) {
    const { clock, heralds, quorum, listeningIdleMs: idleMs } = context;
    this.#context = context;
    this.#turnstile = new Turnstile(clock);
    this.#courtesy = new Courtesy(clock);
    this.#pace = new Pace(clock);
    const waiter = context.entropy.unique();
    const isHeld = (key: string) => !this.#turnstile.isFree([key]);
    this.#wakeups = new Wakeups({ heralds, quorum, waiter, idleMs, isHeld, clock });
    this.#home = {
      quorum,
      checkTtl: context.checkTtl,
      giveBack: (stay, extending) => this.#settling(stay, extending),
      ended: (lease) => this.#leases.delete(lease),
    };
  }

  /** The lease, or what kept it from being granted. Never rejects. */
  attempt(job: Job, began: Instant): Promise<Lease | NoLease> {
    const contender: Contender = { job };
    if (this.#isFullFor(job)) {
      const error = new QueueFullError(this.#context.queueLengthMax);
      return Promise.resolve({ kind: "given-up", error });
    }
    const place = this.#placeFor(contender);
    const isFirst = place === undefined || place.isFirst;
    const courtesyMs = isFirst ? this.#courtesy.take(job.nodeKeys) : 0;
    this.#calls++;
    if (!isFirst || job.signal !== undefined || courtesyMs > 0)
      return this.#settled(this.#patiently(contender, place, began, courtesyMs));
    // Nearly always the first attempt is granted: then nothing of what else there is to waiting is needed.
    return this.#context.grantor.attempt(requestOf(job, PLAINLY)).then((first) => {
      if (first.kind === "denied") this.#noteFailure(job.nodeKeys, first);
      if (first.kind === "denied" || this.#context.closing.aborted)
        return this.#settled(this.#patiently(contender, place, began, courtesyMs, first));
      this.#noteSettled();
      return this.#handOut(this.#granted(first, 1), contender, place, began);
    });
  }

  /** A lease on what another process let go of. Rejects where it is not held any more, or where that is not known. */
  adopt(job: Job, bequest: Bequest, began: Instant): Promise<Lease> {
    this.#calls++;
    return this.#settled(this.#adopt(job, bequest, began));
  }

  async #adopt(job: Job, bequest: Bequest, began: Instant): Promise<Lease> {
    const { grantor, quorum, closing } = this.#context;
    const { claim, outcome } = await grantor.adopt(bequest, job.ttlMs, job.minValidityMs);
    if (outcome.kind === "lost") {
      void claim.release(); // What is left of it on a minority of nodes is in the way of others.
      throw new LeaseLostError({ keys: job.keys, fence: bequest.fence }, outcome.cause, outcome.reports());
    }
    if (outcome.kind === "unknown" || outcome.kind === "slow") {
      const what = outcome.kind === "slow" ? "adopted too late to be of use" : "adoption not confirmed";
      throw new QuorumUnreachableError(what, quorum, outcome.reports());
    }
    job.signal?.throwIfAborted();
    if (closing.aborted) throw new LockerClosedError();
    const contender: Contender = { job };
    const place = this.#turnstile.isFree(job.nodeKeys)
      ? this.#turnstile.join(job.nodeKeys, contender)
      : undefined;
    const granted = this.#granted({ ...outcome, kind: "granted", claim }, 1);
    return this.#handOut(granted, contender, place, began);
  }

  /** Every lease that was not lost and whose release has not begun. */
  leases(): readonly Lease[] {
    return [...this.#leases];
  }

  /** Whether the lease was acquired here. */
  hasMade(lease: Lease): boolean {
    return lease.isOf(this.#home);
  }

  /**
   * Tells all holders at once, and waits until they have given their leases back or their validities have ended; but no longer than
   * `hurry` allows: what is still held then is left to its ttl, since somebody may be at work under it.
   */
  async close(hurry: AbortSignal): Promise<void> {
    const leases = [...this.#leases].map((lease) => lease.close());
    const patience = new Latch(this.#context.clock, Infinity);
    void Promise.all(leases).then(() => patience.settle());
    await settledOrAborted(patience, [hurry]);
    while (this.#calls > 0) await new Promise<void>((resolve) => (this.#allSettled = resolve));
    this.#isClosed = true;
    this.#wakeups.close();
  }

  async #settled<T>(call: Promise<T>): Promise<T> {
    try {
      return await call;
    } finally {
      this.#noteSettled();
    }
  }

  #noteSettled(): void {
    if (--this.#calls === 0) this.#allSettled();
  }

  /** `first`: what the first attempt came to, where one was made. */
  async #patiently(
    contender: Contender,
    place: Spot | undefined,
    began: Instant,
    courtesyMs: number,
    first?: Grant | Denial,
  ): Promise<Lease | NoLease> {
    const { job } = contender;
    let lease: Lease | undefined;
    try {
      const outcome = await this.#outcome(contender, place, began, courtesyMs, first);
      if (outcome.kind !== "granted") return outcome;
      // The last moment to give up: from here on it is the caller's.
      if (this.#context.closing.aborted || job.signal?.aborted === true)
        return await this.#refuse(outcome.grant, job);
      lease = this.#handOut(outcome, contender, place, began);
      return lease;
    } catch (error) {
      return { kind: "given-up", error };
    } finally {
      if (lease === undefined) place?.leave();
    }
  }

  #outcome(
    contender: Contender,
    place: Spot | undefined,
    began: Instant,
    courtesyMs: number,
    first: Grant | Denial | undefined,
  ): Granted | NoLease | Promise<Granted | NoLease> {
    if (first?.kind === "granted") return this.#granted(first, 1);
    if (place === undefined || place.isFirst)
      return this.#pursue(contender, place, began, courtesyMs, first, first === undefined ? 0 : 1);
    return this.#queue(contender, place, began);
  }

  /** Who makes one attempt and would have to wait in line for it goes past the line. */
  #placeFor(contender: Contender): Spot | undefined {
    const { nodeKeys } = contender.job;
    if (goesPast(contender.job) && !this.#turnstile.isFree(nodeKeys)) return undefined;
    return this.#turnstile.join(nodeKeys, contender);
  }

  #isFullFor(job: Job): boolean {
    const isFull = this.#turnstile.waiting >= this.#context.queueLengthMax;
    return isFull && !goesPast(job) && !this.#turnstile.isFree(job.nodeKeys);
  }

  /** In line, until it is the first or has what it waits for. */
  async #queue(contender: Contender, place: Spot, began: Instant): Promise<Granted | NoLease> {
    const { clock, closing } = this.#context;
    const { waitMs, signal } = contender.job;
    const turn = await place.turn({ deadline: began + waitMs, signal, closing }, clock);
    if (turn === "late") return { kind: "queued", before: place.before().map((each) => each.job) };
    if (turn === "first") return this.#goOn(contender, place, began);
    return { kind: "granted", attempts: 1, ...turn.handed };
  }

  /** Of several keys, those that others have are to be asked for less often; where nobody has any, all of them. */
  #noteFailure(nodeKeys: readonly string[], denial: Denial): void {
    this.#pace.failed(denial.heldKeys.length > 0 ? denial.heldKeys : nodeKeys, denial);
  }

  /** Its turn has come. Where those before it failed again and again, it goes on with what they were told. */
  #goOn(contender: Contender, place: Spot, began: Instant): Promise<Granted | NoLease> {
    const { nodeKeys } = contender.job;
    const courtesyMs = this.#courtesy.take(nodeKeys);
    return this.#pursue(contender, place, began, courtesyMs, this.#pace.last(nodeKeys), 0);
  }

  #granted(grant: Grant, attempts: number): Granted {
    const tenure = { since: this.#context.clock.glance(), handOvers: 0 };
    return { kind: "granted", grant, attempts, tenure };
  }

  /** At the nodes, until it is granted or the time is over. */
  async #pursue(
    contender: Contender,
    place: Spot | undefined,
    began: Instant,
    courtesyMs: number,
    first: Denial | undefined,
    made: number,
  ): Promise<Granted | NoLease> {
    const { grantor, clock, entropy, closing, notify } = this.#context;
    const { job } = contender;
    if (first !== undefined) contender.denial = first;
    if (first !== undefined && made > 0) place?.stuck(first.heldKeys);
    const { nodeKeys, once, waitMs, signal, retry } = job;
    const attempter: Attempter<Grant, Denial> = {
      attempt: (manner) => grantor.attempt(requestOf(job, manner, place?.inAskingOrder())),
      abandon: ({ claim }) => void claim.release(),
      denied: (denial) => {
        contender.denial = denial;
        place?.stuck(denial.heldKeys);
        this.#noteFailure(nodeKeys, denial);
      },
    };
    const ear = notify && !once && waitMs > 0 ? this.#wakeups.ear(nodeKeys) : undefined;
    const paceMs = (): number => this.#pace.delayMs(nodeKeys);
    const deadline = began + waitMs;
    const terms = { deadline, attempts: made, once, signal, closing, courtesyMs, paceMs, retry, ear };
    const { outcome, attempts } = await attemptUntil(attempter, terms, clock, entropy, first);
    return outcome.kind === "granted"
      ? this.#granted(outcome, attempts)
      : { kind: "denied", denial: outcome, attempts };
  }

  #handOut(granted: Granted, contender: Contender, place: Spot | undefined, began: Instant): Lease {
    const { clock, events } = this.#context;
    const { grant, attempts, tenure } = granted;
    const stay = new Stay(contender.job, grant, place, tenure, this.#home);
    const lease = new Lease(grant.claim, stay, clock, events);
    contender.lease = lease;
    place?.hold();
    this.#pace.succeeded(grant.claim.keys);
    this.#leases.add(lease);
    if (events.isHeard) this.#tellAcquired(lease, grant, attempts, began);
    return lease;
  }

  async #refuse({ claim }: Grant, { signal }: Job): Promise<never> {
    await claim.release();
    signal?.throwIfAborted();
    throw new LockerClosedError();
  }

  #settling(stay: Stay, extending: Promise<unknown> | undefined): Promise<ReleaseReport> {
    // The nodes cannot be told any more.
    if (this.#isClosed) return Promise.resolve(stay.claim.abandon());
    this.#calls++;
    return extending === undefined ? this.#giveBack(stay) : extending.then(() => this.#giveBack(stay));
  }

  /** Hands it on to the next in line, where there is one that can take it and this process has not had it for too long. */
  #giveBack({ claim, place, tenure }: Stay): Promise<ReleaseReport> {
    const { clock, closing } = this.#context;
    const beganAt = clock.glance();
    const isOver = tenure.handOvers >= HAND_OVERS_MAX || beganAt - tenure.since > TENURE_MS_MAX;
    const next = isOver || closing.aborted ? undefined : place?.after();
    const given = next === undefined ? claim.release() : this.#handOver(claim, next, tenure);
    return given.then((report) => {
      if (claim.hasWoken) this.#courtesy.owe(claim.keys, clock.glance() - beganAt);
      place?.leave();
      this.#noteSettled();
      return report;
    });
  }

  async #handOver(claim: Claim, next: Spot, { since, handOvers }: Tenure): Promise<ReleaseReport> {
    const { outcome, report } = await claim.handOver(requestOf(next.job.job, PLAINLY));
    if (outcome.kind === "denied") {
      this.#noteFailure(claim.keys, outcome);
      return report;
    }
    const isTaken = next.hand({ grant: outcome, tenure: { since, handOvers: handOvers + 1 } });
    if (!isTaken) await outcome.claim.release();
    return report;
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
}

function goesPast({ once, waitMs }: Job): boolean {
  return once || waitMs === 0;
}

function requestOf(
  { nodeKeys, owner, ttlMs, minValidityMs }: Job,
  { gated, waiting }: Manner,
  keys: readonly string[] = nodeKeys,
): AttemptRequest {
  return { keys, owner, ttlMs, minValidityMs, gated, waiting };
}
