/**
 * The command line of chaos: the standard suite, some of it, or a long random run; a line for every scenario as it ends, a table and a
 * report in the end. Exit codes: 0 all passed, 1 something failed, 2 a wrong argument.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { type CommandOutput, exitCodeOrUsage, orUsage, UsageError } from "../usage.ts";
import { Album } from "./album.ts";
import { environmentOf } from "./environment-of.ts";
import { drawScenario } from "./random.ts";
import { renderReport } from "./report/report.ts";
import { renderTable } from "./report/table.ts";
import type { ScenarioResult } from "./result.ts";
import { drawnSeed, runEach } from "./run-scenarios.ts";
import type { Scenario } from "./scenario.ts";
import { SCENARIOS } from "./scenarios/index.ts";
import { givenNode } from "./servers/given.ts";

const HELP = `holdfast chaos: kills, stops, empties and partitions real Redis servers under locks, and looks what becomes of the locks.

  --only A,B          only these scenarios (see --list)
  --list              what there is
  --minutes M         instead of the suite: random scenarios for so long
  --seed S            what chance comes from (default: drawn, and printed)
  --round N           with --minutes: begin at this round of the seed; without: play this round alone
  --concurrency N     how many at once (default: one more than there are cores)
  --nodes URL,URL     on these nodes, which are not harmed: only clients and their way to the nodes are
  --simulated         on simulated servers and a virtual clock instead of real ones
  --out FOLDER        where report.html, summary.json and the histories go (default: reports/chaos)
  --help

Exit codes: 0 all passed, 1 something failed, 2 a wrong argument.`;

/** Resolves to the exit code. */
export function chaosCommand(args: readonly string[], output: CommandOutput): Promise<number> {
  return exitCodeOrUsage(() => run(parse(args), output), output);
}

type Arguments = ReturnType<typeof parse>;

function parse(args: readonly string[]) {
  const { values } = parsed(args);
  return {
    ...values,
    minutes: values.minutes === undefined ? undefined : positive("minutes", values.minutes),
    round: values.round === undefined ? undefined : whole("round", values.round),
    concurrency: values.concurrency === undefined ? undefined : whole("concurrency", values.concurrency),
    nodes: values.nodes?.split(",").map(address),
    seed: values.seed ?? drawnSeed(),
  };
}

function parsed(args: readonly string[]) {
  return orUsage(() =>
    parseArgs({
      args: [...args],
      options: {
        only: { type: "string" },
        list: { type: "boolean", default: false },
        minutes: { type: "string" },
        seed: { type: "string" },
        round: { type: "string" },
        concurrency: { type: "string" },
        nodes: { type: "string" },
        simulated: { type: "boolean", default: false },
        out: { type: "string", default: join("reports", "chaos") },
        help: { type: "boolean", default: false },
      },
    }),
  );
}

function address(url: string): string {
  try {
    return givenNode(url).url;
  } catch (error) {
    throw new UsageError(`--nodes: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new UsageError(`--${option} must be a number above 0, got ${JSON.stringify(text)}`);
}

function whole(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new UsageError(`--${option} must be a whole number above 0, got ${JSON.stringify(text)}`);
}

async function run(args: Arguments, output: CommandOutput): Promise<number> {
  if (args.help) output.line(HELP);
  else if (args.list) list(output);
  else return play(args, output);
  return 0;
}

function list({ line }: CommandOutput): void {
  const width = Math.max(...SCENARIOS.map(({ name }) => name.length));
  for (const { name, title } of SCENARIOS) line(`${name.padEnd(width)}  ${title}`);
}

async function play(args: Arguments, output: CommandOutput): Promise<number> {
  const scenarios = chosen(args);
  const began = performance.now();
  const startedAt = new Date().toISOString();
  const album = new Album(resolve(args.out));
  output.line(`seed ${args.seed}`);
  await runEach(scenarios, {
    ...args,
    finished: (result, index) => {
      album.add(result, index);
      output.line(progressLine(result, performance.now() - began));
    },
  });
  const about = {
    title: args.minutes === undefined ? "Chaos suite" : `Random chaos, ${args.minutes} min`,
    startedAt,
    seed: args.seed,
    command: repeatCommand(args, output.name),
    environment: environmentOf(),
  };
  return conclude(album, about, output);
}

function conclude(album: Album, about: Parameters<typeof renderReport>[1], { line }: CommandOutput): number {
  const report = join(album.folder, "report.html");
  mkdirSync(album.folder, { recursive: true });
  writeFileSync(report, renderReport(album.pictured(), about));
  writeFileSync(join(album.folder, "summary.json"), `${JSON.stringify(album.summary(), undefined, 2)}\n`);
  line("");
  line(renderTable(album.pictured()));
  line("");
  for (const text of album.summaryLines()) line(text);
  line(`\nreport: ${report}`);
  return album.hasFailed ? 1 : 0;
}

function chosen({ only, minutes, round, seed }: Arguments): Iterable<Scenario> {
  if (minutes !== undefined) return rounds(seed, round ?? 1, performance.now() + minutes * 60_000);
  if (round !== undefined) return [drawScenario(seed, round)];
  if (only === undefined) return SCENARIOS;
  return only.split(",").map(byName);
}

function byName(name: string): Scenario {
  const scenario = SCENARIOS.find((each) => each.name === name);
  if (scenario === undefined) throw new UsageError(`--only: there is no scenario ${JSON.stringify(name)}`);
  return scenario;
}

/** For as long as there is time for one more. */
function* rounds(seed: string, first: number, end: number): Generator<Scenario> {
  for (let round = first; performance.now() < end; round++) yield drawScenario(seed, round);
}

function repeatCommand({ only, minutes, seed, simulated, nodes }: Arguments, name: string): string {
  const parts = [name, `--seed ${seed}`];
  if (only !== undefined) parts.push(`--only ${only}`);
  if (minutes !== undefined) parts.push(`--minutes ${minutes}`);
  if (simulated) parts.push("--simulated");
  // They may carry passwords.
  if (nodes !== undefined) parts.push("--nodes URLS");
  return parts.join(" ");
}

/** Of what is wrong, the first words. */
const SHOWN_MAX = 5;

function progressLine(result: ScenarioResult, elapsedMs: number): string {
  const head = `${(elapsedMs / 1_000).toFixed(1).padStart(7)} s  `;
  const name = result.scenario.name.padEnd(42);
  if (result.verdict === "not run") return `${head}– not run  ${name} ${result.reason}`;
  const { leases, losses, overlapMs } = result.figures;
  const counts = `${leases} leases, ${losses} lost, overlap ${overlapMs.toFixed(0)} ms`;
  if (result.verdict === "passed") return `${head}✓ passed   ${name} ${counts}`;
  const wrong = [
    ...result.failures,
    ...result.violations.map(({ property, detail }) => `${property}: ${detail}`),
  ];
  const more = wrong.length > SHOWN_MAX ? [`and ${wrong.length - SHOWN_MAX} more`] : [];
  const lines = [...wrong.slice(0, SHOWN_MAX), ...more].map((text) => `\n${" ".repeat(21)}${text}`);
  return `${head}✗ FAILED   ${name} ${counts}${lines.join("")}`;
}
