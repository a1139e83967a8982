/** The figures of a run as a table: for the page and, as plain text, for the terminal. */
import type { ScenarioResult } from "../result.ts";
import { ms, seconds } from "./words.ts";

export const COLUMNS: readonly string[] = [
  "leases",
  "overlap ms",
  "told ms before end",
  "late writes / refused",
  "unavailable s",
  "recovery s",
  "acquire p50 / p99 ms",
];

/** One text a column; undefined where the scenario was not run. */
export function cellsOf(result: ScenarioResult): readonly string[] | undefined {
  if (result.verdict === "not run") return undefined;
  const { figures } = result;
  return [
    String(figures.leases),
    ms(figures.overlapMs),
    ms(figures.signalMarginMs),
    `${figures.staleWrites} / ${figures.staleWritesRefused}`,
    seconds(figures.unavailableMs),
    seconds(figures.recoveryMs),
    `${ms(figures.acquireMs.p50)} / ${ms(figures.acquireMs.p99)}`,
  ];
}

/** Heads of two lines, since a terminal is narrow. */
const HEADS: readonly (readonly [string, string])[] = [
  ["", "leases"],
  ["overlap", "ms"],
  ["told", "ms early"],
  ["late", "refused"],
  ["unavail.", "s"],
  ["recovery", "s"],
  ["acquire ms", "p50 / p99"],
];
const NAME_WIDTH = 43;
const WIDTHS = [7, 8, 9, 9, 9, 9, 14];

export function renderTable(results: readonly ScenarioResult[]): string {
  const head = (line: 0 | 1) =>
    row(
      line === 1 ? "scenario" : "",
      "",
      HEADS.map((words) => words[line]),
    );
  return [head(0), head(1), ...results.map(lineOf)].join("\n");
}

function lineOf(result: ScenarioResult): string {
  const name = result.scenario.name.slice(0, NAME_WIDTH - 1);
  const cells = cellsOf(result);
  if (cells !== undefined) return row(name, result.verdict === "passed" ? "✓" : "✗", cells);
  return `– ${name.padEnd(NAME_WIDTH)}not run${result.verdict === "not run" ? `: ${result.reason}` : ""}`;
}

function row(name: string, mark: string, cells: readonly string[]): string {
  const texts = cells.map((cell, index) => cell.padStart(WIDTHS[index] ?? 0));
  return `${mark.padEnd(2)}${name.padEnd(NAME_WIDTH)}${texts.join("")}`.trimEnd();
}
