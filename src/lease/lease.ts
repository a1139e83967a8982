/// <reference lib="esnext.disposable" preserve="true" />
/**
 * What a user holds. Whether it is held is computed from the clock at the moment of asking (rule L1), never remembered; its signal
 * aborts before the validity ends, by a local timer, whatever the network does (L2). Once lost it stays lost.
 */
import type { Clock, Instant, Timer } from "../clock/clock.ts";
import { guardMs } from "../clock/validity.ts";
import {
  LeaseLostError,
  type LossCause,
  type NodeReport,
  OptionRangeError,
  QuorumUnreachableError,
} from "../errors.ts";
import type { Events } from "../events.ts";
import type { Claim, ReleaseReport, Renewal, Said } from "../grantor.ts";
import { Keeper } from "./keeper.ts";

/** What a lease rests on: how it is given back is said by the terms. */
export type HeldClaim = Omit<Claim, "release" | "abandon" | "handOver" | "hasWoken">;

export interface LeaseTerms {
  /** As the user wrote them, without prefix. */
  readonly keys: readonly string[];
  readonly owner: string;
  readonly autoExtend: boolean;
  /** Infinity where there is no limit. */
  readonly maxHoldMs: number;
  readonly quorum: number;
  /** What the nodes said to its acquire. */
  readonly said: Said;
  /** Where it was acquired. */
  readonly home: object;
  /** Throws what is wrong with a ttl. */
  checkTtl(ttlMs: number): void;
  /** Gives back what the lease rests on, behind an extension that is under way; never rejects. */
  giveBack(extending: Promise<unknown> | undefined): Promise<ReleaseReport>;
  /** Called once, when the lease is lost before its release. */
  lost(): void;
  /** Called once, when the lease is lost or its release begins. */
  ended(lease: Lease): void;
}

/**
 * A lock on its way to another process: plain data, to be sent as JSON. Whoever has it can take the lock over, so it is as secret as the
 * right to hold it.
 */
export interface LeaseToken {
  /** As they were asked for; the adopter needs the same `keyPrefix`. */
  readonly keys: readonly string[];
  readonly holder: string;
  readonly fence: number;
  /** The largest proposal made for it. */
  readonly proposal: number;
  readonly ttlMs: number;
}

type State =
  | { readonly kind: "held" }
  /** `until`: the validity it was lost with; an extension that is answered later does not bring it back (L3). */
  | { readonly kind: "lost"; readonly error: LeaseLostError; readonly until: Instant }
  | { readonly kind: "released" };

const HELD: State = { kind: "held" };
const RELEASED: State = { kind: "released" };

/** `refresh` extends no more often than this. */
const REFRESH_MS_MIN = 1_000;

/** A lock that was acquired. Made by `acquire`, `tryAcquire` and `using`. */
export class Lease implements AsyncDisposable {
  readonly #claim: HeldClaim;
  readonly #terms: LeaseTerms;
  readonly #clock: Clock;
  readonly #events: Events;
  readonly #acquiredAt: Instant;
  readonly #keeper: Keeper | undefined;
  #state: State = HELD;
  #controller: AbortController | undefined;
  #endTimer: Timer;
  #extending: Promise<Renewal> | undefined;
  #release: Promise<ReleaseReport> | undefined;
  /** Where the locker closes: hears that it was given back. */
  #farewell: ((given: Promise<ReleaseReport>) => void) | undefined;
  /** Bodies at work under it besides that of its own `using`. */
  #guests = 0;
  #emptied: () => void = () => {};
  #said: Said;
  #extensions = 0;
  /** What the nodes said to the last extension that failed. */
  #lastReports: () => readonly NodeReport[] = () => [];

  /** @internal */
  constructor(claim: HeldClaim, terms: LeaseTerms, clock: Clock, events: Events) {
    this.#claim = claim;
    this.#terms = terms;
    this.#said = terms.said;
    this.#clock = clock;
    this.#events = events;
    this.#acquiredAt = claim.extendedAt;
    this.#endTimer = this.#setEndTimer();
    this.#keeper = terms.autoExtend ? new Keeper(clock, claim, () => this.#keepOn()) : undefined;
  }

