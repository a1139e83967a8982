/** One attempt, one extension, one release, on nodes of the pure model: the rules of the client (C1–C7, E2, L3–L5). */
import { describe, expect, test } from "vitest";

import { VirtualClock } from "../../../src/clock/virtual-clock.ts";
import type { Claim, Denial, Grant } from "../../../src/grantor.ts";
import { NodeState } from "../../../src/node/node-state.ts";
import { serverOf } from "../support/admission.ts";
import { testGrantor, type TestNode, testNodes } from "../support/test-nodes.ts";

const TTL_MS = 10_000;
const REQUEST = { keys: ["k"], owner: "me", ttlMs: TTL_MS, minValidityMs: 1_000, gated: false };

async function settle<T>(promise: Promise<T>, clock: VirtualClock, withinMs = 1_000): Promise<T> {
  let value: { readonly it: T } | undefined;
  void promise.then((it) => (value = { it }));
  for (let ms = 0; ms < withinMs && value === undefined; ms++) await clock.advance(1);
  if (value === undefined) throw new Error(`not settled within ${withinMs} ms`);
  return value.it;
}

function setUp(size: number): { clock: VirtualClock; nodes: TestNode[] } {
  const clock = new VirtualClock(1_000);
  return { clock, nodes: testNodes(size, clock) };
}

async function granted(outcome: Promise<Grant | Denial>, clock: VirtualClock): Promise<Claim> {
  const settled = await settle(outcome, clock);
  if (settled.kind !== "granted") throw new Error(`denied: ${settled.why}`);
  return settled.claim;
}

function holders(nodes: readonly TestNode[]): (string | undefined)[] {
  return nodes.map((node) => node.holder("k"));
}

