/** The pure parts of the comparison: who overlapped with whom, what a table says, and that nothing a library says becomes markup. */
import { expect, test } from "vitest";

import type { LibraryName } from "../../../benchmarks/libraries.ts";
import type { ClaimNews } from "../../../benchmarks/chaos/messages.ts";
import { drawingOf, comparisonPage } from "../../../benchmarks/chaos/page.ts";
import { COMPARED, type Course, type Figures } from "../../../benchmarks/chaos/scenarios.ts";
import { claimsOf, majorityOf, overlapOf, type Worker } from "../../../benchmarks/chaos/site.ts";
import { type Cell, ratio, shown, tableOf } from "../../../benchmarks/chaos/table.ts";

const [scenario = COMPARED[0]!] = COMPARED;

function worker(news: ClaimNews[]): Worker {
  return { client: undefined as unknown as Worker["client"], proxies: [], clock: undefined, news };
}

function cell(library: LibraryName, ...runs: Figures[]): Cell {
  return { library, scenario, runs };
}

test("a claim lasts from the lock to the first word that it is over, or to the end", () => {
  const news: ClaimNews[] = [
    { at: 10, isHeld: true, why: "acquired" },
    { at: 30, isHeld: false, why: "its time was over" },
    // Told late: the claim was over before, and does not end a second time.
    { at: 40, isHeld: false, why: "told" },
    { at: 50, isHeld: true, why: "acquired" },
  ];
  expect(claimsOf(worker(news), 70)).toEqual([
    { from: 10, to: 30 },
    { from: 50, to: 70 },
  ]);
});

test("overlaps are summed up over all pairs", () => {
  const some = [
    { from: 0, to: 10 },
    { from: 20, to: 30 },
  ];
  expect(overlapOf(some, [{ from: 5, to: 25 }])).toBe(10);
  expect(overlapOf(some, [{ from: 10, to: 20 }])).toBe(0);
});

test("a majority shares a value; different values are none", () => {
  expect(majorityOf(["a", "b", "a"], 2)).toBe("a");
  expect(majorityOf(["a", "b"], 2)).toBeUndefined();
  expect(majorityOf([], 1)).toBeUndefined();
});

test("figures: medians with their range, words beside them, a dash for nothing", () => {
  const runs = [{ "acquire ms": 5 }, { "acquire ms": 7 }, { "acquire ms": "hung" }, { "acquire ms": 100 }];
  expect(shown(runs, "acquire ms")).toBe("7.0 (5.0…100); hung");
  expect(shown([{ other: undefined }], "other")).toBe("–");
});

test("ratios are to the best that has a figure", () => {
  const cells = [
    cell("holdfast", { "acquire ms": 2 }),
    cell("redlock 5", { "acquire ms": 30 }),
    cell("redlock 4", { "acquire ms": "hung" }),
  ];
  expect(cells.map((each) => ratio(each, cells, "acquire ms"))).toEqual(["", "×15", ""]);
  expect(tableOf(scenario, cells)).toMatch(/redlock 5 +30 ×15/);
});

test("the picture has one red band for each overlap, and escapes what libraries say", () => {
  const course: Course = {
    figures: { outcome: "<b>&" },
    from: 0,
    to: 100,
    claims: [[{ from: 0, to: 60 }], [{ from: 40, to: 100 }]],
    signals: [[55], []],
    majority: [{ from: 0, to: 50 }],
    minority: [],
    marks: [{ at: 30, what: "<i>restarts" }],
  };
  const drawing = drawingOf([{ library: "holdfast", course }]).text;
  expect(drawing.match(/class="overlap"/g)).toHaveLength(1);
  expect(drawing.match(/class="signal"/g)).toHaveLength(1);
  const page = comparisonPage(
    [{ scenario, cells: [cell("holdfast", course.figures)], courses: [{ library: "holdfast", course }] }],
    {},
  );
  expect(page).not.toMatch(/<b>|<i>|https?:/);
});
