/** Counting, over every table of votes there is for up to seven nodes. */
import { expect, test } from "vitest";

import { quorumOf, tally, type Verdict, type Voice } from "../../../src/quorum/tally.ts";

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
