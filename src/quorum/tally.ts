/**
 * Counting votes (rule C3), pure. Won at the q-th grant; lost as soon as so many nodes have failed to grant that q grants are out
 * of reach, which for an even number of nodes is not the same as half of them; and when to stop waiting for the silent ones.
 */
import type { Vote } from "../node/lock-node.ts";

/** What counting needs to know of a node: `-` has not spoken. */
export type Voice = "granted" | "refused" | "faulted" | "-";

export type Verdict = "open" | "won" | "lost";

/** ⌊N/2⌋+1: any two quorums share a node. */
export function quorumOf(nodes: number): number {
  return Math.floor(nodes / 2) + 1;
}

export function tally(voices: readonly Voice[], quorum: number): Verdict {
  const granted = voices.filter((voice) => voice === "granted").length;
  const failed = voices.filter((voice) => voice === "refused" || voice === "faulted").length;
  return verdict(granted, failed, voices.length, quorum);
}

export function verdict(granted: number, failed: number, nodes: number, quorum: number): Verdict {
  if (granted >= quorum) return "won";
  return failed > nodes - quorum ? "lost" : "open";
}

/**
 * So many round trips is a node waited for, its own usual one or the one of this round, whichever is longer. Three: one that takes twice as
 * long as it did when it was quickest still counts.
 */
const ROUND_TRIPS = 3;
/** What schedulers and timers add to any round trip. */
const JITTER_MS = 1;

/** A refusal after which the same node may grant another attempt: it lies with the key, or with what was proposed. */
export function isAboutTheAttempt(vote: Vote): boolean {
  return (
    vote.kind === "refused" && (vote.reason === "held" || vote.reason === "stale" || vote.reason === "clock")
  );
}

/**
 * Whether those who have spoken could decide by themselves: a quorum of nodes has granted this attempt or may grant the next one, so that
 * the silent ones are not needed. Where some have faulted, or cannot vote, they are, and are waited for until the timeout.
 */
export function canDecideWithoutTheSilent(granted: number, contested: number, quorum: number): boolean {
  return contested > 0 && granted + contested >= quorum;
}

/**
 * For how long after it was asked a node counts as about to answer. `tookMs`: what a quorum of nodes took in this round, or in the last one.
 * `usualMs`: what this node is known to take; a slow one that is regular is waited for.
 */
export function patienceMs(tookMs: number, usualMs: number): number {
  return ROUND_TRIPS * Math.max(tookMs, usualMs) + JITTER_MS;
}
