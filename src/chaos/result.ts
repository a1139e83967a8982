/** What came of a scenario: its history, what was wrong with it, and its figures. Plain data, so that it can be stored and drawn. */
import type { Violation } from "../history/checkers.ts";
import type { History } from "../history/history.ts";
import type { Scenario } from "./scenario.ts";

export type ScenarioResult = FinishedScenario | UnrunScenario;

/** What a machine cannot do is not passed, and not failed either. */
export interface UnrunScenario {
  readonly verdict: "not run";
  readonly scenario: Scenario;
  readonly reason: string;
}

export interface FinishedScenario {
  readonly verdict: "passed" | "failed";
  readonly scenario: Scenario;
  readonly seed: string;
  /** The names of its nodes (`n1` …) and clients (`c1` …), as the history has them. */
  readonly nodes: readonly string[];
  readonly clients: readonly string[];
  /** By the clock of the history, ms. */
  readonly startedAt: number;
  readonly endedAt: number;
  readonly history: History;
  readonly violations: readonly Violation[];
  /** Outcomes that were expected and are not so, and what else went wrong, in words. */
  readonly failures: readonly string[];
  readonly figures: Figures;
}

/** Times in ms; NaN where there was nothing to measure, null in JSON. */
export interface Figures {
  readonly acquires: number;
  readonly leases: number;
  readonly extensions: number;
  readonly losses: number;
  readonly faults: Readonly<Record<string, number>>;
  /** For how long two leases of one key were valid at once, summed up. */
  readonly overlapMs: number;
  /** The least that was left of the validity when a loss was signalled; negative: too late. */
  readonly signalMarginMs: number;
  readonly writes: number;
  readonly staleWrites: number;
  readonly staleWritesRefused: number;
  readonly lostUpdates: number;
  /** From the call to the lease. */
  readonly acquireMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** The longest time in which somebody asked and nobody had or got the lock. */
  readonly unavailableMs: number;
  /** From healing to the last client's first lease. */
  readonly recoveryMs: number;
}
