/** Releases a node owes an answer to are asked again, when it makes sense, until they are done for good (rules C5, L5, R2). */
import { expect, test } from "vitest";

import { VirtualClock } from "../../../src/clock/virtual-clock.ts";
import { Debts } from "../../../src/node/debts.ts";
import type { Faulted, ReleaseRequest, Vote } from "../../../src/node/lock-node.ts";

const START_US = 1_800_000_000_000_000;
const SILENT: Faulted = { kind: "faulted", reason: "timeout", detail: "no answer", sent: true };

/** A node that answers with what `says` says, and counts. */
function setUp(says: (asked: number, nowUs: number) => Vote) {
  const clock = new VirtualClock();
  const state = { asked: 0, isReachable: true };
  const nowUs = () => START_US + 1_000 * clock.now();
  const ask = (_: ReleaseRequest, reply: (vote: Vote) => void) => {
    const vote = says(++state.asked, nowUs());
    queueMicrotask(() => reply(vote));
  };
  const debts = new Debts(clock, ask, () => state.isReachable);
  return { clock, state, debts };
}

function release(proposal: number): ReleaseRequest {
  return { op: "release", keys: ["k"], holder: "v", proposal, wakes: true };
}

test("what was not answered is asked again until it is", async () => {
  const { clock, state, debts } = setUp((asked, nowUs) => (asked < 3 ? SILENT : { kind: "granted", nowUs }));
  const heard: string[] = [];
  debts.undo(release(START_US), 60_000, (vote) => heard.push(vote.kind));
  await clock.advance(10_000);
  expect(state.asked).toBe(3);
  expect(heard).toEqual(["faulted"]);
  expect([debts.size, clock.pending]).toEqual([0, 0]);
});

test("but not after its lock has surely expired", async () => {
  const { clock, state, debts } = setUp(() => SILENT);
  debts.undo(release(START_US), 600, () => {});
  await clock.advance(10_000);
  expect(state.asked).toBe(3);
  expect([debts.size, clock.pending]).toEqual([0, 0]);
});

test("nor while there is no connection, but at once when the node is back", async () => {
  const { clock, state, debts } = setUp((asked, nowUs) => (asked < 2 ? SILENT : { kind: "granted", nowUs }));
  state.isReachable = false;
  debts.undo(release(START_US), 60_000, () => {});
  await clock.advance(10_000);
  expect(state.asked).toBe(1);
  state.isReachable = true;
  debts.collect();
  await clock.advance(0);
  expect([state.asked, debts.size]).toEqual([2, 0]);
});

test("a release that left no whole tombstone is asked until it has (R2)", async () => {
  const owed = (asked: number) => (asked < 4 ? { owesTombstone: true as const } : {});
  const { clock, state, debts } = setUp((asked, nowUs) => ({ kind: "granted", nowUs, ...owed(asked) }));
  debts.undo(release(START_US), 60_000, () => {});
  await clock.advance(10_000);
  expect(state.asked).toBe(4);
  expect([debts.size, clock.pending]).toEqual([0, 0]);
});

test("a node that owes for many is asked for a part of them at a time, and for each in its turn", async () => {
  const { clock, state, debts } = setUp((_, nowUs) => ({ kind: "granted", nowUs, owesTombstone: true }));
  for (let each = 0; each < 2_000; each++) debts.undo(release(START_US + each), 1_100, () => {});
  await clock.advance(1_000);
  expect(state.asked - 2_000).toBeLessThanOrEqual(4 * 500);
  expect(state.asked - 2_000).toBeGreaterThanOrEqual(3 * 500);
  await clock.advance(10_000);
  expect([debts.size, clock.pending]).toEqual([0, 0]);
});
