/**
 * How long a lock may be trusted: pure arithmetic on ttl, drift and clock window (rules C4, L2, L3). No clock is read here.
 */

export interface ValidityRules {
  /** Allowance ρ for clocks that run at different rates, as a fraction of the ttl. */
  readonly driftFactor: number;
  /** W, the largest accepted difference between the clocks of two nodes, in ms; 0 where no window is enforced. */
  readonly clockWindowMs: number;
}

/** Redis expires keys on a grid of 1 ms, and rounds once at each end. */
const EXPIRY_GRID_MS = 2;

/**
 * M: what disagreeing clocks may take from a validity. A node inside the window may step by up to W either way while the lock is
 * held, and so may the nodes a contender asks (4W together); δ = W/4 each for what moves between the check and the write.
 */
function marginMs(clockWindowMs: number): number {
  return 4 * clockWindowMs + 2 * (clockWindowMs / 4);
}

/** What is left of a ttl that was asked for at t0 before anything else was spent: validUntil = t0 + validityMs. */
export function validityMs(ttlMs: number, rules: ValidityRules): number {
  return ttlMs - Math.ceil(rules.driftFactor * ttlMs) - EXPIRY_GRID_MS - marginMs(rules.clockWindowMs);
}

/** The ttl whose validity is at least `validMs`: the inverse of `validityMs`, rounded up. */
export function ttlForValidityMs(validMs: number, rules: ValidityRules): number {
  return Math.ceil((validMs + EXPIRY_GRID_MS + 1 + marginMs(rules.clockWindowMs)) / (1 - rules.driftFactor));
}

/** How long before validUntil the loss is signalled, so that the holder can still stop (rule L2). */
export function guardMs(ttlMs: number): number {
  return Math.min(Math.max(50, 0.05 * ttlMs), ttlMs / 4);
}

/** No lock of this ttl is left on a node this long after it was last asked for, by the client's clock. */
export function surelyExpiredMs(ttlMs: number, rules: ValidityRules): number {
  return ttlMs + Math.ceil(rules.driftFactor * ttlMs) + EXPIRY_GRID_MS + marginMs(rules.clockWindowMs);
}

/** Locks for longer count as locks for a day: no quarantine is to last for weeks because one was (rule N3). */
export const QUARANTINE_TTL_MS_MAX = 86_400_000;

/** How long a node that lost its memory keeps silent (rule G3). */
export function quarantineMs(maxTtlMs: number, rules: ValidityRules): number {
  return Math.ceil(maxTtlMs * (1 + rules.driftFactor)) + 2 * rules.clockWindowMs;
}

/** B, how far a token may run ahead of a node's clock (rule N8): the window, or a second where there is none. */
export function leadMs(clockWindowMs: number): number {
  return clockWindowMs > 0 ? clockWindowMs : 1_000;
}
