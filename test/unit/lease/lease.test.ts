/** A lease on a clock of its own: when it is held, when it warns, when it extends, and that once lost it stays lost (L1–L3). */
import { describe, expect, test } from "vitest";

import type { Instant } from "../../../src/clock/clock.ts";
import { VirtualClock } from "../../../src/clock/virtual-clock.ts";
import { LeaseLostError } from "../../../src/errors.ts";
import { Events } from "../../../src/events.ts";
import type { ReleaseReport, Renewal } from "../../../src/grantor.ts";
import { type HeldClaim, Lease } from "../../../src/lease/lease.ts";

const TTL_MS = 10_000;
/** 5 % of the ttl. */
/** As keeper.ts has it for this ttl: the beat of extensions. */
const BEAT_MS = 50;
const GUARD_MS = 500;
const NO_REPORTS = () => [];
const NOTHING_SAID = { reports: NO_REPORTS, complete: () => Promise.resolve() };

/** A claim whose nodes answer as the test says, after a delay. Valid for its whole ttl. */
class TestClaim implements HeldClaim {
  readonly keys = ["k"];
  readonly holder = "o#1";
  readonly fence = 7;
  readonly largestProposal = 7;
  readonly ttlMs = TTL_MS;
  readonly clock: VirtualClock;
  extendedAt: Instant;
  answer: Renewal["kind"] | "gone" = "renewed";
  delayMs = 1;
  extensions = 0;
  releases = 0;
  extending = 0;

  constructor(clock: VirtualClock) {
    this.clock = clock;
    this.extendedAt = clock.now();
  }

  get validUntil(): Instant {
    return this.extendedAt + TTL_MS;
  }

  async extend(): Promise<Renewal> {
    const t0 = this.clock.now();
    this.extensions++;
    this.extending++;
    await new Promise<void>((resolve) => this.clock.at(t0 + this.delayMs, resolve));
    this.extending--;
    if (this.clock.now() >= this.validUntil) return { kind: "lost", cause: "expired", reports: NO_REPORTS };
    if (this.answer === "gone") return { kind: "lost", cause: "gone", reports: NO_REPORTS };
    if (this.answer === "renewed") this.extendedAt = t0;
    return this.answer === "renewed"
      ? { kind: "renewed", ...NOTHING_SAID }
      : { kind: "unknown", reports: NO_REPORTS };
  }

  release(): Promise<ReleaseReport> {
    expect(this.extending, "a release waits for the extension in flight (L5)").toBe(0);
    this.releases++;
    return Promise.resolve({ outcome: "released", uncertain: [] });
  }

  verify(): Promise<"held"> {
    return Promise.resolve("held");
  }
}

function leased(
  autoExtend: boolean,
  maxHoldMs = Infinity,
): { lease: Lease; claim: TestClaim; clock: VirtualClock } {
  return leasedAt(new VirtualClock(1_000), autoExtend, maxHoldMs);
}

function leasedAt(
  clock: VirtualClock,
  autoExtend: boolean,
  maxHoldMs = Infinity,
): { lease: Lease; claim: TestClaim; clock: VirtualClock } {
  const claim = new TestClaim(clock);
  const terms = {
    keys: ["k"],
    owner: "o",
    autoExtend,
    maxHoldMs,
    quorum: 1,
    said: NOTHING_SAID,
    home: clock,
    checkTtl: () => {},
    giveBack: async (extending: Promise<unknown> | undefined) => {
      await extending;
      return claim.release();
    },
    lost: () => {},
    ended: () => {},
  };
  return { clock, claim, lease: new Lease(claim, terms, clock, new Events()) };
}

