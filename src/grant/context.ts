/** What the protocol works with: whom it asks, by which rules and clocks. */
import type { Clock, Instant } from "../clock/clock.ts";
import type { Entropy } from "../clock/entropy.ts";
import type { NodeTime } from "../clock/node-time.ts";
import type { ValidityRules } from "../clock/validity.ts";
import type { Electorate } from "../electorate.ts";
import type { Proposals } from "./proposals.ts";
import type { Slots } from "./slots.ts";

interface GrantRules extends ValidityRules {
  readonly nodeTimeoutMs: number;
  readonly maxTtlMs: number;
}

export interface GrantorContext {
  readonly electorate: Electorate;
  readonly rules: GrantRules;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly nodeTime: NodeTime;
  readonly proposals: Proposals;
  readonly slots: Slots;
}

/** τ (C2). Before the first reply of any node there is nothing to go by; the nodes then refuse, and C6 corrects it. */
export function tauUs({ nodeTime }: GrantorContext, now: Instant): number {
  return nodeTime.estimateUs(now) ?? 0;
}
