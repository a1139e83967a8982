/** The figures as a page: growth curves over concurrency for each cluster size, bars for everything else. */
import { type Content, type Markup, tag } from "../../src/chaos/report/markup.ts";
import { facts, pageOf, sideways } from "../../src/chaos/report/page.ts";
import { STYLE } from "../../src/chaos/report/style.ts";
import { isFloor, isOurs, type Name } from "./contestants.ts";
import { type Row, SUITES } from "./suites.ts";

const TITLE = "What a lock costs";
const [WIDTH, HEIGHT, LEFT, BOTTOM, RIGHT] = [900, 320, 70, 34, 190];
const [BAR_LEFT, BAR_ROW] = [330, 18];

const OWN_STYLE = `
svg .curve { fill: none; stroke-width: 1.5; } svg .ours { stroke: var(--hold); stroke-width: 3; }
svg .peer { stroke: var(--soft); } svg .floor { stroke: var(--soft); stroke-dasharray: 5 4; }
svg text.ours { fill: var(--hold); stroke: none; font-weight: 600; } svg text.peer, svg text.floor { stroke: none; }
svg .bar { fill: var(--soft); } svg .bar.ours { fill: var(--hold); stroke: none; } svg .axis { stroke: var(--line); }
`;

export function benchPage(rows: readonly Row[], environment: Readonly<Record<string, string>>): string {
  const suites = [...new Set(rows.map(({ suite }) => suite))];
  return pageOf(
    TITLE,
    STYLE + OWN_STYLE,
    tag("header", {}, tag("h1", {}, TITLE), facts(environment)),
    tag(
      "main",
      {},
      suites.map((suite) =>
        sectionOf(
          suite,
          rows.filter((row) => row.suite === suite),
        ),
      ),
    ),
  );
}

function sectionOf(suite: string, rows: readonly Row[]): Markup {
  const sizes = [...new Set(rows.map(({ nodes }) => nodes))];
  return tag(
    "section",
    { class: "scenario" },
    tag("h2", {}, suite),
    tag("p", { class: "title" }, SUITES[suite]?.title ?? ""),
    overNodes(suite, rows),
    sizes.map((size) => {
      const here = rows.filter(({ nodes }) => nodes === size);
      return [
        tag("h3", {}, size === 1 ? "1 node" : `${size} nodes`),
        scrolling(isGrowth(here) ? curves(here, X_OF[suite] ?? OVER_CONCURRENCY) : bars(here)),
      ];
    }),
  );
}

/** Growth: throughput at several places. */
function isGrowth(rows: readonly Row[]): boolean {
  return rows.every((row) => "pairs/s" in row.figures) && new Set(rows.map(({ at }) => at)).size > 1;
}

/** What is drawn over what. */
interface Axes {
  readonly x: (row: Row) => number;
  readonly figure: string;
  readonly label: string;
}

const OVER_CONCURRENCY: Axes = { x: ({ at }) => Number(at), figure: "pairs/s", label: "locks at once" };
const X_OF: Readonly<Record<string, Axes>> = {
  shards: { ...OVER_CONCURRENCY, label: "shards" },
  contended: { ...OVER_CONCURRENCY, label: "contenders for one key" },
};

/** The same place on clusters of several sizes; of several places the one with most at once that every library is at home at. */
function overNodes(suite: string, rows: readonly Row[]): Content {
  const figure = suite === "throughput" ? "pairs/s" : "p50 µs";
  const at = suite === "throughput" && rows.some((row) => row.at === COMMON_PLACE) ? COMMON_PLACE : "1";
  const here = rows.filter((row) => row.at === at && figure in row.figures);
  if (new Set(here.map(({ nodes }) => nodes)).size < 2) return [];
  // One library under the name of its mode.
  const named = here.map((row): Row => ({ ...row, name: isOurs(row.name) ? "holdfast" : row.name }));
  return [
    tag("h3", {}, `over the number of nodes, ${at} at once`),
    scrolling(curves(named, { x: ({ nodes }) => nodes, figure, label: `nodes; ${figure}` })),
  ];
}

