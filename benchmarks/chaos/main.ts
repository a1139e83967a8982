/**
 * `npm run chaos:compare`: this library and the others under the same faults, in one run, on the same kind of servers.
 *
 *   --only A,B        these scenarios         --library A,B   these libraries
 *   --repeat N        medians and ranges of so many runs      --json FILE   all figures
 *   --html FILE       the page (default reports/chaos-compare.html)
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";

import { environmentOf } from "../../src/chaos/environment-of.ts";
import { LIBRARIES, type LibraryName, versionOf } from "../libraries.ts";
import { orUsage, usage } from "../usage.ts";
import { type Comparison, comparisonPage } from "./page.ts";
import { COMPARED, type Course, type Scenario } from "./scenarios.ts";
import { tableOf } from "./table.ts";

/** Libraries that go through a scenario at once, where it mostly waits. */
const AT_ONCE = 4;

const HELP = `npm run chaos:compare -- [--only A,B] [--library A,B] [--repeat N] [--json FILE] [--html FILE]

scenarios
${COMPARED.map(({ name, title }) => `  ${name.padEnd(22)} ${title}`).join("\n")}

libraries
${LIBRARIES.map((name) => `  ${name}`).join("\n")}`;

const values = orUsage(
  () =>
    parseArgs({
      options: {
        only: { type: "string" },
        library: { type: "string" },
        repeat: { type: "string", default: "1" },
        json: { type: "string" },
        html: { type: "string", default: "reports/chaos-compare.html" },
        help: { type: "boolean", default: false },
      },
    }).values,
);
if (values.help) console.log(HELP);
else await compareAll();

async function compareAll(): Promise<void> {
  const scenarios = chosen("only", values.only, COMPARED, ({ name }) => name);
  const libraries = chosen("library", values.library, LIBRARIES, (name) => name);
  const repeat = Number(values.repeat);
  if (!Number.isSafeInteger(repeat) || repeat < 1)
    usage(`--repeat must be a whole number above 0, got ${JSON.stringify(values.repeat)}`);
  const comparisons: Comparison[] = [];
  for (const scenario of scenarios) comparisons.push(await compare(scenario, libraries, repeat));
  write(comparisons, libraries);
}

function chosen<T>(
  option: string,
  names: string | undefined,
  all: readonly T[],
  nameOf: (each: T) => string,
): T[] {
  if (names === undefined) return [...all];
  return names
    .split(",")
    .map(
      (name) =>
        all.find((each) => nameOf(each) === name) ??
        usage(`--${option}: there is no ${JSON.stringify(name)}`),
    );
}

async function compare(
  scenario: Scenario,
  libraries: readonly LibraryName[],
  repeat: number,
): Promise<Comparison> {
  const able = libraries.filter((library) => scenario.isForOneNode || library !== "holdfast single");
  const runs = new Map(able.map((library) => [library, [] as Course[]]));
  // In turn, so that what else the machine does falls on all of them.
  for (let round = 0; round < repeat; round++) {
    const queue = able.values();
    const work = async (): Promise<void> => {
      for (const library of queue) runs.get(library)?.push(await runOne(scenario, library));
    };
    await Promise.all(Array.from({ length: scenario.mostlyWaits ? AT_ONCE : 1 }, work));
  }
  const cells = [...runs].map(([library, courses]) => ({
    library,
    scenario,
    runs: courses.map(({ figures }) => figures),
  }));
  console.log(`\n${tableOf(scenario, cells)}`);
  const last = [...runs].flatMap(([library, courses]) =>
    courses.slice(-1).map((course) => ({ library, course })),
  );
  return { scenario, cells, courses: last };
}

/** A library that cannot even be started, or loses its worker, is a finding too. */
async function runOne(scenario: Scenario, library: LibraryName): Promise<Course> {
  process.stderr.write(`${scenario.name}: ${library}\n`);
  try {
    return await scenario.run(library);
  } catch (error) {
    const figures = { outcome: `failed: ${error instanceof Error ? error.message : String(error)}` };
    return { figures, from: 0, to: 1, claims: [], signals: [], majority: [], minority: [], marks: [] };
  }
}

function write(comparisons: readonly Comparison[], libraries: readonly LibraryName[]): void {
  const versions = Object.fromEntries(libraries.map((name) => [name, versionOf(name)]));
  const environment = { ...environmentOf(), ...versions };
  mkdirSync(dirname(values.html), { recursive: true });
  writeFileSync(values.html, comparisonPage(comparisons, environment));
  console.log(`\npage: ${values.html}`);
  if (values.json === undefined) return;
  const scenarios = comparisons.map(({ scenario, cells }) => ({
    scenario: scenario.name,
    title: scenario.title,
    figures: scenario.figures,
    libraries: Object.fromEntries(cells.map(({ library, runs }) => [library, runs])),
  }));
  writeFileSync(values.json, `${JSON.stringify({ environment, scenarios }, undefined, 2)}\n`);
}
