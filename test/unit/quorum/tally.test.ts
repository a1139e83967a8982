/** Counting, over every table of votes there is for up to seven nodes. */
import { expect, test } from "vitest";

import type { Vote } from "../../../src/node/lock-node.ts";
import {
  canDecideWithoutTheSilent,
  isAboutTheAttempt,
  patienceMs,
  quorumOf,
  tally,
  type Verdict,
  type Voice,
} from "../../../src/quorum/tally.ts";

const VOICES: Record<string, Voice> = { g: "granted", r: "refused", f: "faulted", " ": "-" };

/** `g` granted, `r` refused, `f` faulted, a blank for a node that has not spoken. */
function t(votes: string, nodes: number, expected: Verdict): void {
  const voices = votes
    .padEnd(nodes)
    .split("")
    .map((vote) => VOICES[vote] ?? "-");
  expect(tally(voices, quorumOf(nodes)), `"${votes}" of ${nodes}`).toBe(expected);
}

test("pictures", () => {
  t("", 5, "open");
  t("gr g", 5, "open");
  t("ggg", 5, "won");
  t("rff", 5, "lost");
  t("ggrr", 5, "open");
  t("gg", 4, "open");
  t("ggg", 4, "won");
  t("rr", 4, "lost"); // With even numbers half is enough to make a quorum impossible.
  t("g", 1, "won");
  t("f", 1, "lost");
  t("gg", 2, "won");
  t("gr", 2, "lost");
});

test("won when a quorum granted, lost when even the silent could not help, open otherwise: all tables of 1 to 7 nodes", () => {
  for (let nodes = 1; nodes <= 7; nodes++) {
    for (const voices of tables(nodes)) {
      const grants = voices.filter((voice) => voice === "granted").length;
      const hopes = voices.filter((voice) => voice === "granted" || voice === "-").length;
      const majority = (votes: number) => 2 * votes > nodes;
      const expected = majority(grants) ? "won" : majority(hopes) ? "open" : "lost";
      expect(tally(voices, quorumOf(nodes)), voices.join(" ")).toBe(expected);
    }
  }
});

test("any two quorums share a node", () => {
  for (let nodes = 1; nodes <= 100; nodes++) expect(2 * quorumOf(nodes)).toBeGreaterThan(nodes);
});

function tables(nodes: number): Voice[][] {
  if (nodes === 0) return [[]];
  return tables(nodes - 1).flatMap((rest) => Object.values(VOICES).map((voice) => [voice, ...rest]));
}

test("majorities of two lists that differ by one node have a server in common; of lists that differ by two they need not", () => {
  for (let nodes = 1; nodes < 15; nodes++) {
    expect(quorumOf(nodes) + quorumOf(nodes + 1)).toBeGreaterThan(nodes + 1);
  }
  expect(quorumOf(3) + quorumOf(5)).toBeLessThanOrEqual(5);
});

test("the silent ones are not needed once a quorum has granted or may grant the next attempt, and nothing is decided", () => {
  const decides = (votes: string, nodes: number): boolean => {
    const granted = votes.split("g").length - 1;
    const contested = votes.split("r").length - 1;
    return canDecideWithoutTheSilent(granted, contested, quorumOf(nodes));
  };
  expect(decides("gr", 3)).toBe(true);
  expect(decides("gf", 3)).toBe(false); // The third one is needed, however long it takes.
  expect(decides("g", 3)).toBe(false);
  expect(decides("gg", 5)).toBe(false); // Nobody is in the way: three hang, or are slow.
  expect(decides("ggr", 5)).toBe(true);
  expect(decides("grr", 5)).toBe(true);
  expect(decides("grff", 5)).toBe(false);
  expect(decides("ggr", 4)).toBe(true);
});

test("refusals that lie with the key or the proposal may be grants the next time, others not", () => {
  const refused = (reason: string) => isAboutTheAttempt({ kind: "refused", nowUs: 0, reason } as Vote);
  expect(["held", "stale", "clock"].map(refused)).toEqual([true, true, true]);
  expect(["unadmitted", "quarantined", "missing"].map(refused)).toEqual([false, false, false]);
  expect(isAboutTheAttempt({ kind: "granted", nowUs: 0 })).toBe(false);
  expect(isAboutTheAttempt({ kind: "faulted", reason: "timeout", detail: "", sent: true })).toBe(false);
});

test("a node has three round trips, its own or those of the others, and a ms", () => {
  expect(patienceMs(0.4, 0)).toBeCloseTo(2.2);
  expect(patienceMs(3, 40)).toBe(121);
  expect(patienceMs(50, 2)).toBe(151);
});
