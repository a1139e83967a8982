/** Why an attempt failed, read from its ballot: pure. Decides how the next attempt is made, and which error ends the waiting. */
import { medianOf } from "../clock/node-time.ts";
import type { Ballot } from "../electorate.ts";
import { ABOUT_THE_KEY } from "../errors.ts";
import type { Denial, RefusalKind } from "../grantor.ts";
import type { Vote } from "../node/lock-node.ts";

/** `nodeTimeoutMs`: what an answer takes longer than that is a pause of this process. Nobody is to wait by that measure. */
export function classify(
  ballot: Ballot,
  quorum: number,
  nodeTimeoutMs: number,
): Pick<Denial, "why" | "isLasting" | "freeInMs" | "roundTripMs" | "ahead"> {
  const latencies = ballot.votes.flatMap((vote) =>
    vote === undefined || vote.kind === "faulted" || vote.tookMs === undefined ? [] : [vote.tookMs],
  );
  return {
    why: reasonOf(ballot, quorum),
    isLasting: ballot.votes.filter(isLasting).length > ballot.votes.length - quorum,
    freeInMs: freeInMs(ballot, quorum),
    roundTripMs: Math.min(medianOf(latencies) ?? 1, nodeTimeoutMs),
    ahead: placeInLine(ballot),
  };
}

function reasonOf({ won, votes }: Ballot, quorum: number): RefusalKind {
  if (won) return "slow";
  if (votes.some(asksForMore) && votes.filter(mayYetGrant).length >= quorum) return "stale";
  if (votes.filter(canVote).length < quorum) return "unreachable";
  const holders = votes.filter(isHeld).map(({ holder }) => holder);
  if (holders.some((holder) => holders.filter((each) => each === holder).length >= quorum)) return "held";
  // Somebody who was granted nothing and meets one holder everywhere has met the one who has it.
  return new Set(holders).size === 1 && !votes.some((vote) => vote?.kind === "granted") ? "held" : "split";
}

/** Those that nodes said others have, each once. */
export function heldKeys({ votes }: Ballot, keys: readonly string[]): readonly string[] {
  const held = new Set(votes.filter(isHeld).map(({ key }) => key));
  return keys.filter((_, index) => held.has(index));
}

type Held = Vote & { readonly kind: "refused"; readonly reason: "held" };

function isHeld(vote: Vote | undefined): vote is Held {
  return vote?.kind === "refused" && vote.reason === "held";
}

/** Where the nodes disagree, the best place. Undefined where a holder is no client of this library: nobody tells of its release. */
function placeInLine({ votes }: Ballot): number | undefined {
  const held = votes.filter(isHeld);
  if (held.some(({ holder }) => !isOurs(holder))) return undefined;
  const places = held.flatMap(({ ahead }) => (ahead === undefined ? [] : [ahead]));
  return places.length === 0 ? undefined : Math.min(...places);
}

/** `<owner>#<unique>` */
function isOurs(holder: string): boolean {
  return holder.includes("#");
}

function isLasting(vote: Vote | undefined): boolean {
  return vote?.kind === "faulted" && vote.isLasting === true;
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
    if (isHeld(vote) && vote.remainingMs >= 0) return vote.remainingMs;
    return vote?.kind === "refused" && vote.reason === "stale" ? 0 : Infinity;
  });
  const wait = waits.sort((a, b) => a - b)[quorum - 1];
  return wait === undefined || wait === Infinity ? undefined : wait;
}
