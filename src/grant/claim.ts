/**
 * A lock this client was granted, and what the protocol allows with it: extend it (L3, L4, E2), ask the nodes about it, release it
 * (L5). The same object undoes an attempt that failed (C5), since the nodes cannot tell the two apart.
 */
import { deadline, type Instant, Latch } from "../clock/clock.ts";
import { surelyExpiredMs, ttlForValidityMs, validityMs } from "../clock/validity.ts";
import type { Ballot } from "../electorate.ts";
import type { NodeReport } from "../errors.ts";
import type { Adoption, AttemptRequest, Claim, HandOver, ReleaseReport, Renewal } from "../grantor.ts";
import type { ReleaseRequest, Request, Vote } from "../node/lock-node.ts";
import { tauUs, type GrantorContext } from "./context.ts";
import { reportsOf } from "./report.ts";
import { Standings } from "./standings.ts";

const NOBODY: readonly string[] = [];

/** Who makes an attempt that takes a claim's place (rule X1). */
export interface Exchanger {
  exchange(from: ProtocolClaim, request: AttemptRequest): Promise<HandOver>;
}

export class ProtocolClaim implements Claim {
  readonly keys: readonly string[];
  readonly holder: string;
  readonly fence: number;
  hasWoken = false;
  readonly #context: GrantorContext;
  readonly #exchanger: Exchanger;
  readonly #standings: Standings;
  /** Carried by releases, so that late top-ups are refused too (L4). */
  #largestProposal: number;
  #ttlMs = 0;
  #extendedAt: Instant = -Infinity;
  #validUntil: Instant = -Infinity;
  /** By then no node holds it, whatever was lost on the way. */
  #expiresBy: Instant = -Infinity;

  constructor(
    context: GrantorContext,
    exchanger: Exchanger,
    keys: readonly string[],
    holder: string,
    fence: number,
    largestProposal: number = fence,
  ) {
    this.#context = context;
    this.#exchanger = exchanger;
    this.#standings = new Standings(context.electorate.nodes.length);
    this.keys = keys;
    this.holder = holder;
    this.fence = fence;
    this.#largestProposal = largestProposal;
  }

  get largestProposal(): number {
    return this.#largestProposal;
  }

  get ttlMs(): number {
    return this.#ttlMs;
  }

  get extendedAt(): Instant {
    return this.#extendedAt;
  }

  get validUntil(): Instant {
    return this.#validUntil;
  }

  /** The votes of the acquire that was asked at `t0`. */
  found(ballot: Ballot, t0: Instant, ttlMs: number): void {
    this.#count(ballot);
    this.#expiresBy = t0 + surelyExpiredMs(ttlMs, this.#context.rules);
    this.#promise(t0, ttlMs, t0 + validityMs(ttlMs, this.#context.rules));
  }

  /** One vote, in time or after the verdict: a late grant holds the lock all the same. */
  hear(index: number, vote: Vote): void {
    this.#standings.hear(index, vote);
    if (vote.kind === "refused" && (vote.reason === "held" || vote.reason === "stale")) {
      this.#context.proposals.learn(this.keys, vote.fence);
    }
  }

