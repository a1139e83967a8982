/** What a node's rules are for, one by one. That the scripts say the same is tested on a real server (scripts.test.ts). */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { Marker, Request, Vote } from "../../../src/node/lock-node.ts";
import { outstandingTtlMs } from "../../../src/node/memory-watch.ts";
import {
  type AdmitRequest,
  NodeState,
  type NodeTerms,
  type ServerFacts,
} from "../../../src/node/node-state.ts";
import { admissionOf, serverOf } from "../support/admission.ts";

const NOW_US = 1_800_000_000_000_000;
const WINDOW_MS = 100;
const LEAD_US = 100_000;
const TTL_MS = 1_000;

const TERMS: NodeTerms = {
  incarnation: "run:replication",
  clockWindowMs: WINDOW_MS,
  leadMs: WINDOW_MS,
  fenceTtlMs: 86_400_000,
  silenceMs: 0,
};

/** Asked by a client that has met its present memory, unless another one is named. */
class Node extends NodeState {
  override apply(request: Request, terms: NodeTerms, nowUs: number): Vote {
    const met = terms.incarnation === TERMS.incarnation ? this.marker?.incarnation : undefined;
    return super.apply(request, { ...terms, incarnation: met ?? terms.incarnation }, nowUs);
  }
}

/** A node whose memory is new, admitted at `nowUs`. */
function admitted(nowUs: number, more: Partial<AdmitRequest> = {}): Node {
  const node = new Node(serverOf(TERMS.incarnation));
  node.admit(admissionOf(TERMS.incarnation, { tauUs: nowUs, ...more }), TERMS, nowUs);
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
    const restored = new Node(serverOf("other:replication"), {
      ...markerOf(admitted(NOW_US)),
      floor: NOW_US + 50 * LEAD_US,
    });
    restored.admit(admissionOf("other:replication", { tauUs: NOW_US }), TERMS, NOW_US);
    expect(restored.marker?.floor).toBe(NOW_US + 50 * LEAD_US);
  });

  test("is brought back from the future only where that is asked for", () => {
    const node = admitted(NOW_US);
    const floor = NOW_US + LEAD_US;
    const setBack = NOW_US - 3_600_000_000;
    admitAgain(node, setBack, { declared: "init" });
    expect(node.marker?.floor).toBe(floor);
    admitAgain(node, setBack, { declared: "init", resetsFloor: true });
    expect(node.marker?.floor).toBe(setBack + LEAD_US);
  });
});

function markerOf(node: Node): Marker {
  const { marker } = node;
  if (marker === undefined) throw new Error("never admitted");
  return marker;
}

function admitAgain(node: Node, nowUs: number, more: Partial<AdmitRequest> = {}): void {
  node.admit(admissionOf(TERMS.incarnation, { tauUs: nowUs, ...more }), TERMS, nowUs);
}