describe("an attempt", () => {
  test("is won at the third of five grants, in one round trip, whatever the others do", async () => {
    const { clock, nodes } = setUp(5);
    for (const node of nodes.slice(0, 2)) node.isMute = true;
    const began = clock.now();
    const claim = await granted(testGrantor(nodes, clock).attempt(REQUEST), clock);
    expect(clock.now() - began).toBe(2);
    expect(claim.validUntil).toBe(began + TTL_MS - 0.01 * TTL_MS - 2);
  });

  test("that fails leaves nothing, on silent nodes neither (C5)", async () => {
    const { clock, nodes } = setUp(5);
    for (const node of nodes.slice(0, 3)) node.isMute = true;
    const denial = await settle(testGrantor(nodes, clock).attempt(REQUEST), clock);
    expect(denial).toMatchObject({ kind: "denied", why: "unreachable" });
    await clock.advance(10);
    expect(holders(nodes)).toEqual(nodes.map(() => undefined));
  });

  test("whose acquire arrives after its release leaves nothing (R2)", async () => {
    const { clock, nodes } = setUp(3);
    const [late] = nodes;
    for (const node of nodes.slice(1)) node.isMute = true;
    if (late) late.delayMs = 2_000;
    const attempt = testGrantor(nodes, clock).attempt(REQUEST);
    await clock.advance(100);
    if (late) late.delayMs = 1; // The release, sent at the timeout, overtakes the acquire.
    await settle(attempt, clock);
    await clock.advance(5_000);
    expect(late?.asked).toEqual(["acquire", "release"]);
    expect(holders(nodes)).toEqual([undefined, undefined, undefined]);
  });

  test("reads the clock again after the answers (C4): what came too late is given back", async () => {
    const { clock, nodes } = setUp(3);
    const outcome = testGrantor(nodes, clock).attempt(REQUEST);
    await clock.advance(1);
    clock.skip(TTL_MS - 1_000); // The grants are on their way, and less than minValidity will be left.
    const denial = await settle(outcome, clock);
    expect(denial).toMatchObject({ kind: "denied", why: "slow" });
    await clock.advance(10);
    expect(holders(nodes)).toEqual([undefined, undefined, undefined]);
  });

  test("is not adopted where less validity is left than was asked for, and is left as it was (H1, S6)", async () => {
    const { clock, nodes } = setUp(3);
    const mine = await granted(testGrantor(nodes, clock, "mine").attempt(REQUEST), clock);
    const { keys, holder, fence, largestProposal } = mine;
    const there = testGrantor(nodes, clock, "there");
    const adopt = (minValidityMs: number) =>
      there.adopt({ keys, holder, fence, largestProposal }, TTL_MS, minValidityMs);
    for (const node of nodes) node.delayMs = 50;
    const late = await settle(adopt(TTL_MS - 150), clock);
    expect(late.outcome.kind).toBe("slow");
    expect(late.claim.validUntil).toBeLessThan(clock.now());
    expect(holders(nodes)).toEqual([holder, holder, holder]);
    expect((await settle(adopt(TTL_MS - 250), clock)).outcome.kind).toBe("renewed");
  });

  test("asks one node first where it is gated, and leaves the others alone when that one refuses (C7)", async () => {
    const { clock, nodes } = setUp(5);
    const other = await granted(testGrantor(nodes.slice(0, 1), clock, "other").attempt(REQUEST), clock);
    const denial = await settle(testGrantor(nodes, clock).attempt({ ...REQUEST, gated: true }), clock);
    expect(denial).toMatchObject({ kind: "denied", why: "held" });
    expect(nodes.slice(1).map(({ asked }) => asked)).toEqual([[], [], [], []]);
    await settle(other.release(), clock);
    await granted(testGrantor(nodes, clock).attempt({ ...REQUEST, gated: true }), clock);
  });

  test("goes on from the node they meet at when that one is silent or cannot vote (C7)", async () => {
    const { clock, nodes } = setUp(5);
    const [gate, next] = nodes;
    const grantor = testGrantor(nodes, clock);
    // A contested attempt: how long a round trip takes is known then.
    const other = await granted(testGrantor(nodes, clock, "other").attempt(REQUEST), clock);
    await settle(grantor.attempt(REQUEST), clock);
    await settle(other.release(), clock);
    await clock.advance(10);
    if (gate) gate.isMute = true;
    if (next) next.state = new NodeState(serverOf("another:memory"));
    const began = clock.now();
    const claim = await granted(grantor.attempt({ ...REQUEST, gated: true }), clock);
    expect(clock.now() - began).toBe(3 * 2 + 2 + 3 * 2); // The silent one has three round trips of 2 ms, a ms and a turn; then one each.
    expect(holders(nodes).slice(2)).toEqual([claim.holder, claim.holder, claim.holder]);
  });

  test("learns a fence that is ahead, and wins with a larger one at once (C6)", async () => {
    const { clock, nodes } = setUp(3);
    for (const node of nodes) {
      const proposal = node.nowUs + 900_000;
      node.ask({ op: "release", keys: ["k"], holder: "other#1", proposal, wakes: true }, () => {});
    }
    await clock.advance(1);
    const claim = await granted(testGrantor(nodes, clock).attempt(REQUEST), clock);
    expect(claim.fence).toBeGreaterThan((nodes[0]?.nowUs ?? 0) + 890_000);
  });
});

