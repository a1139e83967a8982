/** What the shapes of a timeline mean, once for all of them. */
import { type Content, type Markup, tag } from "./markup.ts";

export function legend(): Markup {
  return tag(
    "section",
    { class: "legend" },
    tag("h2", {}, "How to read the timelines"),
    tag(
      "ul",
      {},
      item(
        "a client works under the lock",
        tag("rect", { x: 2, y: 5, width: 28, height: 10, class: "hold" }),
      ),
      item("the lock is valid", tag("rect", { x: 2, y: 2, width: 28, height: 16, class: "valid" })),
      item("waits, and gets it", tag("line", { x1: 2, x2: 30, y1: 10, y2: 10, class: "wait" })),
      item("waits in vain", tag("line", { x1: 2, x2: 30, y1: 10, y2: 10, class: "wait refused" })),
      item(
        "is told that it is lost, so long before the validity ends",
        tag("g", { class: "loss" }, tag("path", { d: "M16 15l-4 -8h8z" })),
      ),
      item(
        "writes: stored, or refused for its fence",
        tag("path", { d: "M8 7v6", class: "write" }),
        tag("path", { d: "M20 7l6 6m0 -6l-6 6", class: "write refused" }),
      ),
      item(
        "a client is stopped, blocked or dead",
        tag("rect", { x: 2, y: 2, width: 28, height: 16, class: "away" }),
      ),
      item("two leases at once", tag("rect", { x: 2, y: 2, width: 28, height: 16, class: "overlap" })),
      item(
        "a fault, by its number",
        tag(
          "g",
          { class: "flag" },
          tag("rect", { x: 8, y: 4, width: 14, height: 11, rx: 2 }),
          tag("text", { x: 15, y: 13 }, "1"),
        ),
      ),
      CONDITIONS.map(([condition, meaning]) =>
        item(
          `${condition}: ${meaning}`,
          tag("rect", { x: 2, y: 3, width: 28, height: 14, class: `is-${condition.replace(" ", "-")}` }),
        ),
      ),
    ),
    patterns(),
  );
}

const CONDITIONS: readonly (readonly [string, string])[] = [
  ["down", "the server has no process"],
  ["hung", "it answers nothing"],
  ["empty", "it has lost its memory, and is not admitted yet"],
  ["quarantined", "admitted, and silent until all that it forgot has expired"],
  ["cut off", "behind a broken network, for one client at least"],
  ["slow", "behind a slow network"],
  ["clock off", "its clock is wrong"],
  ["demoted", "a replica"],
  ["full", "no memory, or a policy that evicts"],
  ["locked", "turns clients away"],
];

function item(text: string, ...shapes: readonly Content[]): Markup {
  return tag(
    "li",
    {},
    tag("svg", { viewBox: "0 0 32 20", width: 32, height: 20, "aria-hidden": "true" }, shapes),
    text,
  );
}

/** Hatchings, so that conditions are told apart without colours; all timelines of the page use them. */
function patterns(): Markup {
  return tag(
    "svg",
    { width: 0, height: 0, class: "defs", "aria-hidden": "true" },
    tag(
      "defs",
      {},
      pattern("hatch-down", 5, "M0 0l5 5M5 0l-5 5"),
      pattern("hatch-hung", 4, "M0 2h4"),
      pattern("hatch-empty", 6, "M3 2a1 1 0 1 0 0.01 0"),
      pattern("hatch-quarantined", 6, "M0 6l6 -6"),
      pattern("hatch-cut-off", 4, "M2 0v4"),
      pattern("hatch-slow", 8, "M4 0v8"),
      pattern("hatch-clock-off", 6, "M0 0l6 6"),
      pattern("hatch-demoted", 8, "M0 4h8"),
      pattern("hatch-full", 3, "M0 1.5h3M1.5 0v3"),
      pattern("hatch-locked", 6, "M0 3l3 -3l3 3l-3 3z"),
      pattern("hatch-away", 5, "M0 5l5 -5"),
    ),
  );
}

function pattern(id: string, size: number, d: string): Markup {
  return tag(
    "pattern",
    { id, width: size, height: size, patternUnits: "userSpaceOnUse" },
    tag("path", { d, class: id }),
  );
}