describe("N3: the largest ttl that may be outstanding is noted", () => {
  const granted = (node: Node, atUs: number, ttlMs: number) =>
    node.apply({ ...acquire(atUs, atUs, { ttlMs }), keys: [`k${atUs}`] }, TERMS, atUs).kind;
  const outstanding = (node: Node, nowUs: number) => outstandingTtlMs(markerOf(node), nowUs);

  test("at once, and until it can no longer be outstanding", () => {
    const node = admitted(NOW_US);
    expect(outstanding(node, LATER_US)).toBe(0);
    expect(granted(node, LATER_US, TTL_MS)).toBe("granted");
    expect(granted(node, LATER_US + 1, 60 * TTL_MS)).toBe("granted");
    const ends = LATER_US + 1 + 60 * TTL_MS * 1_000;
    for (let at = LATER_US + 2; at < ends; at += TTL_MS * 1_000) {
      granted(node, at, TTL_MS);
      expect(outstanding(node, at)).toBe(60 * TTL_MS);
    }
  });

  test("and not for ever: some time after it ended, the usual ones count again", () => {
    const node = admitted(NOW_US);
    granted(node, LATER_US, 60 * TTL_MS);
    let at = LATER_US;
    while (outstanding(node, at) > TTL_MS) granted(node, (at += TTL_MS * 1_000), TTL_MS);
    expect(at - LATER_US).toBeLessThanOrEqual(3 * 60 * TTL_MS * 1_000);
    expect(outstanding(node, at + 3 * TTL_MS * 1_000)).toBe(0);
  });

  test("whatever is granted in whatever order", () => {
    const steps = fc.array(fc.record({ waitMs: fc.nat(5_000), ttlMs: fc.integer({ min: 1, max: 9_000 }) }));
    fc.assert(
      fc.property(steps, (list) => {
        const node = admitted(NOW_US);
        const locks: { endsUs: number; ttlMs: number }[] = [];
        let at = LATER_US;
        for (const { waitMs, ttlMs } of list) {
          at += waitMs * 1_000 + 1;
          const living = locks.filter(({ endsUs }) => endsUs > at).map((lock) => lock.ttlMs);
          expect(outstanding(node, at)).toBeGreaterThanOrEqual(Math.max(0, ...living));
          if (granted(node, at, ttlMs) === "granted") locks.push({ endsUs: at + ttlMs * 1_000, ttlMs });
        }
      }),
    );
  });
});

describe("N2: a memory that is too young for this client's guard grants and extends nothing", () => {
  const SILENT = { ...TERMS, silenceMs: 500 };
  const before = NOW_US + 499_999;
  const after = NOW_US + 500_000;

  test("until it is old enough", () => {
    const node = admitted(NOW_US);
    expect(node.apply(acquire(before, before), SILENT, before)).toMatchObject({
      reason: "quarantined",
      untilUs: after,
    });
    const extend: Request = { op: "extend", keys: ["k"], holder: "v", tauUs: before, ttlMs: TTL_MS };
    expect(node.apply(extend, SILENT, before)).toMatchObject({ reason: "quarantined" });
    expect(node.apply(acquire(after, after), SILENT, after).kind).toBe("granted");
  });

  test("whoever else was asked earlier, and whoever admitted it", () => {
    const node = admitted(NOW_US, { declared: "first-use" });
    expect(node.apply(acquire(before, before), TERMS, before).kind).toBe("granted");
    const other = acquire(before, before, { keys: ["other"] });
    expect(node.apply(other, SILENT, before)).toMatchObject({ reason: "quarantined" });
  });

  test("unless an operator declares that nothing is outstanding, which is for all", () => {
    const node = admitted(NOW_US);
    admitAgain(node, before, { declared: "init" });
    expect(node.apply(acquire(before, before), { ...TERMS, silenceMs: 10_000 }, before).kind).toBe("granted");
  });

  test("and no longer than that, where the beginning lies in the future since the clock was set back", () => {
    const node = admitted(NOW_US + 3_600_000_000);
    admitAgain(node, NOW_US);
    expect(node.marker?.sinceUs).toBe(NOW_US);
  });
});

describe("G1: which memory it is", () => {
  const server = (more: Partial<ServerFacts>) => ({ ...serverOf(TERMS.incarnation), ...more });
  const votes = (marker: Marker, facts: ServerFacts) =>
    new Node(facts, marker).apply(acquire(LATER_US, LATER_US), TERMS, LATER_US);
  const marker = markerOf(admitted(NOW_US));

  test("another replication id alone is no loss: a backup was made", () => {
    const state = new Node(server({ replicationId: "backup" }), marker);
    expect(state.apply(acquire(LATER_US, LATER_US), TERMS, LATER_US).kind).toBe("granted");
    expect(state.marker).toMatchObject({ incarnation: marker.incarnation, replicationId: "backup" });
  });

  test.each([
    ["another process", { runId: "other" }],
    ["a replica once", { replicationId: "new", wasReplica: true }],
    ["a replica once, and its backlog was freed since", { replicationId: "new", history: "2" }],
    ["it does not say what it was told", { replicationId: "new", history: "" }],
  ])("another memory: %s", (_name, facts) => {
    expect(votes(marker, server(facts))).toMatchObject({ reason: "unadmitted" });
  });

  test("what is not known was not known at the admission either", () => {
    const unknown = { ...marker, history: "" };
    expect(votes(unknown, server({ replicationId: "new", history: "" }))).toMatchObject({
      reason: "unadmitted",
    });
  });
});

