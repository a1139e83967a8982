/**
 * The report in a real browser: that it renders in light and dark and on a narrow window, asks nobody for anything, and that the
 * browser has nothing to complain of.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { onPath } from "../../src/chaos/machine/on-path.ts";
import { renderReport } from "../../src/chaos/report/report.ts";
import type { ScenarioResult } from "../../src/chaos/result.ts";
import { runIn } from "../../src/chaos/runner.ts";
import { SCENARIOS } from "../../src/chaos/scenarios/index.ts";
import { SimulatedWorld, simulationObstacleTo } from "../../src/chaos/simulated/simulated-world.ts";

const executable = ["chromium", "chromium-browser", "google-chrome"]
  .map(onPath)
  .find((path) => path !== undefined);
const why = executable === undefined ? " (not run: no Chromium on PATH)" : "";
const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

interface Looks {
  readonly color: string;
  readonly backgroundColor: string;
  readonly overflow: number;
}

/** Runs in the page, which has other globals than the tests. */
const LOOKS = `(() => {
  const { color, backgroundColor } = getComputedStyle(document.body);
  const { scrollWidth, clientWidth } = document.documentElement;
  return { color, backgroundColor, overflow: scrollWidth - clientWidth };
})()`;

describe.skipIf(executable === undefined)(`the report in a browser${why}`, () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-report-"));
  const page = join(folder, "report.html");
  let browser: Browser;
  let results: readonly ScenarioResult[] = [];

  beforeAll(async () => {
    results = await simulatedResults();
    const about = {
      title: "Chaos",
      startedAt: new Date().toISOString(),
      seed: "1",
      command: "x",
      environment: {},
    };
    writeFileSync(page, renderReport(results, about));
    browser = await chromium.launch({ executablePath: executable ?? "", args: ARGS });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each([
    ["light", 1_280],
    ["dark", 1_280],
    ["light", 420],
  ] as const)("%s, %i px wide", async (colorScheme, width) => {
    const tab = await browser.newPage({ colorScheme, viewport: { width, height: 900 } });
    const complaints: string[] = [];
    const requests: string[] = [];
    tab.on("console", (message) => complaints.push(message.text()));
    tab.on("pageerror", (error) => complaints.push(String(error)));
    tab.on("request", (request) => requests.push(request.url()));
    const address = pathToFileURL(page).href;
    await tab.goto(address);

    const timelines = await tab.locator("svg.timeline").all();
    expect(timelines.length).toBe(results.filter(({ verdict }) => verdict !== "not run").length);
    for (const timeline of timelines) {
      const box = await timeline.boundingBox();
      expect(box?.height).toBeGreaterThan(80);
      expect(await timeline.locator("rect.hold").count()).toBeGreaterThan(0);
    }
    const colours = await tab.evaluate<Looks>(LOOKS);
    expect(colours.overflow).toBe(0);
    expect(colours.backgroundColor === "rgb(255, 255, 255)").toBe(colorScheme === "light");
    expect(colours.color).not.toBe(colours.backgroundColor);
    expect(complaints).toEqual([]);
    expect(requests).toEqual([address]);
    await tab.close();
  });
});

function simulatedResults(): Promise<ScenarioResult[]> {
  const some = SCENARIOS.filter((_, index) => index % 5 === 0);
  return Promise.all(
    some.map(async (scenario) => {
      const reason = simulationObstacleTo(scenario);
      if (reason !== undefined) return { verdict: "not run", scenario, reason } as const;
      const world = new SimulatedWorld(scenario, "1");
      return world.run(runIn(world, scenario, "1"));
    }),
  );
}
