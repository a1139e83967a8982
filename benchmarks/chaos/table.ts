/** The figures of a comparison as text: a table for every scenario, the libraries below each other. */
import type { LibraryName } from "../libraries.ts";
import { type Figures, median, type Scenario } from "./scenarios.ts";

/** Several runs of one library in one scenario. */
export interface Cell {
  readonly library: LibraryName;
  readonly scenario: Scenario;
  readonly runs: readonly Figures[];
}

export function figureNames(cells: readonly Cell[]): string[] {
  return [...new Set(cells.flatMap(({ runs }) => runs.flatMap((figures) => Object.keys(figures))))];
}

/** The median of the numbers, with their range where there are several; words as they are. */
export function shown(runs: readonly Figures[], name: string): string {
  const values = runs.map((figures) => figures[name]);
  const numbers = values.filter((value): value is number => typeof value === "number");
  const words = [...new Set(values.filter((value): value is string => typeof value === "string"))];
  if (numbers.length === 0) return words.length === 0 ? "–" : words.join("; ");
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  const range = numbers.length > 1 ? ` (${rounded(least)}…${rounded(most)})` : "";
  return [`${rounded(median(numbers))}${range}`, ...words].join("; ");
}

function rounded(value: number): string {
  return Math.abs(value) < 10 ? value.toFixed(1) : String(Math.round(value));
}

/** How much longer than the best; for times and counts of which less is better. */
export function ratio(cell: Cell, cells: readonly Cell[], name: string): string {
  const own = middle(cell, name);
  const best = Math.min(...cells.map((each) => middle(each, name)).filter((value) => value > 0));
  return own > 0 && Number.isFinite(best) && own > best ? `×${rounded(own / best)}` : "";
}

function middle({ runs }: Cell, name: string): number {
  const values = runs
    .map((figures) => figures[name])
    .filter((value): value is number => typeof value === "number");
  return median(values);
}

/** Of these less is better, and a ratio says something. */
export const RATED: ReadonlySet<string> = new Set([
  "acquire ms",
  "first ms",
  "all ms",
  "hand-over ms",
  "commands/s",
  "commands/turn",
]);

export function tableOf(scenario: Scenario, cells: readonly Cell[]): string {
  const names = figureNames(cells);
  const rows = cells.map((cell) => [
    cell.library,
    ...names.map((name) =>
      `${shown(cell.runs, name)} ${RATED.has(name) ? ratio(cell, cells, name) : ""}`.trim(),
    ),
  ]);
  const lines = [["", ...names], ...rows];
  const widths =
    lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  const texts = lines.map((line) =>
    `  ${line.map((text, column) => text.padEnd(widths[column] ?? 0)).join("   ")}`.trimEnd(),
  );
  return [`${scenario.name}: ${scenario.title}`, ...texts].join("\n");
}
