/**
 * How long a lock may be trusted: pure arithmetic on ttl, drift and clock window (rules C4, L2, L3). No clock is read here.
 */

export interface ValidityRules {
  /** Allowance ρ for a client's clock that runs slower than the nodes', as a fraction of the ttl. */
  readonly driftFactor: number;
  /** W, the largest accepted difference between the clocks of two nodes, in ms; 0 where no window is enforced. */
  readonly clockWindowMs: number;
}

/** ρ unless it is set. chrony slows a clock by 8.33 % at most unless it is told otherwise (`maxslewrate`); the rest is for clocks that nobody sets. */
export const DRIFT_FACTOR = 0.085;

/** Redis expires keys on a grid of 1 ms, and rounds once at each end. */
const EXPIRY_GRID_MS = 2;

/**
 * M: what disagreeing clocks may take from a validity. A node inside the window may step by up to W either way while the lock is
 * held, and so may the nodes a contender asks (4W together); δ = W/4 each for what moves between the check and the write.
 */
function marginMs(clockWindowMs: number): number {
  return 4 * clockWindowMs + 2 * (clockWindowMs / 4);
}

/**
 * What clocks that nobody sets right differ by, as a fraction: far more than quartz and NTP's usual corrections of 0.05 %. This much is
 * allowed for beside the margin for steps. What is allowed for beyond it is a clock that NTP slews, and shares the margin: a client that is
 * slewed at the limit while its nodes step at theirs is two faults at once. (Where it lasts, the client sees its rate and follows it.)
 */
const UNSLEWED = 0.01;

/** ρ where nobody slews: at most the part that stands beside the margin. */
export function unslewed({ driftFactor }: ValidityRules): number {
  return Math.min(driftFactor, UNSLEWED);
}

/** What is left of a ttl that was asked for at t0 before anything else was spent: validUntil = t0 + validityMs. */
export function validityMs(ttlMs: number, rules: ValidityRules): number {
  const slew = Math.ceil(rules.driftFactor * ttlMs);
  const steps = Math.ceil(unslewed(rules) * ttlMs) + marginMs(rules.clockWindowMs);
  return ttlMs - EXPIRY_GRID_MS - Math.max(slew, steps);
}

/** The ttl whose validity is at least `validMs`: the inverse of `validityMs`, rounded up. */
export function ttlForValidityMs(validMs: number, rules: ValidityRules): number {
  const leastMs = validMs + EXPIRY_GRID_MS + 1;
  const slewed = leastMs / (1 - rules.driftFactor);
  const stepped = (leastMs + marginMs(rules.clockWindowMs)) / (1 - unslewed(rules));
  return Math.ceil(Math.max(slewed, stepped));
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

/**
 * How long a node that lost its memory keeps silent (rule G3), by its own clock, as the ttl of what it forgot was. That a holder's clock may
 * be slewed is allowed for in its validity.
 */
export function quarantineMs(maxTtlMs: number, rules: ValidityRules): number {
  return Math.ceil(maxTtlMs * (1 + unslewed(rules))) + 2 * rules.clockWindowMs;
}

/** B, how far a token may run ahead of a node's clock (rule N8): the window, or a second where there is none. */
export function leadMs(clockWindowMs: number): number {
  return clockWindowMs > 0 ? clockWindowMs : 1_000;
}
