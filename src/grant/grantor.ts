/**
 * One attempt to acquire, in every mode (rules C1–C6): propose, ask, read the clock again, grant or undo. How nodes are asked and
 * counted, and who waits for what between attempts, is not known here.
 */
import { validityMs } from "../clock/validity.ts";
import type { AttemptRequest, Denial, Grant, Grantor } from "../grantor.ts";
import type { Request } from "../node/lock-node.ts";
import { ProtocolClaim } from "./claim.ts";
import { tauUs, type GrantorContext } from "./context.ts";
import { classify } from "./refusal.ts";
import { reportsOf } from "./report.ts";

export class ProtocolGrantor implements Grantor {
  readonly #context: GrantorContext;

  constructor(context: GrantorContext) {
    this.#context = context;
  }

  /** One attempt; a second one at once where the nodes only asked for a larger token (C6). */
  async attempt(request: AttemptRequest): Promise<Grant | Denial> {
    const first = await this.#attemptOnce(request);
    return first.kind === "denied" && first.why === "stale" ? this.#attemptOnce(request) : first;
  }

  async #attemptOnce({ keys, owner, ttlMs, minValidityMs, gated }: AttemptRequest): Promise<Grant | Denial> {
    const { clock, entropy, electorate, proposals, rules } = this.#context;
    const t0 = clock.now(); // C1: before the first byte
    const tau = tauUs(this.#context, t0);
    // C1: a fresh holder and a fresh proposal for every attempt, so that votes of an earlier one can never count.
    const holder = `${owner}#${entropy.unique()}`;
    const proposal = proposals.next(keys, tau);
    const request: Request = { op: "acquire", keys, holder, proposal, tauUs: tau, ttlMs };
    const claim = new ProtocolClaim(this.#context, keys, holder, proposal);

    const ballot = await electorate.poll({
      request: () => request,
      timeoutMs: Math.min(rules.nodeTimeoutMs, validityMs(ttlMs, rules)),
      gated,
      late: (index, vote) => claim.hear(index, vote),
    });
    claim.found(ballot, t0, ttlMs);
    const reports = () => reportsOf(electorate.nodes, ballot, keys);
    // C4: the clock again, after the q-th reply. Replies that took as long as the lock must not be returned as one.
    const isWorthwhile = claim.validUntil - clock.now() >= minValidityMs;
    if (ballot.won && isWorthwhile) return { kind: "granted", claim, reports };

    claim.undo();
    return { kind: "denied", ...classify(ballot, electorate.quorum), reports, complete: ballot.complete };
  }
}