describe("A1 and A2: the same memory goes on, and what may lack something begins anew", () => {
  const again = (more: Partial<AdmitRequest>, facts: Partial<ServerFacts> = {}) => {
    const node = new Node({ ...serverOf(TERMS.incarnation), ...facts }, markerOf(admitted(NOW_US)));
    admitAgain(node, LATER_US, more);
    return markerOf(node);
  };

  test("an admission of what was admitted changes nothing but the contact", () => {
    expect(again({})).toEqual({ ...markerOf(admitted(NOW_US)), contactUs: LATER_US });
  });

  test.each([
    ["G6: another server was met since", { notBeforeUs: NOW_US + 1 }, {}],
    ["G7: nobody was in touch with it for too long", { staleAfterMs: 199 }, {}],
    ["it has evicted keys", {}, { evictedKeys: 1 }],
  ])("%s", (_name, more, facts) => {
    expect(again(more, facts)).toMatchObject({ sinceUs: LATER_US, floor: LATER_US + LEAD_US });
  });

  test.each([
    ["G6: it began later than the other server was met", { notBeforeUs: NOW_US }, {}],
    ["G7: somebody was in touch with it", { staleAfterMs: 200 }, {}],
    ["evictions were allowed", { allowEviction: true }, { evictedKeys: 1 }],
  ])("not where %s", (_name, more, facts) => {
    expect(again(more, facts)).toMatchObject({ sinceUs: NOW_US });
  });

  test("evictions that one client allows are a loss to the next", () => {
    const node = new Node({ ...serverOf(TERMS.incarnation), evictedKeys: 1 }, markerOf(admitted(NOW_US)));
    admitAgain(node, LATER_US, { allowEviction: true });
    expect(node.marker?.sinceUs).toBe(NOW_US);
    admitAgain(node, LATER_US, { allowEviction: false });
    expect(node.marker?.sinceUs).toBe(LATER_US);
  });

  test("G8: a clock that leapt ahead does not make it older; its fences are above what was granted by the old time", () => {
    expect(again({ youngSinceUs: LATER_US - 10 })).toMatchObject({
      sinceUs: LATER_US - 10,
      floor: LATER_US + LEAD_US,
    });
  });
});

test("N5: who holds the key is granted it again with the same token only, and its ttl is not refreshed", () => {
  const node = admitted(NOW_US);
  node.apply(acquire(LATER_US, LATER_US), TERMS, LATER_US);
  const soon = LATER_US + 10_000;
  expect(node.apply(acquire(LATER_US, soon), TERMS, soon).kind).toBe("granted");
  expect(node.inspect(["k"], soon).keys[0]?.remainingMs).toBe(TTL_MS - 10);
  expect(node.apply(acquire(LATER_US + 1, soon), TERMS, soon)).toMatchObject({ reason: "stale" });
});

function release(proposal: number, keys: readonly string[] = ["k"]): Request {
  return { op: "release", keys, holder: "v", proposal, wakes: true };
}

test("R2: the tombstone of a release is bounded, so that a client with a wild clock cannot poison the key; it says so", () => {
  const node = admitted(NOW_US);
  const wild = LATER_US + 3_600_000_000;
  expect(node.apply(release(wild), TERMS, LATER_US)).toMatchObject({ kind: "granted", owesTombstone: true });
  const later = LATER_US + 2 * LEAD_US;
  expect(node.apply(acquire(later, later), TERMS, later).kind).toBe("granted");
});