const COMMON_PLACE = "200";

function scrolling(plot: Markup): Markup {
  return sideways(plot);
}

function styleOf(name: Name): string {
  if (isOurs(name)) return "ours";
  return isFloor(name) ? "floor" : "peer";
}

/** Both axes count in powers of ten. */
function curves(rows: readonly Row[], { x: xOf, figure, label }: Axes): Markup {
  const names = [...new Set(rows.map(({ name }) => name))];
  const valueOf = (row: Row | undefined): number => row?.figures[figure] ?? 1;
  const values = rows.map(valueOf);
  const ats = rows.map(xOf);
  const x = scale(Math.min(...ats), Math.max(...ats), LEFT, WIDTH - RIGHT);
  const y = scale(Math.min(...values) / 1.2, Math.max(...values) * 1.2, HEIGHT - BOTTOM, 12);
  const labels = spread(
    names.map((name) => {
      const last = rows.filter((row) => row.name === name).at(-1);
      return { name, y: y(valueOf(last)) };
    }),
  );
  return tag(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      class: "plots",
      "aria-label": `${figure} over ${label}`,
    },
    [...new Set(ats)].map((at) => [
      tag("line", { x1: x(at), x2: x(at), y1: 12, y2: HEIGHT - BOTTOM, class: "grid" }),
      tag("text", { x: x(at), y: HEIGHT - 16, "text-anchor": "middle" }, String(at)),
    ]),
    powers(Math.min(...values), Math.max(...values)).map((value) => [
      tag("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: "grid" }),
      tag("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toLocaleString("en")),
    ]),
    names.map((name) => {
      const points = rows
        .filter((row) => row.name === name)
        .map((row) => `${x(xOf(row)).toFixed(1)},${y(valueOf(row)).toFixed(1)}`);
      return tag("polyline", { points: points.join(" "), class: `curve ${styleOf(name)}` });
    }),
    labels.map(({ name, y: at }) =>
      tag("text", { x: WIDTH - RIGHT + 8, y: at + 4, class: styleOf(name) }, name),
    ),
    tag("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 2, "text-anchor": "middle" }, label),
  );
}

function bars(rows: readonly Row[]): Markup {
  const figure = Object.keys(rows[0]?.figures ?? {})[0] ?? "";
  const largest = Math.max(...rows.map((row) => row.figures[figure] ?? 0));
  const width = (value: number): number => (value / largest) * (WIDTH - BAR_LEFT - 110);
  return tag(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${rows.length * BAR_ROW + 8}`,
      role: "img",
      class: "plots",
      "aria-label": figure,
    },
    rows.map((row, index): Content => {
      const top = index * BAR_ROW + 4;
      const value = row.figures[figure] ?? 0;
      const label = row.at === "1" ? row.name : `${row.name}, ${row.at}`;
      return [
        tag("text", { x: BAR_LEFT - 8, y: top + 12, "text-anchor": "end", class: styleOf(row.name) }, label),
        tag("rect", {
          x: BAR_LEFT,
          y: top + 2,
          width: width(value),
          height: BAR_ROW - 6,
          class: `bar ${styleOf(row.name)}`,
        }),
        tag(
          "text",
          { x: BAR_LEFT + width(value) + 6, y: top + 12 },
          `${Math.round(value).toLocaleString("en")} ${figure}`,
        ),
      ];
    }),
  );
}

function scale(least: number, most: number, from: number, to: number): (value: number) => number {
  const span = Math.log(most / least) || 1;
  return (value) => from + ((to - from) * Math.log(value / least)) / span;
}

function powers(least: number, most: number): number[] {
  const first = Math.ceil(Math.log10(least));
  const last = Math.floor(Math.log10(most));
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => 10 ** (first + index));
}

/** Names beside the ends of their curves, none upon another. */
function spread(labels: readonly { readonly name: Name; readonly y: number }[]): { name: Name; y: number }[] {
  let above = -Infinity;
  return [...labels]
    .sort((a, b) => a.y - b.y)
    .map(({ name, y }) => {
      above = Math.max(y, above + 13);
      return { name, y: above };
    });
}
