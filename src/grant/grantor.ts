/**
 * One attempt to acquire, in every mode (rules C1–C6, X1): propose, ask, read the clock again, grant or undo. How nodes are asked and
 * counted, and who waits for what between attempts, is not known here.
 */
import type { Instant } from "../clock/clock.ts";
import type { Ballot } from "../electorate.ts";
import type { NodeReport } from "../errors.ts";
import { validityMs } from "../clock/validity.ts";
import type { Adoption, AttemptRequest, Bequest, Denial, Grant, Grantor, HandOver } from "../grantor.ts";
import type { Faulted, Request, Vote, Waiter } from "../node/lock-node.ts";
import { type Exchanger, ProtocolClaim } from "./claim.ts";
import { tauUs, type GrantorContext } from "./context.ts";
import { classify, heldKeys } from "./refusal.ts";
import { reportsOf } from "./report.ts";

export class ProtocolGrantor implements Grantor, Exchanger {
  readonly #context: GrantorContext;

  constructor(context: GrantorContext) {
    this.#context = context;
  }

  /** One attempt; a second one at once where the nodes only asked for a larger token (C6). */
  attempt(request: AttemptRequest): Promise<Grant | Denial> {
    const { slots } = this.#context;
    if (!slots.isFree) return this.#attemptLater(request);
    slots.take();
    return this.#attempt(request, undefined, true);
  }

  async #attemptLater(request: AttemptRequest): Promise<Grant | Denial> {
    const { slots, electorate, rules } = this.#context;
    if (await slots.wait(rules.nodeTimeoutMs)) return this.#attempt(request, undefined, true);
    return this.#denial(busy(electorate.nodes.length), request.keys, 0, true);
  }

  async adopt(
    { keys, holder, fence, largestProposal }: Bequest,
    ttlMs: number,
    minValidityMs: number,
  ): Promise<Adoption> {
    const claim = new ProtocolClaim(this.#context, this, keys, holder, fence, largestProposal);
    this.#context.proposals.learn(keys, largestProposal);
    return { claim, outcome: await claim.adopt(ttlMs, minValidityMs) };
  }

  /** X1: an attempt for which `from` counts as free. Short of a quorum, both are released everywhere. */
  async exchange(from: ProtocolClaim, request: AttemptRequest): Promise<HandOver> {
    const { clock, rules, slots } = this.#context;
    slots.take(); // It ends a hold: what waits for slots waits for this, too.
    const releaseBy = clock.glance() + rules.nodeTimeoutMs;
    const outcome = await this.#attempt(request, from, true);
    const report =
      outcome.kind === "granted"
        ? from.givenOn(outcome.complete())
        : await from.release(Math.max(0, releaseBy - clock.glance()));
    return { outcome, report };
  }

  /** As few promises as can be: this is where every acquire goes through. A slot was taken for it. */
  #attempt(
    attempt: AttemptRequest,
    from: ProtocolClaim | undefined,
    mayRepeat: boolean,
  ): Promise<Grant | Denial> {
    const { keys, owner, ttlMs } = attempt;
    const { clock, entropy, electorate, proposals, rules, slots } = this.#context;
    const t0 = clock.now(); // C1: before the first byte
    const tau = tauUs(this.#context, t0);
    // C1: a fresh holder and a fresh proposal for every attempt, so that votes of an earlier one can never count.
    const holder = `${owner}#${entropy.unique()}`;
    const proposal = proposals.next(keys, tau);
    const request: Request =
      from === undefined
        ? { op: "acquire", keys, holder, proposal, tauUs: tau, ttlMs, waiter: waiterOf(attempt, t0, tau) }
        : { op: "exchange", keys, holder, proposal, tauUs: tau, ttlMs, from: from.holder };
    const claim = new ProtocolClaim(this.#context, this, keys, holder, proposal);
    const polled = electorate.poll({
      request: () => request,
      timeoutMs: Math.min(rules.nodeTimeoutMs, validityMs(ttlMs, rules)),
      isAttempt: true,
      gated: attempt.gated,
      late: (index, vote) => {
        claim.hear(index, vote);
        from?.hearExchange(index, vote);
      },
    });
    return polled.then((ballot) => {
      claim.found(ballot, t0, ttlMs);
      if (from !== undefined) ballot.votes.forEach((vote, index) => vote && from.hearExchange(index, vote));
      const outcome = this.#judge(ballot, claim, attempt, tau, !mayRepeat);
      const isStale = outcome.kind === "denied" && outcome.why === "stale";
      if (isStale && mayRepeat) return this.#attempt(attempt, from, false);
      slots.give();
      return outcome;
    });
  }

  #judge(
    ballot: Ballot,
    claim: ProtocolClaim,
    { keys, minValidityMs }: AttemptRequest,
    tau: number,
    isRepeat: boolean,
  ): Grant | Denial {
    const { clock } = this.#context;
    // C4: the clock again, after the q-th reply. Replies that took as long as the lock must not be returned as one.
    const isWorthwhile = claim.validUntil - clock.now() >= minValidityMs;
    if (ballot.won && isWorthwhile) {
      const reports = () => this.#reports(ballot, keys, tau);
      return { kind: "granted", claim, reports, complete: () => ballot.complete() };
    }
    const denial = this.#denial(ballot, keys, tau, isRepeat);
    claim.undo(mayBeWaitedFor(denial.why));
    return denial;
  }

  #denial(ballot: Ballot, keys: readonly string[], tau: number, isRepeat: boolean): Denial {
    const { electorate, rules } = this.#context;
    const { quorum } = electorate;
    return {
      kind: "denied",
      ...classify(ballot, { ...rules, quorum, isRepeat }),
      heldKeys: keys.length > 1 ? heldKeys(ballot, keys) : NO_KEYS,
      reports: () => this.#reports(ballot, keys, tau),
      complete: () => ballot.complete(),
    };
  }

  #reports(ballot: Ballot, keys: readonly string[], tau: number): NodeReport[] {
    const { electorate, rules } = this.#context;
    return reportsOf(electorate.nodes, ballot, { keys, tauUs: tau, clockWindowMs: rules.clockWindowMs });
  }
}

/** Of a single key nobody needs to be told. */
const NO_KEYS: readonly string[] = [];

const NOT_SENT: Faulted = {
  kind: "faulted",
  reason: "backlog",
  detail: "too many attempts of this client are under way",
  sent: false,
};

/** Nobody was asked. */
function busy(nodes: number): Ballot {
  return {
    won: false,
    votes: Array<Vote>(nodes).fill(NOT_SENT),
    asked: Array<boolean>(nodes).fill(false),
    complete: () => Promise.resolve(),
  };
}

/** Rule Q1, in node time. */
function waiterOf({ waiting }: AttemptRequest, t0: Instant, tau: number): Waiter | undefined {
  return waiting && { id: waiting.id, sinceUs: tau - Math.round((t0 - waiting.since) * 1_000) };
}

/** Others may have met a quorum of this attempt's votes, and wait for their end. Of a few stray ones nobody needs to be told. */
function mayBeWaitedFor(why: Denial["why"]): boolean {
  return why === "slow" || why === "unreachable";
}
