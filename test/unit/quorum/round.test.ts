/** One round on nodes that answer when they are told to. */
import { expect, test } from "vitest";

import { VirtualClock } from "../../../src/clock/virtual-clock.ts";
import type { LockNode, Request, Vote } from "../../../src/node/lock-node.ts";
import { Quorum } from "../../../src/quorum/quorum.ts";

const REQUEST: Request = { op: "leave", keys: ["k"], waiter: "w" };

/** A name, the server it leads to, and whoever waits for its vote. */
function nodes(...servers: string[]): { list: LockNode[]; leads: string[]; answer: (index: number) => void } {
  const leads = [...servers];
  const waiting: (((vote: Vote) => void) | undefined)[] = [];
  const list = servers.map(
    (name, index) =>
      ({
        name,
        isHealthy: true,
        get identity() {
          return leads[index];
        },
        ask: (_request: Request, reply: (vote: Vote) => void) => (waiting[index] = reply),
      }) as unknown as LockNode,
  );
  return { list, leads, answer: (index) => waiting[index]?.({ kind: "granted", nowUs: 0 }) };
}

test("G2: a name that comes to lead to the server that was met gives it no second vote in the same round", async () => {
  const { list, leads, answer } = nodes("a", "b", "c");
  const quorum = new Quorum(list, new VirtualClock(), () => undefined);
  const polled = quorum.poll({ request: () => REQUEST, timeoutMs: 100, gated: true, late: () => {} });
  leads[1] = "a"; // while the vote of "a" is under way
  answer(0);
  answer(1);
  let isSettled = false;
  void polled.then(() => (isSettled = true));
  await Promise.resolve();
  expect(isSettled).toBe(false);
  answer(2);
  const ballot = await polled;
  expect(ballot.won).toBe(true);
  expect(ballot.votes[1]).toMatchObject({ reason: "excluded", sent: false });
});
