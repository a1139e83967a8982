/** Why an attempt failed, read from its ballot: pure. Decides how the next attempt is made, and which error ends the waiting. */
import { medianOf } from "../clock/node-time.ts";
import type { Ballot } from "../electorate.ts";
import { ABOUT_THE_KEY } from "../errors.ts";
import type { Denial, RefusalKind } from "../grantor.ts";
import type { Vote } from "../node/lock-node.ts";

export function classify(ballot: Ballot, quorum: number): Pick<Denial, "why" | "freeInMs" | "roundTripMs"> {
  const latencies = ballot.latenciesMs.filter((latency) => latency !== undefined);
  return {
    why: reasonOf(ballot, quorum),
    freeInMs: freeInMs(ballot, quorum),
    roundTripMs: medianOf(latencies) ?? 1,
  };
}

function reasonOf({ won, votes }: Ballot, quorum: number): RefusalKind {
  if (won) return "slow";
  if (votes.some(asksForMore) && votes.filter(mayYetGrant).length >= quorum) return "stale";
  if (votes.filter(canVote).length < quorum) return "unreachable";
  // Somebody who was granted nothing and meets one holder everywhere has met the one who has it.
  const holders = new Set(
    votes.flatMap((vote) => (vote?.kind === "refused" && vote.reason === "held" ? [vote.holder] : [])),
  );
  return holders.size === 1 && !votes.some((vote) => vote?.kind === "granted") ? "held" : "split";
}

function asksForMore(vote: Vote | undefined): boolean {
  return vote?.kind === "refused" && (vote.reason === "stale" || vote.reason === "clock");
}

function mayYetGrant(vote: Vote | undefined): boolean {
  return vote === undefined || vote.kind === "granted" || asksForMore(vote);
}

function canVote(vote: Vote | undefined): boolean {
  return (
    vote === undefined ||
    vote.kind === "granted" ||
    (vote.kind === "refused" && ABOUT_THE_KEY.has(vote.reason))
  );
}

/** The time after which the nodes that hold it for others are few enough. Nodes that did not answer may hold it for any time. */
function freeInMs({ votes }: Ballot, quorum: number): number | undefined {
  const waits = votes.map((vote) => {
    if (vote?.kind === "granted") return 0;
    if (vote?.kind === "refused" && vote.reason === "held" && vote.remainingMs >= 0) return vote.remainingMs;
    return vote?.kind === "refused" && vote.reason === "stale" ? 0 : Infinity;
  });
  const wait = waits.sort((a, b) => a - b)[quorum - 1];
  return wait === undefined || wait === Infinity ? undefined : wait;
}
