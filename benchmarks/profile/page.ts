/** Flame graphs: time goes to the right, calls go down; the widest way down is where the time goes. */
import { type Content, type Markup, tag } from "../../src/chaos/report/markup.ts";
import { pageOf, sideways } from "../../src/chaos/report/page.ts";
import { STYLE } from "../../src/chaos/report/style.ts";
import type { Flame } from "./profile.ts";

export interface Run {
  readonly title: string;
  readonly shares: ReadonlyMap<string, number>;
  readonly flames: Flame;
  readonly pairsPerSecond: number;
  readonly serverUs: number;
}

const TITLE = "Where the time of a lock goes";
const [WIDTH, ROW] = [1_200, 17];
/** Narrower ones are left out, and with them their callees. */
const WIDTH_MIN = 1.5;
const LETTER = 6.2;

/** Ours stand out; each other part has its shade. */
const OWN_STYLE = `
svg .f { stroke: var(--paper); stroke-width: .5; fill: var(--soft); opacity: .55; }
svg .ours { fill: var(--hold); opacity: .8; } svg .gc { fill: var(--bad); opacity: .6; }
svg text.t { font-size: 10px; pointer-events: none; stroke: none; fill: var(--ink); }
`;

export function flamePage(runs: readonly Run[]): string {
  return pageOf(
    TITLE,
    STYLE + OWN_STYLE,
    tag("header", {}, tag("h1", {}, TITLE)),
    tag(
      "main",
      {},
      runs.map((run) =>
        tag(
          "section",
          { class: "scenario" },
          tag("h2", {}, run.title),
          tag(
            "p",
            { class: "title" },
            `${Math.round(run.pairsPerSecond).toLocaleString("en")} pairs a second`,
          ),
          sideways(flameGraph(run.flames)),
        ),
      ),
    ),
  );
}

function flameGraph(root: Flame): Markup {
  const boxes: Content[] = [];
  let deepest = 0;
  const draw = (flame: Flame, left: number, depth: number): void => {
    const width = (WIDTH * flame.us) / root.us;
    if (width < WIDTH_MIN) return;
    deepest = Math.max(deepest, depth);
    boxes.push(boxOf(flame, (100 * flame.us) / root.us, left, width, depth));
    let from = left;
    for (const callee of flame.callees) {
      draw(callee, from, depth + 1);
      from += (WIDTH * callee.us) / root.us;
    }
  };
  draw(root, 0, 0);
  return tag(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${(deepest + 1) * ROW}`,
      role: "img",
      class: "plots",
      "aria-label": "flame graph",
    },
    boxes,
  );
}

function boxOf({ name, part }: Flame, percent: number, left: number, width: number, depth: number): Content {
  const label = `${name} · ${part} · ${percent.toFixed(1)} %`;
  const shown = name.slice(0, Math.floor(width / LETTER));
  const kind = part.startsWith("src/") ? "f ours" : part === "garbage collection" ? "f gc" : "f";
  return tag(
    "g",
    {},
    tag("title", {}, label),
    tag("rect", { x: left, y: depth * ROW, width, height: ROW - 1, class: kind }),
    shown.length > 2 ? tag("text", { x: left + 3, y: depth * ROW + 12, class: "t" }, shown) : undefined,
  );
}
