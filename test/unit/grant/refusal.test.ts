/** When no wait will bring a quorum. `L` faulted lastingly, `f` faulted otherwise, `h` held by others, `g` granted, `-` has not spoken. */
import { expect, test } from "vitest";

import { classify } from "../../../src/grant/refusal.ts";
import type { Vote } from "../../../src/node/lock-node.ts";
import { quorumOf } from "../../../src/quorum/tally.ts";

const FAULT = { kind: "faulted", reason: "error", detail: "NOPERM", sent: true } as const;

const VOTES: Readonly<Record<string, Vote | undefined>> = {
  L: { ...FAULT, isLasting: true },
  f: FAULT,
  h: { kind: "refused", reason: "held", key: 0, holder: "a#1", remainingMs: 5, fence: 1, nowUs: 1 },
  g: { kind: "granted", nowUs: 1 },
  "-": undefined,
};

test.each<[string, boolean]>([
  ["L", true],
  ["f", false],
  ["-", false],
  ["LL", true],
  ["L-", true],
  ["fL", true],
  ["ff", false],
  ["LLg", true],
  ["LL-", true],
  ["LLf", true],
  ["Lff", false],
  ["Lf-", false],
  ["Lhh", false],
  ["fff", false],
  ["LLLgg", true],
  ["LLfff", false],
  ["LL---", false],
])("%s: %s", (row, isLasting) => {
  const votes = row.split("").map((voice) => VOTES[voice]);
  const ballot = { won: false, votes, asked: votes.map(() => true), complete: () => Promise.resolve() };
  const reading = { quorum: quorumOf(votes.length), nodeTimeoutMs: 50, clockWindowMs: 100, isRepeat: false };
  expect(classify(ballot, reading).isLasting).toBe(isLasting);
});
