/**
 * `npm run mutants`: puts each bug of mutants.ts into a copy of the sources and looks who finds it, the simulation or the unit tests. A
 * bug that nobody finds fails the command: then something that guards safety cannot fail.
 *
 *   --only TEXT   those whose name or rule contains it     --write   puts the table into test/chaos/README.md
 */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { diesWithUs } from "../../src/chaos/machine/mortality.ts";
import { type Mutant, MUTANTS } from "./mutants.ts";

const { values } = parseArgs({
  options: { only: { type: "string", default: "" }, write: { type: "boolean", default: false } },
});

interface Finding {
  readonly mutant: Mutant;
  readonly simulation: string | undefined;
  readonly tests: string | undefined;
}

const ROOT = process.cwd();
const COPIED = [
  "src",
  "test",
  "benchmarks",
  "docs",
  "scripts",
  "package.json",
  "tsconfig.json",
  "tsconfig.tools.json",
  "vitest.config.ts",
];
/** Enough for every bug that simulation finds at all, with room; it stops at the first violation. */
const SEEDS = 200;
const FIRST_SEED = 1;
/** A bug may make a run endless: that is found, too. */
const PATIENCE_MS = 240_000;
const TABLE = "test/chaos/README.md";
const TABLE_BEGIN = "<!-- mutants -->";
const TABLE_END = "<!-- /mutants -->";

const folder = mkdtempSync(join(tmpdir(), "holdfast-mutants-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
process.on("SIGINT", () => process.exit(130));

await main();

async function main(): Promise<void> {
  for (const name of COPIED) cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  // It looks for the texts that are changed here.
  rmSync(join(folder, "test", "unit", "mutants.test.ts"));
  const chosen = MUTANTS.filter(({ name, rule }) => `${rule} ${name}`.includes(values.only));
  console.log(`${chosen.length} bugs; first the sources as they are, in which nothing must be found\n`);
  const sound = await find({ name: "(none)", rule: "", file: "", find: "", replace: "" });
  if (sound.simulation !== undefined || sound.tests !== undefined)
    throw new Error("the sources as they are fail already");
  const findings: Finding[] = [];
  for (const mutant of chosen) findings.push(await tryOut(mutant));
  const survivors = findings.filter(
    ({ simulation, tests }) => simulation === undefined && tests === undefined,
  );
  console.log(
    `\n${findings.length - survivors.length} of ${findings.length} found, ${survivors.length} survived`,
  );
  if (values.write) write(findings);
  if (survivors.length > 0) process.exitCode = 1;
}

async function tryOut(mutant: Mutant): Promise<Finding> {
  const path = join(folder, mutant.file);
  const source = readFileSync(path, "utf8");
  if (source.split(mutant.find).length !== 2)
    throw new Error(
      `"${mutant.name}": its text stands ${source.split(mutant.find).length - 1} times in ${mutant.file}`,
    );
  writeFileSync(
    path,
    source.replace(mutant.find, () => mutant.replace),
  );
  try {
    return await find(mutant);
  } finally {
    writeFileSync(path, source);
  }
}

async function find(mutant: Mutant): Promise<Finding> {
  await run("npx", ["tsc", "-p", "tsconfig.tools.json"]);
  const simulation = await foundBySimulation();
  const tests = await foundByTests();
  const verdict = simulation === undefined && tests === undefined && mutant.rule !== "" ? "SURVIVED" : "";
  console.log(
    [
      mutant.rule.padEnd(7),
      mutant.name.padEnd(60),
      (simulation ?? "-").padEnd(28),
      tests ?? "-",
      verdict,
    ].join(" "),
  );
  return { mutant, simulation, tests };
}

async function foundBySimulation(): Promise<string | undefined> {
  const began = performance.now();
  const args = ["build/test/sim/main.js", "--seeds", String(SEEDS), "--from", String(FIRST_SEED), "--first"];
  const { status, output } = await run(process.execPath, args);
  if (status === 0) return undefined;
  const violated = /^(\w+) VIOLATED/m.exec(output)?.[1] ?? "error";
  return `${violated} in ${took(began)}`;
}

async function foundByTests(): Promise<string | undefined> {
  const began = performance.now();
  const args = ["run", "--project", "unit", "--bail", "1"];
  const { status, output } = await run(process.execPath, ["node_modules/vitest/vitest.mjs", ...args]);
  if (status === 0) return undefined;
  const file = /FAIL.*?test\/(?:unit\/)?([\w/-]+)\.test\.ts/.exec(output)?.[1] ?? "a test";
  return `${file} in ${took(began)}`;
}

function took(began: number): string {
  return `${((performance.now() - began) / 1_000).toFixed(1)} s`;
}

function run(command: string, args: readonly string[]): Promise<{ status: number; output: string }> {
  const [program, programArgs] = diesWithUs(command, args);
  // A group of its own: an endless test runs in a worker of it, which hears nothing and outlives whoever started it.
  const child = spawn(program, programArgs, {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const end = () => child.pid !== undefined && isAlive(child.pid) && process.kill(-child.pid, "SIGKILL");
  process.on("exit", end);
  const timeout = setTimeout(end, PATIENCE_MS);
  let output = "";
  child.stdout.on("data", (chunk) => (output += String(chunk)));
  child.stderr.on("data", (chunk) => (output += String(chunk)));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => {
      clearTimeout(timeout);
      process.off("exit", end);
      resolve({ status: status ?? 1, output });
    });
  });
}

function isAlive(group: number): boolean {
  try {
    return process.kill(-group, 0);
  } catch {
    return false;
  }
}

function write(findings: readonly Finding[]): void {
  const rows = findings.map(
    ({ mutant, simulation, tests }) =>
      `| ${mutant.rule} | ${mutant.name} | ${simulation ?? "–"} | ${tests ?? "–"} |`,
  );
  const table = [
    "| rule | seeded bug | found by simulation | found by unit tests |",
    "|---|---|---|---|",
    ...rows,
  ];
  const text = readFileSync(TABLE, "utf8");
  const [before, rest] = text.split(TABLE_BEGIN);
  const after = rest?.split(TABLE_END)[1];
  if (before === undefined || after === undefined) throw new Error(`${TABLE} has no place for the table`);
  writeFileSync(TABLE, `${before}${TABLE_BEGIN}\n\n${table.join("\n")}\n\n${TABLE_END}${after}`);
}