  /** The key, or the first of several. */
  get key(): string {
    return this.keys[0] ?? "";
  }

  /** All keys, as they were asked for. */
  get keys(): readonly string[] {
    return this.#terms.keys;
  }

  /** The value that stands in the lock key on the nodes: `<owner>#<unique>`. */
  get holder(): string {
    return this.#claim.holder;
  }

  get owner(): string {
    return this.#terms.owner;
  }

  /**
   * The fencing token: an integer in µs that is larger than that of every earlier lease of these keys. Send it with every write to a
   * resource that rejects smaller ones; without that, no lock can stop a paused holder's late write. Never changes by extending.
   */
  get fence(): number {
    return this.#claim.fence;
  }

  /**
   * Aborts with a `LeaseLostError` when the lease is about to end and cannot be kept, `max(50 ms, 5 % of the ttl)` (at most a
   * quarter of it) before its validity does; or at once when a quorum of nodes says that it is gone, or the locker closes. Not aborted by
   * `release()`.
   */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#state.kind === "lost") this.#controller.abort(this.#state.error);
    return this.#controller.signal;
  }

  /** Milliseconds of validity left, by the client's elapsed clock; 0 once it has ended, was proved lost, or was released. */
  remainingMs(): number {
    if (this.#release !== undefined) return 0;
    return Math.max(0, this.#until() - this.#clock.now());
  }

  /** True while validity is left. After the signal has aborted this is the time left to stop in. */
  isHeld(): boolean {
    return this.remainingMs() > 0;
  }

  /**
   * Throws a `LeaseLostError` unless at least `minMs` of validity is left (default 0, which still needs more than none). To be asked
   * right before a step that must not be taken without the lock.
   */
  assertHeld(minMs = 0): void {
    if (!(minMs >= 0)) throw new OptionRangeError("minMs", "be a number of at least 0", minMs);
    if (this.#state.kind === "lost") throw this.#state.error;
    const remainingMs = this.remainingMs();
    if (remainingMs <= 0 || remainingMs < minMs) throw new LeaseLostError(this, "expired");
  }

  /** Asks the nodes: `held` and `lost` are proven by a quorum of them (or by the clock), anything else is `unknown`. Changes nothing. */
  async verify(): Promise<"held" | "lost" | "unknown"> {
    if (this.#state.kind !== "held") return "lost";
    return this.isHeld() ? this.#claim.verify() : "lost";
  }

  /**
   * Makes the lease valid for about `ttlMs` from now (default: the ttl it was acquired with; 1 … `maxTtlMs`); never shortens it.
   * Rejects with `LeaseLostError` where it is lost, and with `QuorumUnreachableError` where too few nodes answered: the lease then
   * stands as before, until its old validity ends.
   */
  async extend(ttlMs: number = this.#claim.ttlMs): Promise<void> {
    this.#terms.checkTtl(ttlMs);
    const renewal = await this.#renew(ttlMs);
    if (this.#state.kind === "lost") throw this.#state.error;
    if (renewal.kind === "renewed") return;
    if (this.#state.kind === "released") throw new LeaseLostError(this, "released");
    if (renewal.kind === "unknown") {
      throw new QuorumUnreachableError("extension not confirmed", this.#terms.quorum, renewal.reports());
    }
  }

  /**
   * For those who ask often: extends where the last extension is older than a tenth of the ttl and than one second, and otherwise only
   * asks the nodes whether it is still held. Rejects with `LeaseLostError` where it is not, also when a quorum of nodes is found without
   * it, and with `QuorumUnreachableError` where too few nodes answered.
   */
  async refresh(): Promise<"extended" | "verified"> {
    const { ttlMs, extendedAt } = this.#claim;
    if (this.#clock.now() - extendedAt >= Math.max(ttlMs / 10, REFRESH_MS_MIN)) {
      await this.extend();
      return "extended";
    }
    const state = await this.verify();
    if (state === "lost") this.#lose(this.isHeld() ? "gone" : this.#endCause());
    if (this.#state.kind === "lost") throw this.#state.error;
    if (this.#state.kind === "released") throw new LeaseLostError(this, "released");
    if (state === "unknown") throw new QuorumUnreachableError("not verified", this.#terms.quorum, []);
    return "verified";
  }

  /**
   * Lets go of the lock without releasing it, so that another process can go on with it (`locker.adopt`), with the same fence. Unless it
   * is adopted it is free when its ttl is over. Rejects with `LeaseLostError` where it is not held any more.
   */
  async detach(): Promise<LeaseToken> {
    this.#keeper?.stop();
    // H1: once it is let go of, it must be put back on no node any more.
    while (this.#extending !== undefined) await this.#extending;
    const loss = this.loss();
    if (loss !== undefined) throw loss;
    if (this.#state.kind === "released") throw new LeaseLostError(this, "released");
    const { holder, fence, largestProposal: proposal, ttlMs } = this.#claim;
    const report: ReleaseReport = { outcome: "detached", uncertain: [] };
    this.#tellReleased(report, this.#clock.glance(), this.#validUntil());
    this.#release = Promise.resolve(report);
    this.#end();
    this.#terms.lost();
    return { keys: this.keys, holder, fence, proposal, ttlMs };
  }

  /**
   * Gives the lock back. Never rejects, and settles within the node timeout; called again, it answers with the same report. Nodes
   * that did not confirm are told in the background until the ttl is over.
   */
  release(): Promise<ReleaseReport> {
    this.#release ??= this.#giveBack();
    return this.#release;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  /** @internal What the nodes said to the acquire, or to the last extension that succeeded. */
  get said(): Said {
    return this.#said;
  }

  /** @internal How many extensions of it have succeeded. */
  get extensions(): number {
    return this.#extensions;
  }

  /** @internal Its release has begun, or it was let go of. */
  get isOver(): boolean {
    return this.#release !== undefined;
  }

  /** @internal The loss, if there was one: noticed now, even where a blocked event loop kept the timer from running. */
  loss(): LeaseLostError | undefined {
    if (this.#state.kind === "held" && this.#clock.now() >= this.#validUntil()) this.#lose(this.#endCause());
    return this.#state.kind === "lost" ? this.#state.error : undefined;
  }

  /**
   * @internal The loss that makes work worthless which ends now. That the locker closes is none where the lock was held to the end: whoever
   * is told that his work was lost does it again.
   */
  lossOfWork(): LeaseLostError | undefined {
    const loss = this.loss();
    return loss?.lossCause === "closed" && this.isHeld() ? undefined : loss;
  }

  /** @internal Whether it was acquired there. */
  isOf(home: object): boolean {
    return this.#terms.home === home;
  }

  /** @internal Those of the keys that it holds. */
  held(nodeKeys: readonly string[]): readonly string[] {
    return nodeKeys.filter((key) => this.#claim.keys.includes(key));
  }

  /** @internal One more body works under it. */
  enter(): void {
    this.#guests++;
  }

  /** @internal The end of a body that entered. */
  leave(): void {
    if (--this.#guests === 0) this.#emptied();
  }

  /** @internal Settles when no body that entered is at work; undefined where none is. */
  vacated(): Promise<void> | undefined {
    return this.#guests === 0 ? undefined : new Promise((resolve) => (this.#emptied = resolve));
  }

  /**
   * @internal The locker closes. The holder is told at once and has what is left of the validity to stop in: freed any earlier, the lock
   * would let the next one in beside it. It is not extended any more, so that a holder that does not stop ends all the same. Settles when
   * it was given back, by the holder or at the end of the validity.
   */
  close(): Promise<unknown> {
    this.#lose("closed");
    // Whoever hears the signal may have given it back on the spot.
    if (this.#release !== undefined) return this.#release;
    this.#endTimer = this.#clock.at(this.#until(), () => void this.release());
    return new Promise((resolve) => (this.#farewell = resolve));
  }

  #giveBack(): Promise<ReleaseReport> {
    this.#keeper?.stop();
    const beganAt = this.#clock.glance();
    const validUntil = this.#until();
    this.#endTimer.cancel();
    if (this.#state.kind === "held") this.#end();
    else if (this.lossOfWork() === undefined) this.#state = RELEASED;
    // L5: an extension in flight would put the lock back behind our release.
    const given = this.#terms.giveBack(this.#extending);
    this.#farewell?.(given);
    if (!this.#events.isHeard) return given;
    return given.then((report) => {
      this.#tellReleased(report, beganAt, validUntil);
      return report;
    });
  }

  #end(): void {
    this.#state = RELEASED;
    this.#endTimer.cancel();
    this.#terms.ended(this);
  }

  #tellReleased({ outcome }: ReleaseReport, beganAt: Instant, validUntil: Instant): void {
    const heldMs = beganAt - this.#acquiredAt;
    const remainingMs = Math.max(0, validUntil - beganAt);
    const durationMs = this.#clock.glance() - beganAt;
    this.#events.emit(() => ({ type: "released", ...this.#who(), outcome, heldMs, durationMs, remainingMs }));
  }

  /** For the keeper: one extension; false when it need not come back. */
  async #keepOn(): Promise<boolean> {
    await this.#renew(this.#claim.ttlMs);
    return this.#state.kind === "held";
  }

  /** One extension at a time: a second one waits for the first. */
  async #renew(ttlMs: number): Promise<Renewal> {
    while (this.#extending !== undefined) await this.#extending;
    if (this.loss() !== undefined || this.#state.kind !== "held")
      return { kind: "unknown", reports: () => [] };
    const beganAt = this.#clock.glance();
    this.#extending = this.#claim.extend(ttlMs);
    const renewal = await this.#extending;
    this.#extending = undefined;
    if (this.#state.kind === "held") this.#take(renewal, this.#clock.glance() - beganAt);
    return renewal;
  }

  #take(renewal: Renewal, durationMs: number): void {
    if (renewal.kind === "renewed") {
      this.#said = renewal;
      this.#extensions++;
      this.#events.emit(() => ({
        type: "extended",
        ...this.#who(),
        durationMs,
        remainingMs: this.remainingMs(),
      }));
      return;
    }
    const { kind: outcome, reports } = renewal;
    const remainingMs = this.remainingMs();
    this.#events.emit(() => ({
      type: "extension-failed",
      ...this.#who(),
      outcome,
      remainingMs,
      nodes: reports(),
    }));
    this.#lastReports = reports;
    if (renewal.kind === "lost") this.#lose(renewal.cause);
  }

  #lose(cause: LossCause): void {
    if (this.#state.kind !== "held") return;
    const until = cause === "gone" ? -Infinity : this.#validUntil();
    const error = new LeaseLostError(this, cause, this.#lastReports());
    this.#state = { kind: "lost", error, until };
    const marginMs = this.remainingMs();
    this.#keeper?.stop();
    this.#endTimer.cancel();
    this.#events.emit(() => ({ type: "lost", ...this.#who(), cause, marginMs }));
    this.#controller?.abort(error);
    this.#terms.lost();
    this.#terms.ended(this);
  }

  /** The end of its validity, or of the one it was lost with. */
  #until(): Instant {
    return this.#state.kind === "lost" ? this.#state.until : this.#validUntil();
  }

  #validUntil(): Instant {
    return Math.min(this.#claim.validUntil, this.#acquiredAt + this.#terms.maxHoldMs);
  }

  #endCause(): LossCause {
    return this.#claim.validUntil > this.#validUntil() ? "max-hold" : "expired";
  }

  /** It stays where it is when the lease is extended, and is set anew when it rings: once in a ttl, not with every extension. */
  #setEndTimer(): Timer {
    const guard = Math.min(guardMs(this.#claim.ttlMs), this.#terms.maxHoldMs / 4);
    const end = this.#validUntil();
    return this.#clock.at(end - guard, () => {
      if (this.#validUntil() > end) this.#endTimer = this.#setEndTimer();
      else this.#lose(this.#endCause());
    });
  }

  #who(): { keys: readonly string[]; fence: number } {
    return { keys: this.keys, fence: this.fence };
  }
}
