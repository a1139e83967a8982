/** Why an attempt failed, read from its ballot: pure. Decides how the next attempt is made, and which error ends the waiting. */
import { medianOf } from "../clock/node-time.ts";
import { leadMs } from "../clock/validity.ts";
import type { Ballot } from "../electorate.ts";
import { ABOUT_THE_KEY } from "../errors.ts";
import type { Denial, RefusalKind } from "../grantor.ts";
import type { Vote } from "../node/lock-node.ts";

/** What a ballot is read with. */
export interface Reading {
  readonly quorum: number;
  /** What an answer takes longer than that is a pause of this process. Nobody is to wait by that measure. */
  readonly nodeTimeoutMs: number;
  readonly clockWindowMs: number;
  /** C6: this attempt has learnt from the one before. What is refused for its time now is so for another reason than what it knew. */
  readonly isRepeat: boolean;
}

export function classify(
  ballot: Ballot,
  reading: Reading,
): Pick<Denial, "why" | "isLasting" | "freeInMs" | "roundTripMs" | "ahead"> {
  const { quorum, nodeTimeoutMs } = reading;
  const latencies = ballot.votes.flatMap((vote) =>
    vote === undefined || vote.kind === "faulted" || vote.tookMs === undefined ? [] : [vote.tookMs],
  );
  return {
    why: reasonOf(ballot, reading),
    isLasting: ballot.votes.filter(isLasting).length > ballot.votes.length - quorum,
    freeInMs: freeInMs(ballot, quorum),
    roundTripMs: Math.min(medianOf(latencies) ?? 1, nodeTimeoutMs),
    ahead: placeInLine(ballot),
  };
}

function reasonOf({ won, votes }: Ballot, reading: Reading): RefusalKind {
  const { quorum } = reading;
  if (won) return "slow";
  const asksForMore = (vote: Vote | undefined): boolean => isBehind(vote, reading);
  const mayYetGrant = votes.filter(
    (vote) => vote === undefined || vote.kind === "granted" || asksForMore(vote),
  );
  if (votes.some(asksForMore) && mayYetGrant.length >= quorum) return "stale";
  if (votes.filter((vote) => canVote(vote, reading)).length < quorum) return "unreachable";
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

/**
 * By how much the fences that a node has accepted are ahead of its clock, where that is more than any proposal may be (N8): it grants
 * nothing to anybody until its clock has caught up. Undefined for every other vote.
 */
export function outOfReachMs(vote: Vote | undefined, clockWindowMs: number): number | undefined {
  if (vote?.kind !== "refused" || vote.reason !== "stale") return undefined;
  const aheadMs = (vote.fence - vote.nowUs) / 1_000;
  return aheadMs >= leadMs(clockWindowMs) ? aheadMs : undefined;
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

/** The attempt was behind what the node knows: of fences, or of the time. */
function isBehind(vote: Vote | undefined, { clockWindowMs, isRepeat }: Reading): boolean {
  if (vote?.kind !== "refused") return false;
  if (vote.reason === "clock") return !isRepeat;
  return vote.reason === "stale" && outOfReachMs(vote, clockWindowMs) === undefined;
}

function canVote(vote: Vote | undefined, { clockWindowMs }: Reading): boolean {
  if (vote === undefined || vote.kind === "granted") return true;
  if (outOfReachMs(vote, clockWindowMs) !== undefined) return false;
  return vote.kind === "refused" && ABOUT_THE_KEY.has(vote.reason);
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
