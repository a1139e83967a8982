/** Votes in words: what each node said, for errors and events (rule numbers stay out of it; people read this at night). */
import type { NodeReport } from "../errors.ts";
import type { Ballot } from "../electorate.ts";
import type { FleetNodeState, LockNode, Refused, Vote } from "../node/lock-node.ts";
import { outOfReachMs } from "./refusal.ts";

/** What was asked, as far as answers are told in its terms. */
export interface Asked {
  readonly keys: readonly string[];
  /** τ: the nodes' time as this client took it to be. */
  readonly tauUs: number;
  readonly clockWindowMs: number;
}

export function reportsOf(nodes: readonly LockNode[], ballot: Ballot, question: Asked): NodeReport[] {
  return nodes.map((node, index) =>
    reportOf(node.name, ballot.votes[index], ballot.asked[index] === true, question),
  );
}

/** The same of nodes that were not asked for a vote, by what is known of them. */
export function reportsOfStates(states: readonly FleetNodeState[]): NodeReport[] {
  return states.map(({ node, state, detail }) => ({
    node,
    verdict: state === "admitted" ? "unanswered" : "faulted",
    latencyMs: undefined,
    ...standing(state, detail),
  }));
}

function standing(
  state: FleetNodeState["state"],
  detail: string,
): { readonly reason: string; readonly detail: string } {
  switch (state) {
    case "admitted":
    case "excluded":
      return { reason: state, detail };
    case "quarantined":
      return {
        reason: state,
        detail: `in quarantine: ${detail}, when all it may have forgotten has expired`,
      };
    case "unadmitted":
      return { reason: "not-admitted", detail };
    case "unreachable":
      return { reason: state, detail: `not connected: ${detail}` };
    case "connecting":
      return { reason: "unreachable", detail: "not connected yet" };
  }
}

function reportOf(node: string, vote: Vote | undefined, asked: boolean, question: Asked): NodeReport {
  const latencyMs = vote === undefined || vote.kind === "faulted" ? undefined : vote.tookMs;
  if (vote === undefined) {
    const detail = asked ? "had not answered when the others had decided" : "was not asked";
    return { node, verdict: "unanswered", reason: asked ? "pending" : "not-asked", detail, latencyMs };
  }
  switch (vote.kind) {
    case "granted":
      return { node, verdict: "granted", reason: "granted", detail: "granted", latencyMs };
    case "faulted":
      return { node, verdict: "faulted", reason: vote.reason, detail: vote.detail, latencyMs };
    case "refused":
      return {
        node,
        verdict: "refused",
        // Not `stale`: no later attempt is any better until the node's clock has caught up.
        reason: outOfReachMs(vote, question.clockWindowMs) === undefined ? vote.reason : "fence-ahead",
        detail: refusalDetail(vote, question),
        latencyMs,
        ...holderOf(vote),
      };
  }
}

function holderOf(vote: Refused): { holder?: string; remainingMs?: number } {
  return vote.reason === "held" ? { holder: vote.holder, remainingMs: vote.remainingMs } : {};
}

function refusalDetail(vote: Refused, { keys, tauUs, clockWindowMs }: Asked): string {
  switch (vote.reason) {
    case "held":
      return `${named(keys, vote.key)}held by ${vote.holder} for ${lifetime(vote.remainingMs)}`;
    case "stale":
      return staleDetail(vote.fence, outOfReachMs(vote, clockWindowMs));
    case "clock":
      return clockDetail((vote.nowUs - tauUs) / 1_000, clockWindowMs);
    case "unadmitted":
      return "lost its memory (restarted, flushed or promoted) and is not admitted yet";
    case "quarantined":
      return `in quarantine for ${Math.ceil((vote.untilUs - vote.nowUs) / 1_000)} ms more, until all it may have forgotten has expired`;
    case "missing":
      return `${named(keys, vote.key)}no longer held here${vote.holder === undefined ? "" : `, but by ${vote.holder}`}`;
  }
}

function staleDetail(fence: number, aheadMs: number | undefined): string {
  return aheadMs === undefined
    ? `has already accepted fence ${fence}, which is not smaller than the one proposed`
    : `its fences are ${Math.round(aheadMs)} ms ahead of its clock (fence ${fence}), and no larger one is accepted before it has caught up: its clock was ahead, and was set right`;
}

/** What came late, on the way or in a queue, looks like a clock that is ahead: a node knows only when it was asked. */
function clockDetail(aheadMs: number, clockWindowMs: number): string {
  const by = `${Math.abs(Math.round(aheadMs))} ms`;
  if (Math.abs(aheadMs) <= clockWindowMs) return "the fence that was proposed is too far ahead of its clock";
  return aheadMs > 0
    ? `its clock is ${by} ahead of the other nodes', or the request came so late (see clockWindowMs, ${clockWindowMs} ms)`
    : `its clock is ${by} behind the other nodes' (see clockWindowMs, ${clockWindowMs} ms)`;
}

/** A lock without a ttl is not one of ours, and will not go away by itself. */
function lifetime(remainingMs: number): string {
  return remainingMs < 0 ? "ever (it has no ttl)" : `${remainingMs} ms more`;
}

function named(keys: readonly string[], index: number): string {
  return keys.length > 1 ? `${JSON.stringify(keys[index])} ` : "";
}
