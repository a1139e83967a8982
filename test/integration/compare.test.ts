/** The comparison from end to end, on its two quickest scenarios; what it measures is its own affair. */
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { afterAll, expect, test } from "vitest";

const script = fileURLToPath(new URL("../../build/benchmarks/chaos/main.js", import.meta.url));
const LIBRARIES = ["holdfast", "@sesamecare-oss/redlock"];
const folder = mkdtempSync(join(tmpdir(), "holdfast-compare-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("two libraries in two scenarios: a table, a page, and figures for every run", async () => {
  const [json, html] = [join(folder, "compare.json"), join(folder, "compare.html")];
  const args = [
    "--only",
    "minority-dead,failed-extend",
    "--library",
    LIBRARIES.join(),
    "--json",
    json,
    "--html",
    html,
  ];
  const { stdout } = await promisify(execFile)(process.execPath, [script, ...args]);
  expect(stdout).toContain("minority-dead: One of three nodes is dead");

  const { scenarios, environment } = JSON.parse(readFileSync(json, "utf8")) as {
    environment: Record<string, string>;
    scenarios: { scenario: string; libraries: Record<string, Record<string, unknown>[]> }[];
  };
  expect(Object.keys(environment)).toEqual(expect.arrayContaining(["node", "redis", ...LIBRARIES]));
  expect(scenarios.map(({ scenario }) => scenario)).toEqual(["minority-dead", "failed-extend"]);
  for (const { libraries } of scenarios) expect(Object.keys(libraries)).toEqual(LIBRARIES);
  expect(scenarios[0]?.libraries["holdfast"]).toEqual([
    { "acquire ms": expect.any(Number) as number, outcome: "acquired" },
  ]);
  expect(readFileSync(html, "utf8")).toContain("<svg");
});

test.each([
  [["--only", "nothing"], '--only: there is no "nothing"'],
  [["--library", "mine"], '--library: there is no "mine"'],
  [["--repeat", "0"], '--repeat must be a whole number above 0, got "0"'],
  [["--frobnicate"], "--frobnicate"],
])("%j is refused, with what is wrong, and exit code 2", (args, words) => {
  const { status, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: "utf8" });
  expect(status).toBe(2);
  expect(stderr).toContain(words);
});