describe("an extension", () => {
  test("does not count a node that has lost the lock, though it takes it back in the same round (E2, L4)", async () => {
    const { clock, nodes } = setUp(3);
    const claim = await granted(testGrantor(nodes, clock).attempt(REQUEST), clock);
    await clock.advance(10);
    nodes[0]?.forget();
    if (nodes[1]) nodes[1].isMute = true;
    // One node that held it all along has answered: not a quorum.
    expect(await settle(claim.extend(TTL_MS), clock)).toMatchObject({ kind: "unknown" });
    // The empty one is given it back, which again counts for nothing in that round.
    expect(await settle(claim.extend(TTL_MS), clock)).toMatchObject({ kind: "unknown" });
    expect(holders(nodes)).toEqual([claim.holder, claim.holder, claim.holder]);
    // From the next round on it counts.
    expect(await settle(claim.extend(TTL_MS), clock)).toMatchObject({ kind: "renewed" });
  });

  test("proves the loss when a quorum of nodes is without it", async () => {
    const { clock, nodes } = setUp(3);
    const claim = await granted(testGrantor(nodes, clock).attempt(REQUEST), clock);
    await clock.advance(10);
    for (const node of nodes.slice(0, 2)) node.forget();
    expect(await settle(claim.extend(TTL_MS), clock)).toMatchObject({ kind: "lost", cause: "gone" });
  });

  test("waits for a slow node though a quorum has spoken: its result must not be left unknown (C3)", async () => {
    const { clock, nodes } = setUp(3);
    const [foreign, , slow] = nodes;
    foreign?.ask(
      { op: "acquire", keys: ["k"], holder: "other#1", proposal: foreign.nowUs, tauUs: 0, ttlMs: TTL_MS },
      () => {},
    );
    await clock.advance(2);
    const claim = await granted(testGrantor(nodes, clock).attempt(REQUEST), clock);
    await clock.advance(10);
    if (slow) slow.delayMs = 60;
    expect(await settle(claim.extend(TTL_MS), clock)).toMatchObject({ kind: "renewed" });
  });

  test("that completes after the old validity counts for nothing (L3)", async () => {
    const { clock, nodes } = setUp(3);
    const claim = await granted(testGrantor(nodes, clock).attempt(REQUEST), clock);
    const { validUntil } = claim;
    const extension = claim.extend(TTL_MS);
    await clock.advance(1);
    clock.skip(TTL_MS);
    expect(await settle(extension, clock)).toMatchObject({ kind: "lost", cause: "expired" });
    expect(claim.validUntil).toBe(validUntil);
  });

  test("never shortens, and keeps the fence", async () => {
    const { clock, nodes } = setUp(3);
    const claim = await granted(testGrantor(nodes, clock).attempt(REQUEST), clock);
    const { validUntil, fence } = claim;
    expect(await settle(claim.extend(500), clock)).toMatchObject({ kind: "renewed" });
    expect(claim.validUntil).toBeGreaterThanOrEqual(validUntil);
    await clock.advance(claim.validUntil - clock.now());
    expect(holders(nodes)).toEqual([claim.holder, claim.holder, claim.holder]);
    expect(claim.fence).toBe(fence);
  });
});

describe("a release", () => {
  test("settles at a quorum, and refuses a top-up that arrives later (L4)", async () => {
    const { clock, nodes } = setUp(3);
    const [slow] = nodes;
    const claim = await granted(testGrantor(nodes, clock).attempt(REQUEST), clock);
    await clock.advance(10);
    slow?.forget();
    expect(await settle(claim.extend(TTL_MS), clock)).toMatchObject({ kind: "renewed" });
    await clock.advance(10);
    if (slow) slow.delayMs = 2_000;
    await settle(claim.extend(TTL_MS), clock); // Its top-up is under way for two seconds.
    if (slow) slow.delayMs = 1;
    expect(await settle(claim.release(), clock)).toMatchObject({ outcome: "released" });
    await clock.advance(5_000);
    expect(slow?.asked.slice(-2)).toEqual(["acquire", "release"]);
    expect(holders(nodes)).toEqual([undefined, undefined, undefined]);
  });

  test("without a quorum is uncertain, within the node timeout", async () => {
    const { clock, nodes } = setUp(3);
    const claim = await granted(testGrantor(nodes, clock).attempt(REQUEST), clock);
    for (const node of nodes.slice(0, 2)) node.isMute = true;
    const began = clock.now();
    expect(await settle(claim.release(), clock)).toMatchObject({
      outcome: "uncertain",
      uncertain: ["n0", "n1"],
    });
    expect(clock.now() - began).toBeLessThanOrEqual(250 + 1); // And a turn, in which sockets are read.
  });
});
