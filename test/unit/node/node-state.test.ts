/** What a node's rules are for, one by one. That the scripts say the same is tested on a real server (scripts.test.ts). */
import { describe, expect, test } from "vitest";

import type { Request } from "../../../src/node/lock-node.ts";
import { NodeState, type NodeTerms } from "../../../src/node/node-state.ts";

const NOW_US = 1_800_000_000_000_000;
const WINDOW_MS = 100;
const LEAD_US = 100_000;
const TTL_MS = 1_000;

const TERMS: NodeTerms = {
  incarnation: "run:replication",
  clockWindowMs: WINDOW_MS,
  leadMs: WINDOW_MS,
  fenceTtlMs: 86_400_000,
};

/** A node whose memory is new, admitted at `nowUs`. */
function admitted(nowUs: number, quarantineMs = 0, incarnation = TERMS.incarnation): NodeState {
  const node = new NodeState(incarnation);
  node.admit({ incarnation, maxTtlMs: TTL_MS, quarantineMs, tauUs: nowUs, declared: false }, TERMS, nowUs);
  return node;
}

function acquire(proposal: number, nowUs: number, more: Partial<Request & { op: "acquire" }> = {}): Request {
  return { op: "acquire", keys: ["k"], holder: "v", proposal, tauUs: nowUs, ttlMs: TTL_MS, ...more };
}

/** Long enough after an admission for the node's floor to be behind its time. */
const LATER_US = NOW_US + 2 * LEAD_US;

describe("A2: the floor of a node that lost its memory", () => {
  test("is at least as high as any token it may have granted and forgotten", () => {
    const furthest = LATER_US + LEAD_US;
    expect(admitted(NOW_US).apply(acquire(furthest, LATER_US), TERMS, LATER_US).kind).toBe("granted");
    // The same moment, another memory: the token must not be granted twice.
    const forgetful = admitted(LATER_US);
    expect(forgetful.apply(acquire(furthest, LATER_US), TERMS, LATER_US)).toMatchObject({ reason: "stale" });
    expect(forgetful.marker?.floor).toBe(furthest);
  });

  test("never goes down when a memory is admitted again with an older marker", () => {
    const restored = new NodeState("other:replication", {
      incarnation: TERMS.incarnation,
      untilUs: NOW_US,
      maxTtlMs: TTL_MS,
      floor: NOW_US + 50 * LEAD_US,
    });
    const request = {
      incarnation: "other:replication",
      maxTtlMs: TTL_MS,
      quarantineMs: 0,
      tauUs: NOW_US,
      declared: false,
    };
    restored.admit(request, TERMS, NOW_US);
    expect(restored.marker?.floor).toBe(NOW_US + 50 * LEAD_US);
  });
});

test("N3: a ttl longer than the quarantines are computed for is refused", () => {
  const node = admitted(NOW_US);
  const request = acquire(LATER_US, LATER_US, { ttlMs: TTL_MS + 1 });
  expect(node.apply(request, TERMS, LATER_US)).toMatchObject({ reason: "ttl-too-long", maxTtlMs: TTL_MS });
});

test("N2: nothing is granted or extended in quarantine, and all of it afterwards", () => {
  const node = admitted(NOW_US, 500);
  const before = NOW_US + 499_999;
  expect(node.apply(acquire(before, before), TERMS, before)).toMatchObject({ reason: "quarantined" });
  const extend: Request = { op: "extend", keys: ["k"], holder: "v", tauUs: before, ttlMs: TTL_MS };
  expect(node.apply(extend, TERMS, before)).toMatchObject({ reason: "quarantined" });
  const after = NOW_US + 500_000;
  expect(node.apply(acquire(after, after), TERMS, after).kind).toBe("granted");
});

test("N5: who holds the key is granted it again with the same token only, and its ttl is not refreshed", () => {
  const node = admitted(NOW_US);
  node.apply(acquire(LATER_US, LATER_US), TERMS, LATER_US);
  const soon = LATER_US + 10_000;
  expect(node.apply(acquire(LATER_US, soon), TERMS, soon).kind).toBe("granted");
  expect(node.inspect(["k"], soon).keys[0]?.remainingMs).toBe(TTL_MS - 10);
  expect(node.apply(acquire(LATER_US + 1, soon), TERMS, soon)).toMatchObject({ reason: "stale" });
});

test("R2: the tombstone of a release is bounded, so that a client with a wild clock cannot poison the key", () => {
  const node = admitted(NOW_US);
  const wild = LATER_US + 3_600_000_000;
  node.apply({ op: "release", keys: ["k"], holder: "v", proposal: wild, wakes: true }, TERMS, LATER_US);
  const later = LATER_US + 2 * LEAD_US;
  expect(node.apply(acquire(later, later), TERMS, later).kind).toBe("granted");
});

describe("N8: a request of another time is refused", () => {
  const refused = { reason: "clock" };

  test("when the client's estimate is outside the window, either way", () => {
    const node = admitted(NOW_US);
    for (const offUs of [1_000 * WINDOW_MS + 1, -1_000 * WINDOW_MS - 1]) {
      const request = acquire(LATER_US, LATER_US, { tauUs: LATER_US + offUs });
      expect(node.apply(request, TERMS, LATER_US)).toMatchObject(refused);
    }
    expect(node.apply(acquire(LATER_US, LATER_US, { tauUs: LATER_US + 100_000 }), TERMS, LATER_US).kind).toBe(
      "granted",
    );
  });

  test("when the token would run further ahead than the lead, with a window or without", () => {
    const request = acquire(LATER_US + LEAD_US + 1, LATER_US);
    expect(admitted(NOW_US).apply(request, TERMS, LATER_US)).toMatchObject(refused);
    expect(admitted(NOW_US).apply(request, { ...TERMS, clockWindowMs: 0 }, LATER_US)).toMatchObject(refused);
  });

  test("an extension, too (E1)", () => {
    const node = admitted(NOW_US);
    node.apply(acquire(LATER_US, LATER_US), TERMS, LATER_US);
    const extend: Request = {
      op: "extend",
      keys: ["k"],
      holder: "v",
      tauUs: LATER_US + 100_001,
      ttlMs: TTL_MS,
    };
    expect(node.apply(extend, TERMS, LATER_US)).toMatchObject(refused);
  });
});
