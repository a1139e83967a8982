/**
 * A history as a picture: time to the right, a lane for each client and each node. Drawn in the units of a view box, so that it scales
 * with the page.
 */
import { overlapsOf, type Span } from "../overlaps.ts";
import type { FinishedScenario } from "../result.ts";
import { type Content, type Markup, tag } from "./markup.ts";
import { conditionsOf, eventsOf, type Hold, holdsOf, merged, type Wait, waitsOf } from "./spans.ts";
import { ms } from "./words.ts";

const WIDTH = 1_000;
const GUTTER = 46;
const RIGHT = 12;
const FLAG_ROW = 13;
const FLAG_ROWS_MAX = 4;
const CLIENT_LANE = 40;
const NODE_LANE = 20;
const AXIS = 24;
/** Flags of faults do not stand nearer than this. */
const FLAG_WIDTH = 17;
/** Labels that would not fit are left to the tooltip. */
const LETTER_WIDTH = 5.6;

interface Frame {
  readonly x: (at: number) => number;
  readonly from: number;
  readonly to: number;
  /** ms a unit. */
  readonly unitMs: number;
}

export function timelineOf(result: FinishedScenario): Markup {
  const { clients, nodes, history, scenario } = result;
  const frame = frameOf(result);
  const flags = flagsOf(result, frame);
  const top = flags.rows * FLAG_ROW + 6;
  const nodesTop = top + clients.length * CLIENT_LANE + 8;
  const bottom = nodesTop + nodes.length * NODE_LANE + 2;
  const height = bottom + AXIS;
  const lanes = [
    overlapsOf(history).map((span) => overlap(span, frame, top, nodesTop - 8)),
    flags.lines(bottom),
    clients.map((client, index) => clientLane(client, top + index * CLIENT_LANE, result, frame)),
    nodes.map((node, index) => nodeLane(node, nodesTop + index * NODE_LANE, result, frame)),
  ];
  return tag(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${height}`,
      role: "img",
      class: "timeline",
      "aria-label": `timeline of ${scenario.name}`,
    },
    axis(frame, top, bottom),
    lanes,
    flags.marks,
    healedLine(result, frame, top, bottom),
  );
}

/** From when the clients work: how the servers were admitted before that is the same in all scenarios. */
function frameOf({ startedAt, endedAt }: FinishedScenario): Frame {
  const from = startedAt;
  const to = Math.max(endedAt, from + 1);
  const unitMs = (to - from) / (WIDTH - GUTTER - RIGHT);
  const x = (at: number) => GUTTER + Math.min(Math.max(at - from, 0), to - from) / unitMs;
  return { x, from, to, unitMs };
}

function bar(
  span: Span,
  frame: Frame,
  attributes: { y: number; height: number; class: string },
  title?: string,
) {
  const x = frame.x(span.from);
  const width = Math.max(frame.x(span.to) - x, 0.6);
  return tag("rect", { x, width, ...attributes }, title === undefined ? undefined : tag("title", {}, title));
}

function axis({ from, to, x }: Frame, top: number, bottom: number): Markup {
  const stepMs = niceStep((to - from) / 10);
  const ticks: Content[] = [];
  for (let at = 0; at <= to - from; at += stepMs) {
    const place = x(from + at);
    ticks.push(
      tag("line", { x1: place, x2: place, y1: top, y2: bottom, class: "grid" }),
      tag("text", { x: place, y: bottom + 15, class: "tick" }, `${Number((at / 1_000).toFixed(2))} s`),
    );
  }
  return tag("g", {}, ticks);
}

function niceStep(ms: number): number {
  const power = 10 ** Math.floor(Math.log10(ms));
  return ([1, 2, 5].find((factor) => factor * power >= ms) ?? 10) * power;
}

function clientLane(client: string, y: number, { history, endedAt }: FinishedScenario, frame: Frame): Markup {
  const middle = y + CLIENT_LANE / 2 - 3;
  const away = conditionsOf(history, client, endedAt);
  return tag(
    "g",
    {},
    tag("text", { x: GUTTER - 8, y: middle + 4, class: "lane" }, client),
    tag("line", { x1: GUTTER, x2: WIDTH - RIGHT, y1: middle, y2: middle, class: "base" }),
    away.map((span) =>
      bar(
        span,
        frame,
        { y: y + 2, height: CLIENT_LANE - 8, class: "away" },
        `${client} is ${span.condition} for ${ms(span.to - span.from)} ms`,
      ),
    ),
    merged(waitsOf(history, client, endedAt), frame.unitMs).map((wait) => waitLine(wait, frame, middle)),
    merged(holdsOf(history, client), frame.unitMs / 2).map((hold) => holdBars(hold, frame, middle)),
    losses(history, client, frame, y),
    writes(history, client, frame, y + CLIENT_LANE - 9),
  );
}

function waitLine({ op, from, to, refusedWith }: Wait, { x }: Frame, y: number): Markup {
  const said = refusedWith === undefined ? "acquired" : refusedWith;
  return tag(
    "line",
    { x1: x(from), x2: x(to), y1: y, y2: y, class: refusedWith === undefined ? "wait" : "wait refused" },
    tag("title", {}, `${op} waits ${ms(to - from)} ms: ${said}`),
  );
}

function holdBars(hold: Hold, frame: Frame, middle: number): Content {
  const title = `${hold.op} holds for ${ms(hold.to - hold.from)} ms, fence ${hold.fence}, valid for ${ms(hold.validUntil - hold.from)} ms`;
  return [
    bar(
      { from: hold.from, to: Math.max(hold.validUntil, hold.to) },
      frame,
      { y: middle - 9, height: 18, class: "valid" },
      title,
    ),
    bar(hold, frame, { y: middle - 5, height: 10, class: "hold" }, title),
  ];
}

function losses(history: FinishedScenario["history"], client: string, { x }: Frame, y: number): Markup[] {
  return eventsOf(history, "lost")
    .filter((event) => event.client === client)
    .map(({ at, until, op, cause }) => {
      const place = x(at);
      const margin = until - at;
      return tag(
        "g",
        { class: margin > 0 ? "loss" : "loss late" },
        tag("path", { d: `M${place.toFixed(1)} ${y + 9}l-4 -8h8z` }),
        tag("text", { x: place + 6, y: y + 7 }, `${ms(margin)} ms`),
        tag("title", {}, `${op} is told that it is lost (${cause}), ${ms(margin)} ms before its end`),
      );
    });
}

/** Stored: a tick; refused: a cross. Of those that are stored, no two on the same spot. */
function writes(history: FinishedScenario["history"], client: string, { x }: Frame, y: number): Content {
  let last = -Infinity;
  return eventsOf(history, "write")
    .filter((event) => event.client === client)
    .flatMap(({ at, op, isStored }) => {
      const place = Math.round(x(at) * 10) / 10;
      if (isStored && place - last < 1.5) return [];
      if (isStored) last = place;
      const d = isStored ? `M${place} ${y}v5` : `M${(place - 3).toFixed(1)} ${y}l6 6m0 -6l-6 6`;
      const said = isStored ? "stored" : "refused for its fence";
      return tag(
        "path",
        { d, class: isStored ? "write" : "write refused" },
        tag("title", {}, `${op} writes: ${said}`),
      );
    });
}

function nodeLane(node: string, y: number, { history, endedAt }: FinishedScenario, frame: Frame): Markup {
  const middle = y + NODE_LANE / 2;
  const spans = conditionsOf(history, node, endedAt).filter(({ to }) => to > frame.from);
  return tag(
    "g",
    {},
    tag("text", { x: GUTTER - 8, y: middle + 4, class: "lane" }, node),
    tag("line", { x1: GUTTER, x2: WIDTH - RIGHT, y1: middle, y2: middle, class: "up" }),
    spans.map((span) => {
      const { condition, from, to } = span;
      const place = { y: y + 3, height: NODE_LANE - 6, class: `is-${condition.replace(" ", "-")}` };
      const width = frame.x(to) - frame.x(from);
      const fits = width > condition.length * LETTER_WIDTH + 6;
      return [
        bar(span, frame, place, `${node} is ${condition} for ${ms(to - from)} ms`),
        fits
          ? tag("text", { x: frame.x(from) + width / 2, y: middle + 3.5, class: "condition" }, condition)
          : undefined,
      ];
    }),
  );
}

function overlap(span: Span, frame: Frame, top: number, bottom: number): Markup {
  return bar(
    span,
    frame,
    { y: top, height: bottom - top, class: "overlap" },
    `two leases of one key at once for ${ms(span.to - span.from)} ms`,
  );
}

interface Flags {
  readonly rows: number;
  readonly marks: Content;
  readonly lines: (bottom: number) => Content;
}

/** Faults by number, in as many rows as they need, and a line down through the lanes from each. */
function flagsOf({ history }: FinishedScenario, { x }: Frame): Flags {
  const ends: number[] = [];
  const placed = eventsOf(history, "fault").map((event, index) => {
    const place = x(event.at);
    const free = ends.findIndex((end) => end <= place);
    const row = free >= 0 ? free : Math.min(ends.length, FLAG_ROWS_MAX - 1);
    ends[row] = place + FLAG_WIDTH;
    return { place, row, number: index + 1, title: `${event.fault}: ${event.target}` };
  });
  const top = (row: number) => row * FLAG_ROW + 1;
  return {
    rows: Math.max(1, ends.length),
    marks: placed.map(({ place, row, number, title }) =>
      tag(
        "g",
        { class: "flag" },
        tag("rect", { x: place - 1, y: top(row), width: FLAG_WIDTH - 3, height: FLAG_ROW - 2, rx: 2 }),
        tag("text", { x: place + FLAG_WIDTH / 2 - 2.5, y: top(row) + 9 }, number),
        tag("title", {}, title),
      ),
    ),
    lines: (bottom) =>
      placed.map(({ place, row }) =>
        tag("line", { x1: place, x2: place, y1: top(row), y2: bottom, class: "flagline" }),
      ),
  };
}

/** Room for the word beside its line. */
const HEALED_WIDTH = 48;

function healedLine({ history }: FinishedScenario, { x }: Frame, top: number, bottom: number): Content {
  const [healed] = eventsOf(history, "healed");
  if (healed === undefined) return undefined;
  const place = x(healed.at);
  const word =
    place + HEALED_WIDTH > WIDTH
      ? { x: place - 4, "text-anchor": "end" }
      : { x: place + 4, "text-anchor": "start" };
  return tag(
    "g",
    { class: "healed" },
    tag("line", { x1: place, x2: place, y1: top, y2: bottom }),
    tag("text", { ...word, y: bottom - 4 }, "healed"),
  );
}
