/** Votes in words: what each node said, for errors and events (rule numbers stay out of it; people read this at night). */
import type { NodeReport } from "../errors.ts";
import type { Ballot } from "../electorate.ts";
import type { FleetNodeState, LockNode, Refused, Vote } from "../node/lock-node.ts";

export function reportsOf(nodes: readonly LockNode[], ballot: Ballot, keys: readonly string[]): NodeReport[] {
  return nodes.map((node, index) =>
    reportOf(node.name, ballot.votes[index], ballot.asked[index] === true, keys),
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

function reportOf(node: string, vote: Vote | undefined, asked: boolean, keys: readonly string[]): NodeReport {
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
        reason: vote.reason,
        detail: refusalDetail(vote, keys),
        latencyMs,
        ...holderOf(vote),
      };
  }
}

function holderOf(vote: Refused): { holder?: string; remainingMs?: number } {
  return vote.reason === "held" ? { holder: vote.holder, remainingMs: vote.remainingMs } : {};
}

function refusalDetail(vote: Refused, keys: readonly string[]): string {
  switch (vote.reason) {
    case "held":
      return `${named(keys, vote.key)}held by ${vote.holder} for ${lifetime(vote.remainingMs)}`;
    case "stale":
      return `has already accepted fence ${vote.fence}, which is not smaller than the one proposed`;
    case "clock":
      return "its clock is too far from the other nodes' (see clockWindowMs)";
    case "unadmitted":
      return "lost its memory (restarted, flushed or promoted) and is not admitted yet";
    case "quarantined":
      return `in quarantine for ${Math.ceil((vote.untilUs - vote.nowUs) / 1_000)} ms more, until all it may have forgotten has expired`;
    case "missing":
      return `${named(keys, vote.key)}no longer held here${vote.holder === undefined ? "" : `, but by ${vote.holder}`}`;
  }
}

/** A lock without a ttl is not one of ours, and will not go away by itself. */
function lifetime(remainingMs: number): string {
  return remainingMs < 0 ? "ever (it has no ttl)" : `${remainingMs} ms more`;
}

function named(keys: readonly string[], index: number): string {
  return keys.length > 1 ? `${JSON.stringify(keys[index])} ` : "";
}
