/** The report, from histories made by hand: what is drawn where, and that nothing a user or a server says becomes markup. */
import { describe, expect, test } from "vitest";

import { figuresOf } from "../../../src/chaos/figures.ts";
import { unmet } from "../../../src/chaos/outcomes.ts";
import { renderReport, type ReportAbout } from "../../../src/chaos/report/report.ts";
import { renderTable } from "../../../src/chaos/report/table.ts";
import type { FinishedScenario, ScenarioResult } from "../../../src/chaos/result.ts";
import type { Outcome, Scenario } from "../../../src/chaos/scenario.ts";
import type { HistoryEvent } from "../../../src/history/history.ts";

const ABOUT: ReportAbout = {
  title: "Chaos",
  startedAt: "2026-01-02T03:04:05.000Z",
  seed: "7",
  command: "npm run chaos -- --seed 7",
  environment: { node: "v20" },
};

const SCENARIO: Scenario = {
  name: "example",
  title: "Something happens.",
  work: { kind: "register" },
  steps: [],
  expect: {},
};

interface LeaseTimes {
  readonly asked: number;
  readonly from: number;
  readonly until: number;
  readonly released?: number;
  readonly fence: number;
}

function lease(op: string, { asked, from, until, released, fence }: LeaseTimes): HistoryEvent[] {
  const fact = { client: op.slice(0, 2), op };
  const terms = { keys: ["k"], holder: op, fence, quorum: 2, remainingMs: until - from, minValidityMs: 0 };
  return [
    { ...fact, at: asked, type: "acquiring", keys: ["k"], mustSucceed: false },
    { ...fact, at: from, type: "acquired", until, ...terms },
    ...(released === undefined ? [] : [{ ...fact, at: released, type: "releasing" } as const]),
  ];
}

/** c1 holds from 100 to 500, c2 from 400 to 700: a hundred ms of both. */
const OVERLAPPING: HistoryEvent[] = [
  ...lease("c1#1", { asked: 90, from: 100, until: 500, fence: 1 }),
  ...lease("c2#1", { asked: 150, from: 400, until: 900, released: 700, fence: 2 }),
  { at: 450, type: "write", client: "c1", op: "c1#1", key: "k", fence: 1, isStored: true },
  { at: 460, type: "lost", client: "c1", op: "c1#1", cause: "expired", until: 500 },
  { at: 600, type: "write", client: "c1", op: "c1#1", key: "k", fence: 1, isStored: false },
].toSorted((a, b) => a.at - b.at) as HistoryEvent[];

function finished(history: HistoryEvent[], more: Partial<FinishedScenario> = {}): FinishedScenario {
  return {
    verdict: "passed",
    scenario: SCENARIO,
    seed: "7",
    nodes: ["n1"],
    clients: ["c1", "c2"],
    startedAt: 0,
    endedAt: 1_000,
    history,
    violations: [],
    failures: [],
    figures: figuresOf(history),
    ...more,
  };
}

function count(page: string, text: string): number {
  return page.split(text).length - 1;
}

describe("figures", () => {
  test("overlap, margin, stale writes and waiting are counted from the history", () => {
    const figures = figuresOf(OVERLAPPING);
    expect(figures).toMatchObject({
      acquires: 2,
      leases: 2,
      losses: 1,
      overlapMs: 100,
      signalMarginMs: 40,
      writes: 2,
      staleWrites: 2,
      staleWritesRefused: 1,
      acquireMs: { p50: 250, max: 250 },
      unavailableMs: 10,
    });
  });

  test("nothing to measure is NaN, not zero", () => {
    const figures = figuresOf([]);
    expect(figures.signalMarginMs).toBeNaN();
    expect(figures.acquireMs.p50).toBeNaN();
    expect(figures.overlapMs).toBe(0);
  });

  test("two who count from one number have lost an update", () => {
    const counted = (at: number, read: number): HistoryEvent => ({
      at,
      type: "counted",
      client: "c1",
      op: `c1#${at}`,
      key: "k",
      read,
    });
    expect(figuresOf([counted(1, 0), counted(2, 1), counted(3, 1)]).lostUpdates).toBe(1);
  });
});

