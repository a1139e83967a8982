/**
 * The report of a run: one page that needs nothing else, readable in light and dark, on paper and on a telephone. It shows what was
 * expected, what became of it, and when.
 */
import type { FinishedScenario, ScenarioResult } from "../result.ts";
import { legend } from "./legend.ts";
import { type Content, type Markup, tag } from "./markup.ts";
import { facts, pageOf, sideways, wideTable } from "./page.ts";
import { plotsOf } from "./plots.ts";
import { eventsOf } from "./spans.ts";
import { STYLE } from "./style.ts";
import { cellsOf, COLUMNS } from "./table.ts";
import { timelineOf } from "./timeline.ts";
import { outcomeInWords } from "./words.ts";

export interface ReportAbout {
  readonly title: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly seed: string;
  /** Runs it again. */
  readonly command: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** Of the faults and of what is wrong, as many as one reads. */
const LISTED_MAX = 60;

export function renderReport(results: readonly ScenarioResult[], about: ReportAbout): string {
  const finished = results.filter((result): result is FinishedScenario => result.verdict !== "not run");
  return pageOf(
    `${about.title}: ${verdictOf(results)}`,
    STYLE,
    head(results, about),
    tag("main", {}, summary(results), figures(finished), legend(), finished.map(sectionOf)),
  );
}

function head(results: readonly ScenarioResult[], about: ReportAbout): Markup {
  const { title, startedAt, command, environment } = about;
  const hasFailed = results.some(({ verdict }) => verdict === "failed");
  return tag(
    "header",
    {},
    tag("h1", {}, title),
    tag("p", { class: hasFailed ? "verdict failed" : "verdict" }, verdictOf(results)),
    facts({ ...environment, began: startedAt, seed: about.seed }),
    tag("p", { class: "again" }, "Run it again: ", tag("code", {}, command)),
  );
}

function verdictOf(results: readonly ScenarioResult[]): string {
  const count = (verdict: ScenarioResult["verdict"]) =>
    results.filter((result) => result.verdict === verdict).length;
  const parts = [`${count("passed")} passed`, `${count("failed")} failed`];
  if (count("not run") > 0) parts.push(`${count("not run")} not run`);
  return parts.join(", ");
}

function summary(results: readonly ScenarioResult[]): Markup {
  return tag(
    "section",
    {},
    tag("h2", {}, "Summary"),
    wideTable(
      ["scenario", "", ...COLUMNS].map((name) => tag("th", { scope: "col" }, name)),
      results.map(rowOf),
    ),
  );
}

function rowOf(result: ScenarioResult): Markup {
  const { verdict, scenario } = result;
  const cells = cellsOf(result);
  const link =
    cells === undefined ? scenario.name : tag("a", { href: `#${anchorOf(scenario.name)}` }, scenario.name);
  return tag(
    "tr",
    { class: verdict.replace(" ", "-") },
    tag("th", { scope: "row" }, link, tag("small", {}, scenario.title)),
    tag("td", { class: "mark" }, verdict),
    result.verdict === "not run"
      ? tag("td", { colspan: COLUMNS.length, class: "reason" }, result.reason)
      : (cells ?? []).map((cell) => tag("td", {}, cell)),
  );
}

function anchorOf(name: string): string {
  return `s-${name.replace(/[^\w-]/g, "-")}`;
}

function figures(finished: readonly FinishedScenario[]): Content {
  if (finished.length === 0) return undefined;
  return tag("section", {}, tag("h2", {}, "Latency, unavailability, margins"), sideways(plotsOf(finished)));
}

function sectionOf(result: FinishedScenario): Markup {
  const { scenario, verdict } = result;
  return tag(
    "section",
    { id: anchorOf(scenario.name), class: `scenario ${verdict}` },
    tag("h2", {}, scenario.name, " ", tag("span", { class: "mark" }, verdict)),
    tag("p", { class: "title" }, scenario.title),
    wrongOf(result),
    sideways(timelineOf(result)),
    tag(
      "details",
      {},
      tag("summary", {}, "What was expected, and the faults"),
      expectationsOf(result),
      faultsOf(result),
    ),
  );
}

function wrongOf({ failures, violations }: FinishedScenario): Content {
  const lines = [...failures, ...violations.map(({ property, detail }) => `${property} violated: ${detail}`)];
  if (lines.length === 0) return undefined;
  const more = lines.length - LISTED_MAX;
  const items = lines.slice(0, LISTED_MAX).map((line) => tag("li", {}, line));
  return tag("ul", { class: "wrong" }, items, more > 0 ? tag("li", {}, `and ${more} more`) : undefined);
}

function expectationsOf({ scenario }: FinishedScenario): Markup {
  const { breaks, outcomes = [] } = scenario.expect;
  const properties =
    breaks === undefined
      ? "all properties of a lock (docs/safety.md)"
      : `only what rests on no assumption, since this is broken on purpose: ${breaks}`;
  return tag(
    "ul",
    {},
    tag("li", {}, properties),
    outcomes.map((outcome) => tag("li", {}, outcomeInWords(outcome))),
  );
}

function faultsOf({ history, startedAt }: FinishedScenario): Markup {
  const faults = eventsOf(history, "fault");
  const items = faults
    .slice(0, LISTED_MAX)
    .map(({ at, fault, target }) =>
      tag(
        "li",
        {},
        tag("span", { class: "at" }, `${((at - startedAt) / 1_000).toFixed(3)} s`),
        ` ${fault}: ${target}`,
      ),
    );
  return tag("ol", { class: "faults" }, items);
}
