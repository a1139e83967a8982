/** All scenarios of a run beside each other: how long acquires took, how long nobody could have the lock, and how early losses were told. */
import type { FinishedScenario } from "../result.ts";
import { type Content, type Markup, tag } from "./markup.ts";
import { ms, seconds } from "./words.ts";

const NAMES = 270;
const COLUMN = 205;
const GAP = 44;
const ROW = 17;
const TOP = 44;
const WIDTH = NAMES + 3 * (COLUMN + GAP);

interface Column {
  readonly title: string;
  readonly ticks: readonly { readonly value: number; readonly label: string }[];
  /** 0 … 1 within the column. */
  readonly place: (value: number) => number;
  readonly draw: (result: FinishedScenario, x: (value: number) => number, y: number) => Content;
}

export function plotsOf(results: readonly FinishedScenario[]): Markup {
  const height = TOP + results.length * ROW + 8;
  return tag(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", class: "plots", "aria-label": "figures by scenario" },
    results.map(({ scenario }, index) => [
      tag("text", { x: NAMES - 10, y: TOP + index * ROW + 12, class: "name" }, shortened(scenario.name)),
      index % 2 === 0
        ? tag("rect", { x: 0, y: TOP + index * ROW, width: WIDTH, height: ROW, class: "stripe" })
        : undefined,
    ]),
    columnsOf(results).map((column, index) =>
      columnOf(column, NAMES + index * (COLUMN + GAP), results, height),
    ),
  );
}

function shortened(name: string): string {
  return name.length > 42 ? `${name.slice(0, 41)}…` : name;
}

function columnOf(
  column: Column,
  left: number,
  results: readonly FinishedScenario[],
  height: number,
): Markup {
  const x = (value: number) => left + COLUMN * Math.min(1, Math.max(0, column.place(value)));
  return tag(
    "g",
    {},
    tag("text", { x: left, y: 12, class: "title" }, column.title),
    column.ticks.map(({ value, label }) => [
      tag("line", { x1: x(value), x2: x(value), y1: TOP - 6, y2: height, class: "grid" }),
      tag("text", { x: x(value), y: TOP - 12, class: "tick" }, label),
    ]),
    results.map((result, index) => column.draw(result, x, TOP + index * ROW + ROW / 2)),
  );
}

function columnsOf(results: readonly FinishedScenario[]): Column[] {
  const worst = Math.max(1_000, ...results.map(({ figures }) => figures.unavailableMs));
  const margin = Math.max(50, ...results.map(({ figures }) => Math.abs(figures.signalMarginMs) || 0));
  return [latency(), unavailability(worst), margins(margin)];
}

/** 0.1 ms to 30 s. */
const DECADES = Math.log10(300_000);

function latency(): Column {
  return {
    title: "acquire: median, p99, longest",
    ticks: [1, 10, 100, 1_000, 10_000].map((value) => ({
      value,
      label: value < 1_000 ? `${value} ms` : `${value / 1_000} s`,
    })),
    place: (value) => Math.log10(Math.max(value, 0.1) * 10) / DECADES,
    draw: ({ figures: { acquireMs } }, x, y) => {
      const { p50, p99, max } = acquireMs;
      if (Number.isNaN(p50)) return undefined;
      return tag(
        "g",
        { class: "latency" },
        tag("line", { x1: x(p50), x2: x(p99), y1: y, y2: y }),
        tag("line", { x1: x(max), x2: x(max), y1: y - 4, y2: y + 4, class: "max" }),
        tag("circle", { cx: x(p50), cy: y, r: 3 }),
        tag("title", {}, `median ${ms(p50)} ms, p99 ${ms(p99)} ms, longest ${ms(max)} ms`),
      );
    },
  };
}

function unavailability(worst: number): Column {
  return {
    title: "longest unavailability",
    ticks: [0, worst / 2, worst].map((value) => ({ value, label: `${seconds(value)} s` })),
    place: (value) => value / worst,
    draw: ({ figures: { unavailableMs } }, x, y) =>
      tag(
        "rect",
        { x: x(0), y: y - 4, width: x(unavailableMs) - x(0), height: 8, class: "unavailable" },
        tag("title", {}, `${seconds(unavailableMs)} s`),
      ),
  };
}

function margins(widest: number): Column {
  return {
    title: "validity left when a loss was told",
    ticks: [-widest, 0, widest].map((value) => ({ value, label: `${ms(value)} ms` })),
    place: (value) => (value + widest) / (2 * widest),
    draw: ({ figures: { signalMarginMs } }, x, y) =>
      Number.isNaN(signalMarginMs)
        ? undefined
        : tag(
            "circle",
            { cx: x(signalMarginMs), cy: y, r: 3.5, class: signalMarginMs > 0 ? "margin" : "margin late" },
            tag("title", {}, `${ms(signalMarginMs)} ms`),
          ),
  };
}
