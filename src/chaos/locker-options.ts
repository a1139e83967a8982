/** The options of a scenario's lockers: short times, so that what takes a ttl takes a second. */
import { DRIFT_FACTOR, quarantineMs, type ValidityRules } from "../clock/validity.ts";
import type { LockerPlan } from "./scenario.ts";

export interface PlannedOptions {
  readonly mode: "quorum" | "single";
  readonly ttlMs: number;
  readonly maxTtlMs: number;
  readonly clockWindowMs: number;
  readonly nodeTimeoutMs: number | undefined;
  readonly restartGuard: "strict" | "trust";
  readonly rules: ValidityRules;
}

export function lockerOptionsOf(plan: LockerPlan = {}): PlannedOptions {
  const { mode = "quorum", ttlMs = 1_000, maxTtlMs = ttlMs, clockWindowMs = 50, nodeTimeoutMs } = plan;
  const rules = { driftFactor: DRIFT_FACTOR, clockWindowMs };
  const restartGuard = plan.restartGuard ?? "strict";
  return { mode, ttlMs, maxTtlMs, clockWindowMs, nodeTimeoutMs, restartGuard, rules };
}

/** For so long at least a node grants nothing after it has lost its memory; its own clock may be off by the window. */
export function silentMs({ maxTtlMs, clockWindowMs, rules }: PlannedOptions): number {
  return quarantineMs(maxTtlMs, rules) - clockWindowMs;
}
