/**
 * What a run keeps: every history as a file, the sum of all figures, and for the report what is worth a picture. A long run has more
 * histories than memory should hold and a page should show.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { FinishedScenario, ScenarioResult } from "./result.ts";

/** Passed scenarios in a report; those that failed are all there, up to as many again. */
const PICTURES_MAX = 80;

export interface RunSummary {
  readonly passed: number;
  readonly failed: number;
  readonly notRun: number;
  readonly minutes: number;
  readonly acquires: number;
  readonly leases: number;
  readonly extensions: number;
  readonly losses: number;
  readonly overlapMs: number;
  /** By name: overlaps happen only where an assumption is broken on purpose. */
  readonly overlaps: Readonly<Record<string, number>>;
  readonly writes: number;
  readonly staleWrites: number;
  readonly staleWritesRefused: number;
  readonly lostUpdates: number;
  readonly leastSignalMarginMs: number | null;
  readonly worstUnavailableMs: number;
  readonly longestRecoveryMs: number;
  readonly faults: Readonly<Record<string, number>>;
}

/** The figures that are added up. */
const SUMS = [
  "acquires",
  "leases",
  "extensions",
  "losses",
  "overlapMs",
  "writes",
  "staleWrites",
  "staleWritesRefused",
  "lostUpdates",
] as const;

export class Album {
  readonly folder: string;
  readonly #pictured: { readonly result: ScenarioResult; readonly index: number }[] = [];
  readonly #faults: Record<string, number> = {};
  readonly #overlaps: Record<string, number> = {};
  readonly #margins: number[] = [];
  #counts = { passed: 0, failed: 0, notRun: 0, minutes: 0 };
  readonly #sums = Object.fromEntries(SUMS.map((field) => [field, 0])) as Record<
    (typeof SUMS)[number],
    number
  >;
  #worst = { worstUnavailableMs: 0, longestRecoveryMs: 0 };

  constructor(folder: string) {
    this.folder = folder;
    const histories = this.#histories;
    rmSync(histories, { recursive: true, force: true });
    mkdirSync(histories, { recursive: true });
  }

  get hasFailed(): boolean {
    return this.#counts.failed > 0;
  }

  /** `index`: its place in the run, whenever it ended. */
  add(result: ScenarioResult, index: number): void {
    if (result.verdict === "not run") {
      this.#counts.notRun++;
      this.#pictured.push({ result, index });
      return;
    }
    this.#counts[result.verdict]++;
    this.#sum(result);
    const lines = result.history.map((event) => JSON.stringify(event));
    writeFileSync(join(this.#histories, `${result.scenario.name}.jsonl`), `${lines.join("\n")}\n`);
    if (this.#pictured.length < (result.verdict === "failed" ? 2 * PICTURES_MAX : PICTURES_MAX))
      this.#pictured.push({ result, index });
  }

  pictured(): readonly ScenarioResult[] {
    return this.#pictured.toSorted((a, b) => a.index - b.index).map(({ result }) => result);
  }

  summary(): RunSummary {
    const least = Math.min(...this.#margins);
    return {
      ...this.#counts,
      ...this.#sums,
      ...this.#worst,
      overlaps: this.#overlaps,
      leastSignalMarginMs: Number.isFinite(least) ? least : null,
      faults: this.#faults,
    };
  }

  summaryLines(): string[] {
    const { passed, failed, notRun, ...sums } = this.summary();
    const faults = Object.entries(sums.faults).sort(([, a], [, b]) => b - a);
    const count = faults.reduce((sum, [, times]) => sum + times, 0);
    return [
      `${passed} passed, ${failed} failed${notRun > 0 ? `, ${notRun} not run` : ""}; ${sums.minutes.toFixed(1)} min of scenarios`,
      `leases ${sums.leases} of ${sums.acquires} acquires, ${sums.extensions} extensions, ${sums.losses} losses`,
      `overlap ${sums.overlapMs.toFixed(1)} ms${among(sums.overlaps)}`,
      `writes ${sums.writes}, ${sums.staleWrites} of them after a larger fence was granted: ${sums.staleWritesRefused} refused, ${sums.staleWrites - sums.staleWritesRefused} before it was used; ${sums.lostUpdates} unfenced updates lost`,
      `least margin of a loss signal ${sums.leastSignalMarginMs?.toFixed(1) ?? "–"} ms, worst unavailability ${seconds(sums.worstUnavailableMs)}, longest recovery after healing ${seconds(sums.longestRecoveryMs)}`,
      `${count} faults: ${faults.map(([fault, times]) => `${fault} ${times}`).join(", ")}`,
    ];
  }

  get #histories(): string {
    return join(this.folder, "histories");
  }

  #sum({ figures, scenario, startedAt, endedAt }: FinishedScenario): void {
    for (const field of SUMS) this.#sums[field] += figures[field];
    this.#counts.minutes += (endedAt - startedAt) / 60_000;
    if (figures.overlapMs > 0) this.#overlaps[scenario.name] = figures.overlapMs;
    if (!Number.isNaN(figures.signalMarginMs)) this.#margins.push(figures.signalMarginMs);
    for (const [fault, times] of Object.entries(figures.faults)) {
      // Without its amount: `delay 200 ms` and `delay 30 ms` are of one kind.
      const kind = fault.replace(/ -?[\d.]+( ms| %)?$/, "");
      this.#faults[kind] = (this.#faults[kind] ?? 0) + times;
    }
    this.#worst = {
      worstUnavailableMs: Math.max(this.#worst.worstUnavailableMs, figures.unavailableMs),
      longestRecoveryMs: Math.max(this.#worst.longestRecoveryMs, figures.recoveryMs),
    };
  }
}

function among(overlaps: Readonly<Record<string, number>>): string {
  const names = Object.keys(overlaps);
  return names.length === 0 ? "" : ` (${names.join(", ")})`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