describe("outcomes are refused where the history does not show them", () => {
  const unmetBy = (outcome: Outcome, history: HistoryEvent[], stepsAt: number[] = []) =>
    unmet({ scenario: { ...SCENARIO, expect: { outcomes: [outcome] } }, history, stepsAt });
  const cases: [Outcome, string][] = [
    [{ is: "kept", client: 1 }, "should have kept"],
    [{ is: "kept", client: 3 }, "never had a lease"],
    [{ is: "told in time", client: 2 }, "never told"],
    [{ is: "leases", atLeast: 3 }, "2 leases, expected at least 3"],
    [{ is: "leases", client: 1, atMost: 0 }, "1 leases, expected at most 0"],
    [{ is: "leases", afterStep: 1, atLeast: 2 }, "1 leases, expected at least 2"],
    [{ is: "nothing granted", afterStep: 1, forMs: 100 }, "expected none for 100 ms"],
    [{ is: "refused with", code: "QUORUM_UNREACHABLE" }, "nobody was refused"],
    [{ is: "everybody had a turn" }, "2 of 30 contenders"],
    [{ is: "late writes refused", atLeast: 2 }, "1 late writes were refused"],
  ];
  test.each(cases)("%o", (outcome, words) => {
    expect(unmetBy(outcome, OVERLAPPING, [350]).join()).toContain(words);
  });

  test("a loss that is told after the end is not told in time", () => {
    const late = OVERLAPPING.map((event) => (event.type === "lost" ? { ...event, at: 501 } : event));
    expect(unmetBy({ is: "told in time", client: 1 }, late).join()).toContain("after its end");
    expect(unmetBy({ is: "told in time", client: 1 }, OVERLAPPING)).toEqual([]);
  });
});

describe("the page", () => {
  const page = renderReport([finished(OVERLAPPING)], ABOUT);

  test("an overlap is one band, where it was", () => {
    const [band, more] = [
      ...page.matchAll(/<rect x="([\d.]+)" width="([\d.]+)"[^>]*class="overlap"/g),
    ].filter(([text]) => !text.includes('x="2"'));
    expect(more).toBeUndefined();
    // 1,000 ms over 942 units from 46.
    expect(Number(band?.[1])).toBeCloseTo(46 + 0.942 * 400, 0);
    expect(Number(band?.[2])).toBeCloseTo(94.2, 0);
  });

  test("a loss says how much validity was left", () => {
    expect(page).toContain(">40 ms</text>");
  });

  test("the healing is named beside its line, on the side where there is room", () => {
    const [early, late] = [500, 995].map((at) => renderReport([finished([{ at, type: "healed" }])], ABOUT));
    expect(early).toMatch(/text-anchor="start"[^>]*>healed</);
    expect(late).toMatch(/text-anchor="end"[^>]*>healed</);
  });

  test("writes are told apart: stored, and refused", () => {
    const timeline = page.slice(page.indexOf('class="timeline"'));
    expect(count(timeline, 'class="write"')).toBe(1);
    expect(count(timeline, 'class="write refused"')).toBe(1);
  });

  test("what users and servers say never becomes markup", () => {
    const scenario: Scenario = { ...SCENARIO, name: "a&b", title: "<script>alert('1')</script>" };
    const failures = ['<img src=x onerror="alert(1)">'];
    const hostile = renderReport([finished([], { scenario, failures, verdict: "failed" })], {
      ...ABOUT,
      title: "</title><b>",
    });
    expect(hostile).not.toMatch(/<script|<img|<b>/);
    expect(hostile).toContain("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;");
  });

  test("needs nothing else: no address, no script", () => {
    expect(page).not.toMatch(/https?:|<script|<link|@import|url\((?!#)/);
  });

  test("what was not run says why, in page and table, and is not counted as passed", () => {
    const results: ScenarioResult[] = [
      finished([]),
      { verdict: "not run", scenario: { ...SCENARIO, name: "other" }, reason: "no namespaces here" },
    ];
    expect(renderReport(results, ABOUT)).toContain("1 passed, 0 failed, 1 not run");
    expect(renderReport(results, ABOUT)).toContain("no namespaces here");
    expect(renderTable(results)).toContain("not run: no namespaces here");
    expect(renderTable(results)).not.toContain("NaN");
    expect(renderReport(results, ABOUT)).not.toContain("NaN");
  });

  test("a history of twenty thousand events stays a small picture", () => {
    const many = Array.from({ length: 5_000 }, (_, index) => {
      const at = index * 12;
      return [
        ...lease(`c1#${index}`, {
          asked: at,
          from: at + 1,
          until: at + 900,
          released: at + 10,
          fence: index,
        }),
        {
          at: at + 5,
          type: "write",
          client: "c1",
          op: `c1#${index}`,
          key: "k",
          fence: index,
          isStored: true,
        },
      ] as HistoryEvent[];
    }).flat();
    expect(renderReport([finished(many, { endedAt: 60_000 })], ABOUT).length).toBeLessThan(400_000);
  });
});
