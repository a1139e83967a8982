/** The arithmetic of C4, L2 and G3, on the figures of the documentation. */
import fc from "fast-check";
import { expect, test } from "vitest";

import {
  guardMs,
  quarantineMs,
  surelyExpiredMs,
  ttlForValidityMs,
  validityMs,
} from "../../../src/clock/validity.ts";

test("a ttl of ten seconds", () => {
  expect(validityMs(10_000, { driftFactor: 0.01, clockWindowMs: 100 })).toBe(9_448);
  expect(validityMs(10_000, { driftFactor: 0.01, clockWindowMs: 0 })).toBe(9_898);
  expect(validityMs(10_000, { driftFactor: 0.085, clockWindowMs: 100 })).toBe(9_147);
  expect(validityMs(10_000, { driftFactor: 0.085, clockWindowMs: 0 })).toBe(9_147);
  expect(validityMs(1_000, { driftFactor: 0.085, clockWindowMs: 100 })).toBe(538);
  expect(quarantineMs(10_000, { driftFactor: 0.01, clockWindowMs: 100 })).toBe(10_300);
  expect(quarantineMs(10_000, { driftFactor: 0.085, clockWindowMs: 100 })).toBe(10_300);
  expect([guardMs(10_000), guardMs(500), guardMs(100)]).toEqual([500, 50, 25]);
});

test("a validity ends before any node drops the lock, and every node drops it before surelyExpired", () => {
  const rules = fc.record({
    driftFactor: fc.double({ min: 0, max: 0.25, noNaN: true }),
    clockWindowMs: fc.nat(1_000),
  });
  fc.assert(
    fc.property(fc.integer({ min: 500, max: 86_400_000 }), rules, (ttlMs, each) => {
      // Nodes drop it this much earlier: clocks that are slewed by the drift, or that differ by up to 1 % of it and step within the window.
      expect(validityMs(ttlMs, each)).toBeLessThanOrEqual(ttlMs * (1 - each.driftFactor) - 2);
      expect(validityMs(ttlMs, each)).toBeLessThanOrEqual(
        ttlMs * (1 - Math.min(0.01, each.driftFactor)) - 2 - 4.5 * each.clockWindowMs,
      );
      expect(surelyExpiredMs(ttlMs, each)).toBeGreaterThanOrEqual(ttlMs * (1 + each.driftFactor));
      const valid = validityMs(ttlMs, each);
      if (valid > 0) expect(validityMs(ttlForValidityMs(valid, each), each)).toBeGreaterThanOrEqual(valid);
    }),
  );
});
