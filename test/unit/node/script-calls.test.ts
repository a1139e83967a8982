/** Replies of another shape than the scripts give are nobody's vote. */
import { expect, test } from "vitest";

import { decodeVotes } from "../../../src/node/script-calls.ts";

test("a reply has one vote for every request", () => {
  expect(decodeVotes([5, "GG"], 2)?.votes).toEqual([
    { kind: "granted", nowUs: 5 },
    { kind: "granted", nowUs: 5 },
  ]);
});

test.each([
  ["fewer statuses than requests", [5, "G"]],
  ["more statuses than requests", [5, "GGG"]],
  ["no statuses", [5, ""]],
  ["statuses that are no text", [5, ["G", "G"]]],
  ["no time", [null, "GG"]],
  ["a time that is no integer", ["5", "GG"]],
  ["no list", "OK"],
  ["nothing", null],
])("a reply with %s is none", (_, reply) => {
  expect(decodeVotes(reply, 2)).toBeUndefined();
});

test.each([
  ["a letter nobody knows", [5, "G?"]],
  ["a detail that is missing", [5, "GH"]],
  ["a detail of another shape", [5, "GH", "holder"]],
  ["a number that is none", [5, "GS", "12"]],
  ["a place in line that is none", [5, "GX", ["first", "holder"]]],
])("where %s stands for one request, that one has no vote, and the other keeps its own", (_, reply) => {
  const votes = decodeVotes(reply, 2)?.votes ?? [];
  expect(votes[0]).toEqual({ kind: "granted", nowUs: 5 });
  expect(votes[1]).toMatchObject({ kind: "faulted", reason: "error", sent: true });
});

test("details belong to the requests that have any, in their order", () => {
  const votes = decodeVotes([5, "SGHUS", 7, [0, "them", 40, 9, -1], 8], 5)?.votes;
  expect(votes).toEqual([
    { kind: "refused", reason: "stale", fence: 7, nowUs: 5 },
    { kind: "granted", nowUs: 5 },
    { kind: "refused", reason: "held", key: 0, holder: "them", remainingMs: 40, fence: 9, nowUs: 5 },
    { kind: "refused", reason: "unadmitted", nowUs: 5 },
    { kind: "refused", reason: "stale", fence: 8, nowUs: 5 },
  ]);
});
