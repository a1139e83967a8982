/** What a client writes down of itself, where it stood still: whose fault a lease without time is. */
import { expect, test } from "vitest";

import { Ledger } from "../../../src/chaos/client/ledger.ts";
import type { NodeReport } from "../../../src/errors.ts";
import { check } from "../../../src/history/checkers.ts";
import type { HistoryEvent } from "../../../src/history/history.ts";
import type { Lease } from "../../../src/lease/lease.ts";

const TTL_MS = 1_000;
const RULES = { driftFactor: 0.01, clockWindowMs: 50 };
const MIN_VALIDITY_MS = 100;

/** A lease that had run out when its client wrote it down, with grants that were read so long after they were asked for. */
function historyOf(...latencies: number[]): HistoryEvent[] {
  const history: HistoryEvent[] = [];
  const ledger = new Ledger({
    client: "c1",
    life: 1,
    now: () => 3_000,
    record: (event) => history.push(event),
    quorum: 2,
    ttlMs: TTL_MS,
    rules: RULES,
    nameOf: (address) => address,
  });
  const lease = { keys: ["k"], holder: "c1#1", fence: 7, remainingMs: () => 0 } as unknown as Lease;
  const nodes = latencies.map((latencyMs, index): NodeReport => ({
    node: `n${index + 1}`,
    verdict: "granted",
    reason: "granted",
    detail: "granted",
    latencyMs,
  }));
  const op = ledger.acquiring(["k"]);
  ledger.heard({
    type: "acquired",
    keys: lease.keys,
    holder: lease.holder,
    fence: lease.fence,
    attempts: 1,
    waitedMs: 0,
    remainingMs: 0,
    nodes,
  });
  ledger.acquired(op, lease, MIN_VALIDITY_MS);
  return history;
}

test("a client that was stopped after it had read a quorum of grants in time has broken nothing", () => {
  expect(check(historyOf(1, 2), ["S6"])).toEqual([]);
  expect(check(historyOf(1, 2_000, 2), ["S6"])).toEqual([]);
});

test("a client that read them too late and took them all the same has", () => {
  expect(check(historyOf(1, 2_000), ["S6"])).toHaveLength(1);
  expect(check(historyOf(2_000, 1, 690), ["S6"])).toHaveLength(1);
});