describe("a lease nobody extends", () => {
  test("warns its guard before the validity ends, not earlier, and is held until then", async () => {
    const { lease, clock } = leased(false);
    await clock.advance(TTL_MS - GUARD_MS - 1);
    expect(lease.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(lease.signal.aborted).toBe(true);
    expect(lease.remainingMs()).toBe(GUARD_MS);
    await clock.advance(GUARD_MS - 0.001);
    expect(lease.isHeld()).toBe(true);
    await clock.advance(0.001);
    expect(lease.isHeld()).toBe(false);
  });

  test("is not claimed after a blocked event loop, though no timer ran", () => {
    const { lease, clock } = leased(false);
    clock.skip(TTL_MS);
    expect(lease.isHeld()).toBe(false);
    expect(() => lease.assertHeld()).toThrow(LeaseLostError);
    expect(lease.loss()).toMatchObject({ lossCause: "expired" });
  });

  test("assertHeld wants the time it is asked for", async () => {
    const { lease, clock } = leased(false);
    await clock.advance(8_000);
    expect(() => lease.assertHeld(2_000)).not.toThrow();
    expect(() => lease.assertHeld(2_001)).toThrow(LeaseLostError);
    expect(() => lease.assertHeld(-1)).toThrow(RangeError);
  });
});

describe("a lease that is kept", () => {
  test("is extended each time a third of its ttl has gone, for as long as it lives", async () => {
    const { lease, claim, clock } = leased(true);
    const times = [clock.now()];
    for (let ms = 0; ms < 10 * TTL_MS; ms++) {
      const before = claim.extensions;
      await clock.advance(1);
      if (claim.extensions > before) times.push(clock.now());
    }
    const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(gaps.length).toBeGreaterThanOrEqual(29);
    // Never late, but for the millisecond of this test's own step; early by a beat at most.
    for (const gap of gaps) {
      expect(gap).toBeLessThanOrEqual(TTL_MS / 3 + 1);
      expect(gap).toBeGreaterThan(TTL_MS / 3 - BEAT_MS - 1);
    }
    expect(lease.isHeld()).toBe(true);
    await lease.release();
    expect(clock.pending).toBe(0);
  });

  test("is extended in step with others of its process, so that their extensions travel together", async () => {
    const clock = new VirtualClock(1_000);
    const leases = [leasedAt(clock, true)];
    await clock.advance(1);
    leases.push(leasedAt(clock, true));
    const extensions = () => leases.map(({ claim }) => claim.extensions);
    for (let ms = 0; ms < TTL_MS / 3 && extensions().join() === "0,0"; ms++) await clock.advance(1);
    expect(extensions()).toEqual([1, 1]);
  });

  test("tries again while nodes do not answer, warns in time, and stays lost when they are back", async () => {
    const { lease, claim, clock } = leased(true);
    claim.answer = "unknown";
    await clock.advance(TTL_MS - GUARD_MS - 1);
    expect(lease.signal.aborted).toBe(false);
    expect(claim.extensions).toBeGreaterThan(5);
    await clock.advance(1);
    expect(lease.signal.reason).toMatchObject({ lossCause: "expired" });
    claim.answer = "renewed";
    await expect(lease.extend()).rejects.toBe(lease.signal.reason);
    expect(lease.signal.aborted).toBe(true);
  });

  test("goes on after a failure that passes", async () => {
    const { lease, claim, clock } = leased(true);
    claim.answer = "unknown";
    await clock.advance(6_000);
    claim.answer = "renewed";
    await clock.advance(5 * TTL_MS);
    expect(lease.isHeld()).toBe(true);
  });

  test("is lost at once when a quorum of nodes is without it", async () => {
    const { lease, claim, clock } = leased(true);
    claim.answer = "gone";
    await clock.advance(TTL_MS / 3 + 2);
    expect(lease.signal.reason).toMatchObject({ lossCause: "gone" });
    expect(lease.isHeld()).toBe(false);
  });

  test("is not revived by an extension that a blocked event loop answers too late", async () => {
    const { lease, claim, clock } = leased(true);
    claim.delayMs = 2 * BEAT_MS;
    await clock.advance(TTL_MS / 3);
    expect(claim.extending).toBe(1);
    clock.skip(TTL_MS);
    await clock.advance(1);
    expect(lease.signal.aborted).toBe(true);
    expect(lease.isHeld()).toBe(false);
  });

  test("ends at maxHoldMs", async () => {
    const { lease, clock } = leased(true, 15_000);
    await clock.advance(15_000 - GUARD_MS);
    expect(lease.signal.reason).toMatchObject({ lossCause: "max-hold" });
    await clock.advance(GUARD_MS);
    expect(lease.isHeld()).toBe(false);
  });
});

test("a release waits for the extension in flight, is made once, and leaves no timer", async () => {
  const { lease, claim, clock } = leased(true);
  claim.delayMs = 100;
  await clock.advance(TTL_MS / 3 + 1);
  expect(claim.extending).toBe(1);
  const releases = [lease.release(), lease.release()];
  await clock.advance(100);
  await Promise.all(releases);
  expect(claim.releases).toBe(1);
  expect(clock.pending).toBe(0);
  expect(lease.isHeld()).toBe(false);
  expect(lease.signal.aborted).toBe(false);
});

describe("a lease whose locker closes", () => {
  test("is told at once, extended no more, and given back when its validity ends", async () => {
    const { lease, claim, clock } = leased(true);
    await clock.advance(TTL_MS);
    const extended = claim.extensions;
    const leftMs = lease.remainingMs();
    let isOver = false;
    void lease.close().then(() => (isOver = true));
    expect(lease.signal.reason).toMatchObject({ lossCause: "closed" });
    await clock.advance(leftMs - 1);
    expect([lease.isHeld(), claim.releases, claim.extensions, isOver]).toEqual([true, 0, extended, false]);
    expect(lease.lossOfWork()).toBeUndefined();
    await clock.advance(1);
    expect([lease.isHeld(), claim.releases, claim.extensions, isOver]).toEqual([false, 1, extended, true]);
    expect(lease.lossOfWork()).toMatchObject({ lossCause: "closed" });
    expect(clock.pending).toBe(0);
  });

  test("is given back by its holder before, and the work under it counts", async () => {
    const { lease, claim, clock } = leased(true);
    const closed = lease.close();
    await clock.advance(TTL_MS / 2);
    expect(await lease.release()).toMatchObject({ outcome: "released" });
    await closed;
    expect([claim.releases, lease.lossOfWork(), clock.pending]).toEqual([1, undefined, 0]);
  });

  test("does not get longer by an extension that was under way", async () => {
    const { lease, claim, clock } = leased(false);
    await clock.advance(TTL_MS / 2);
    claim.delayMs = 10;
    const extension = lease.extend().catch((error: unknown) => error);
    const closed = lease.close();
    await clock.advance(TTL_MS / 2);
    await closed;
    expect(await extension).toMatchObject({ lossCause: "closed" });
    expect([lease.isHeld(), claim.releases]).toEqual([false, 1]);
  });
});