  async extend(ttlMs: number): Promise<Renewal> {
    const { clock, electorate, rules, slots } = this.#context;
    const t0 = clock.now();
    const remainingMs = this.#validUntil - t0;
    if (remainingMs <= 0) return { kind: "lost", cause: "expired", reports: () => [] };
    // A shorter ttl would shorten what was promised, on some nodes only.
    const fullTtlMs = Math.min(Math.max(ttlMs, ttlForValidityMs(remainingMs, rules)), rules.maxTtlMs);
    const known = this.#standings.holders(); // E2: before the round begins
    this.#expiresBy = Math.max(this.#expiresBy, t0 + surelyExpiredMs(fullTtlMs, rules));

    slots.take(); // A lease that is held does not wait behind those that are wanted.
    const ballot = await electorate.poll({
      request: this.#extensionRequests(fullTtlMs, t0),
      counts: (index) => known[index] === true,
      timeoutMs: Math.min(rules.nodeTimeoutMs, remainingMs / 2),
      late: (index, vote) => this.hear(index, vote),
    });
    slots.give();
    this.#count(ballot);
    const reports = () => this.#reports(ballot, t0);
    // L3: a renewal that completes after the old validity says nothing about the time between.
    if (clock.now() >= this.#validUntil) return { kind: "lost", cause: "expired", reports };
    if (ballot.won) {
      this.#promise(t0, fullTtlMs, Math.max(this.#validUntil, t0 + validityMs(fullTtlMs, rules)));
      return { kind: "renewed", reports, complete: () => ballot.complete() };
    }
    return this.#standings.isGoneFrom(electorate.quorum)
      ? { kind: "lost", cause: "gone", reports }
      : { kind: "unknown", reports };
  }

  release(withinMs: number = this.#context.rules.nodeTimeoutMs): Promise<ReleaseReport> {
    const { clock, electorate } = this.#context;
    const wasValid = clock.now() < this.#validUntil;
    return new Promise((resolve) => {
      let [asked, answered, confirmed] = [0, 0, 0];
      let needed = electorate.quorum;
      const settle = () => {
        timer.cancel();
        resolve(this.#report(wasValid, confirmed >= needed));
      };
      const timer = deadline(clock, clock.glance() + withinMs, settle);
      asked = this.undo(true, (vote) => {
        answered++;
        if (vote.kind === "granted") confirmed++;
        if (confirmed >= needed || answered === asked) settle();
      });
      needed = Math.min(needed, asked);
      if (asked === 0) settle();
    });
  }

  abandon(): ReleaseReport {
    return this.#report(this.#context.clock.now() < this.#validUntil, false);
  }

  handOver(request: AttemptRequest): Promise<HandOver> {
    return this.#exchanger.exchange(this, request);
  }

  /** A vote on the attempt that takes its place: where that was granted, or somebody else has the lock, this one is gone. */
  hearExchange(index: number, vote: Vote): void {
    if (vote.kind === "granted") this.#standings.free(index);
  }

  /**
   * It was given on. Nodes that did not say so may hold it still: when all have answered, or it takes too long, they are told to forget
   * it. Nobody is woken, since the lock is not free.
   */
  givenOn(complete: Promise<void>): ReleaseReport {
    const { clock, rules } = this.#context;
    const latch = new Latch(clock, rules.nodeTimeoutMs);
    void complete.then(() => latch.settle());
    void latch.settled.then(() => this.undo(false));
    return this.#report(clock.now() < this.#validUntil, true);
  }

  #report(wasValid: boolean, isConfirmed: boolean): ReleaseReport {
    const { nodes } = this.#context.electorate;
    const uncertain = this.#standings.isFree
      ? NOBODY
      : this.#standings.possible().map((index) => nodes[index]?.name ?? "");
    if (!wasValid) return { outcome: "expired", uncertain };
    return { outcome: isConfirmed ? "released" : "uncertain", uncertain };
  }

  async verify(): Promise<"held" | "lost" | "unknown"> {
    const seen = await this.#seen(() => {});
    return this.#context.clock.now() >= this.#validUntil ? "lost" : seen;
  }

  /**
   * H1: the nodes that hold it before they are asked are the only ones that count, as in any extension (E2). Whoever let go of it put it
   * back on no node since, so a quorum that holds it now has held it all the time. Where it is renewed too late (C4, S6), it is left as
   * it is: its token is good as long as before, and may be tried again.
   */
  async adopt(ttlMs: number, minValidityMs: number): Promise<Adoption["outcome"]> {
    const { clock, electorate, rules } = this.#context;
    electorate.nodes.forEach((_, index) => this.#standings.doubt(index));
    const seen = await this.#seen((index, isHeld) =>
      isHeld ? this.#standings.hold(index) : this.#standings.free(index),
    );
    const known = this.#standings.holders();
    const t0 = clock.now();
    const ballot = await electorate.poll({
      request: (index) => (known[index] === true ? this.#extensionRequests(ttlMs, t0)(index) : undefined),
      timeoutMs: Math.min(rules.nodeTimeoutMs, validityMs(ttlMs, rules)),
      late: (index, vote) => this.hear(index, vote),
    });
    this.found(ballot, t0, ttlMs);
    const reports = () => this.#reports(ballot, t0);
    const leftMs = this.#validUntil - clock.now();
    if (ballot.won && leftMs > 0 && leftMs >= minValidityMs)
      return { kind: "renewed", reports, complete: () => ballot.complete() };
    this.#validUntil = -Infinity;
    if (ballot.won) return { kind: "slow", reports };
    return seen === "lost" ? { kind: "lost", cause: "gone", reports } : { kind: "unknown", reports };
  }

  /** What a quorum of nodes says, reading only. */
  async #seen(tell: (index: number, isHeld: boolean) => void): Promise<"held" | "lost" | "unknown"> {
    const { clock, electorate, rules } = this.#context;
    const latch = new Latch(clock, rules.nodeTimeoutMs);
    let held = 0;
    let gone = 0;
    electorate.nodes.forEach((node, index) =>
      node.inspect(this.keys, (seen) => {
        if ("kind" in seen) return;
        const isHeld = seen.keys.every((key) => key.holder === this.holder);
        if (isHeld) held++;
        else gone++;
        tell(index, isHeld);
        if (Math.max(held, gone) >= electorate.quorum) latch.settle();
      }),
    );
    await latch.settled;
    if (gone >= electorate.quorum) return "lost";
    return held >= electorate.quorum ? "held" : "unknown";
  }

  /**
   * C5: a release to every node where the lock is or may still arrive, at once, behind the acquire on its connection; and again
   * until it is surely gone. A node that refused, or was never reached, has nothing to forget. `wakes`: whoever waits is told.
   * Answers with how many were asked.
   */
  undo(wakes: boolean, heard: (vote: Vote) => void = () => {}): number {
    const request: ReleaseRequest = {
      op: "release",
      keys: this.keys,
      holder: this.holder,
      proposal: this.#largestProposal,
      wakes,
    };
    const { nodes } = this.#context.electorate;
    let asked = 0;
    for (let index = 0; index < nodes.length; index++) {
      if (this.#standings.of(index) === "free") continue;
      asked++;
      nodes[index]?.undo(request, this.#expiresBy, (vote) => {
        if (vote.kind === "granted") {
          this.#standings.free(index);
          if (vote.woke === true) this.hasWoken = true;
        }
        heard(vote);
      });
    }
    return asked;
  }

  /** EXTEND where it may be held; where it surely is not, an ACQUIRE of the same value with a fresh proposal (L4). */
  #extensionRequests(ttlMs: number, t0: Instant): (index: number) => Request {
    const { keys, holder } = this;
    const tau = tauUs(this.#context, t0);
    const extend: Request = { op: "extend", keys, holder, tauUs: tau, ttlMs };
    let topUp: Request | undefined;
    return (index) => {
      if (this.#standings.of(index) !== "free") return extend;
      topUp ??= { op: "acquire", keys, holder, proposal: this.#topUpProposal(tau), tauUs: tau, ttlMs };
      return topUp;
    };
  }

  #reports(ballot: Ballot, t0: Instant): NodeReport[] {
    const { electorate, rules } = this.#context;
    const tau = tauUs(this.#context, t0);
    return reportsOf(electorate.nodes, ballot, {
      keys: this.keys,
      tauUs: tau,
      clockWindowMs: rules.clockWindowMs,
    });
  }

  #topUpProposal(tau: number): number {
    const proposal = this.#context.proposals.next(this.keys, tau);
    this.#largestProposal = Math.max(this.#largestProposal, proposal);
    return proposal;
  }

  #count(ballot: Ballot): void {
    ballot.votes.forEach((vote, index) => {
      if (vote !== undefined) this.hear(index, vote);
      else if (ballot.asked[index] === true) this.#standings.doubt(index);
    });
  }

  #promise(askedAt: Instant, ttlMs: number, validUntil: Instant): void {
    this.#extendedAt = askedAt;
    this.#ttlMs = ttlMs;
    this.#validUntil = validUntil;
  }
}