describe("R2: a server that refuses to write", () => {
  test("owes the tombstone of a lock that it does not have, until it can write again", () => {
    const node = admitted(NOW_US);
    for (const refuses of ["growth", "everything"] as const) {
      node.refuses = refuses;
      expect(node.apply(release(LATER_US), TERMS, LATER_US)).toMatchObject({ owesTombstone: true });
      expect(node.apply(acquire(LATER_US, LATER_US), TERMS, LATER_US)).toMatchObject({ kind: "faulted" });
    }
    node.refuses = undefined;
    expect(node.apply(release(LATER_US), TERMS, LATER_US)).toEqual({ kind: "granted", nowUs: LATER_US });
    expect(node.apply(acquire(LATER_US, LATER_US), TERMS, LATER_US)).toMatchObject({ reason: "stale" });
  });

  test("writes it where it deleted the lock, at maxmemory; where it can delete nothing, it has released nothing", () => {
    const [full, readOnly] = [admitted(NOW_US), admitted(NOW_US)];
    for (const node of [full, readOnly]) node.apply(acquire(LATER_US, LATER_US), TERMS, LATER_US);
    [full.refuses, readOnly.refuses] = ["growth", "everything"];
    expect(full.apply(release(LATER_US + 1), TERMS, LATER_US)).toEqual({ kind: "granted", nowUs: LATER_US });
    expect(full.inspect(["k"], LATER_US).keys[0]).toMatchObject({ holder: undefined, fence: LATER_US + 1 });
    expect(readOnly.apply(release(LATER_US + 1), TERMS, LATER_US).kind).toBe("faulted");
    expect(readOnly.inspect(["k"], LATER_US).keys[0]).toMatchObject({ holder: "v", fence: LATER_US });
  });

  test("owes nothing where its fence is as high already", () => {
    const node = admitted(NOW_US);
    node.apply(release(LATER_US), TERMS, LATER_US);
    node.refuses = "growth";
    expect(node.apply(release(LATER_US), TERMS, LATER_US)).toEqual({ kind: "granted", nowUs: LATER_US });
  });
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

describe("a bounded past (memory mode)", () => {
  const AHEAD_US = LATER_US + LEAD_US;

  /** Of so many keys that were held once, each with a fence as far ahead of the node's time as can be. */
  function used(keys: number): Node {
    const node = admitted(NOW_US);
    for (let key = 0; key < keys; key++) {
      const names = { keys: [`k${key}`], holder: "v" };
      node.apply(acquire(AHEAD_US - key, LATER_US, names), TERMS, LATER_US);
      node.apply({ op: "release", proposal: AHEAD_US - key, wakes: false, ...names }, TERMS, LATER_US);
    }
    return node;
  }

  test("fences beyond the bound are forgotten, and no smaller one is granted for any key", () => {
    const node = used(100);
    node.sweep(LATER_US, 10);
    expect(node.size).toBe(10);
    expect(node.marker?.floor).toBe(AHEAD_US);
    for (let key = 0; key < 100; key++) {
      const again = acquire(AHEAD_US - key, LATER_US, { keys: [`k${key}`], holder: "w" });
      expect(node.apply(again, TERMS, LATER_US)).toMatchObject({ reason: "stale", fence: AHEAD_US });
    }
    const laterUs = LATER_US + 1_000;
    expect(node.apply(acquire(AHEAD_US + 1, laterUs, { keys: ["k0"] }), TERMS, laterUs).kind).toBe("granted");
  });

  test("the fence of a lock that is held stays, and so does the lock", () => {
    const node = used(20);
    const held = acquire(AHEAD_US, LATER_US, { keys: ["held"] });
    node.apply(held, TERMS, LATER_US);
    node.sweep(LATER_US, 0);
    expect(node.size).toBe(2);
    expect(node.apply(held, TERMS, LATER_US).kind).toBe("granted"); // N5: a duplicate delivery.
    expect(node.inspect(["held"], LATER_US).keys).toMatchObject([{ holder: "v", fence: AHEAD_US }]);
  });

  test("without a bound, and below it, nothing but what has expired is forgotten", () => {
    const node = used(20);
    for (const bound of [undefined, 20]) node.sweep(LATER_US, bound);
    expect([node.size, node.marker?.floor]).toEqual([20, admitted(NOW_US).marker?.floor]);
  });
});
