/** The comparison as a page: for every scenario the figures, and for every library when who had the lock. */
import { type Content, type Markup, tag } from "../../src/chaos/report/markup.ts";
import { facts, pageOf, sideways, wideTable } from "../../src/chaos/report/page.ts";
import { STYLE } from "../../src/chaos/report/style.ts";
import type { LibraryName } from "../libraries.ts";
import type { Course, Scenario } from "./scenarios.ts";
import { overlapOf, type Span } from "./site.ts";
import { type Cell, figureNames, RATED, ratio, shown } from "./table.ts";

export interface Comparison {
  readonly scenario: Scenario;
  readonly cells: readonly Cell[];
  /** The last run of each library. */
  readonly courses: readonly { readonly library: LibraryName; readonly course: Course }[];
}

const TITLE = "Locks under chaos, compared";
const WIDTH = 1_000;
const GUTTER = 160;
const LANE = 11;
const SHOWN_WORKERS = 2;
const ROW = SHOWN_WORKERS * LANE + 24;

const OWN_STYLE = `
svg .claim { fill: var(--hold); } svg .second { opacity: 0.6; } svg .there { fill: var(--good); opacity: 0.75; }
svg .few { fill: url(#few); stroke: var(--quarantined); stroke-width: 0.4; } #few path { stroke: var(--quarantined); }
svg .signal { fill: var(--quarantined); } svg .mark { stroke: var(--flag); } td.text { white-space: normal; min-width: 9rem; }
`;

export function comparisonPage(
  comparisons: readonly Comparison[],
  environment: Readonly<Record<string, string>>,
): string {
  return pageOf(
    TITLE,
    STYLE + OWN_STYLE,
    tag("header", {}, tag("h1", {}, TITLE), facts(environment), reading()),
    tag("main", {}, comparisons.map(sectionOf)),
  );
}

function reading(): Markup {
  return tag(
    "p",
    { class: "title" },
    "Blue: a process has the lock, by its library's own word (two processes, one above the other). Green below: a majority of the nodes really has it; hatched: fewer do. Red: both say that they have it. Triangles: a library tells of a loss. Every figure was measured in this run.",
    tag(
      "svg",
      { width: 0, height: 0, class: "defs", "aria-hidden": "true" },
      tag(
        "defs",
        {},
        tag(
          "pattern",
          { id: "few", width: 5, height: 5, patternUnits: "userSpaceOnUse" },
          tag("path", { d: "M0 5l5 -5" }),
        ),
      ),
    ),
  );
}

function sectionOf({ scenario, cells, courses }: Comparison): Markup {
  const names = figureNames(cells);
  return tag(
    "section",
    { class: "scenario" },
    tag("h2", {}, scenario.name),
    tag("p", { class: "title" }, scenario.title),
    wideTable(
      [tag("th", { scope: "col" }, "library"), ...names.map((name) => headOf(name, scenario))],
      cells.map((cell) => rowOf(cell, cells, names)),
    ),
    sideways(drawingOf(courses)),
  );
}

function headOf(name: string, { figures }: Scenario): Markup {
  return tag("th", { scope: "col" }, name, tag("small", {}, figures[name] ?? ""));
}

function rowOf(cell: Cell, cells: readonly Cell[], names: readonly string[]): Markup {
  return tag(
    "tr",
    {},
    tag("th", { scope: "row" }, cell.library),
    names.map((name) => {
      const text = shown(cell.runs, name);
      const rated = RATED.has(name) ? ratio(cell, cells, name) : "";
      return tag("td", { class: /^[–\d-]/.test(text) ? undefined : "text" }, text, tag("small", {}, rated));
    }),
  );
}

export function drawingOf(courses: Comparison["courses"]): Markup {
  const longest = Math.max(1, ...courses.map(({ course }) => course.to - course.from));
  const scale = (WIDTH - GUTTER - 10) / longest;
  return tag(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${courses.length * ROW + 18}`,
      role: "img",
      class: "timeline",
      "aria-label": "who had the lock",
    },
    courses.map(({ library, course }, index) => courseOf(library, course, index * ROW, scale)),
    tag(
      "text",
      { x: WIDTH - 10, y: courses.length * ROW + 12, "text-anchor": "end" },
      `${(longest / 1_000).toFixed(1)} s`,
    ),
  );
}

function courseOf(library: LibraryName, course: Course, top: number, scale: number): Markup {
  const x = (at: number) => GUTTER + Math.max(0, at - course.from) * scale;
  const bar = (span: Span, y: number, height: number, style: string, title: string): Markup =>
    tag(
      "rect",
      { x: x(span.from), y, width: Math.max(0.6, x(span.to) - x(span.from)), height, class: style },
      tag("title", {}, title),
    );
  const [first = [], second = []] = course.claims;
  const bottom = top + 4 + SHOWN_WORKERS * LANE;
  return tag(
    "g",
    {},
    tag("text", { x: GUTTER - 10, y: top + 18, class: "lane" }, library),
    tag("line", { x1: GUTTER, x2: x(course.to), y1: bottom + 4, y2: bottom + 4, class: "base" }),
    first.map((span) => bar(span, top + 4, LANE - 2, "claim", said("the first", span))),
    second.map((span) => bar(span, top + 4 + LANE, LANE - 2, "claim second", said("the second", span))),
    overlaps(first, second).map((span) =>
      bar(span, top + 2, SHOWN_WORKERS * LANE + 2, "overlap", said("both", span)),
    ),
    course.majority.map((span) => bar(span, bottom + 1, 5, "there", "a majority has the key")),
    course.minority.map((span) => bar(span, bottom + 1, 5, "few", "fewer than a majority have the key")),
    course.signals.map((times, index) =>
      times.map((at) =>
        tag("path", { d: `M${x(at).toFixed(1)} ${top + 4 + index * LANE + 8}l-4 -8h8z`, class: "signal" }),
      ),
    ),
    course.marks.map(({ at, what }): Content => [
      tag("line", { x1: x(at), x2: x(at), y1: top + 1, y2: bottom + 7, class: "mark" }),
      tag("text", { x: x(at) + 3, y: bottom + 15 }, what),
    ]),
  );
}

function said(who: string, { from, to }: Span): string {
  return `${who} for ${Math.round(to - from)} ms`;
}

function overlaps(some: readonly Span[], others: readonly Span[]): Span[] {
  return some.flatMap((one) =>
    others.flatMap((other) =>
      overlapOf([one], [other]) > 0
        ? [{ from: Math.max(one.from, other.from), to: Math.min(one.to, other.to) }]
        : [],
    ),
  );
}
