/**
 * Counting votes (rule C3), pure. Won at the q-th grant; lost as soon as so many nodes have failed to grant that q grants are out
 * of reach, which for an even number of nodes is not the same as half of them.
 */

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
