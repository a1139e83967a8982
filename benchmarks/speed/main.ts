/**
 * `npm run bench`: what a lock costs, for this library, the others and the floor below them, each in a process
 * of its own, on the same nodes, in interleaved rounds of one run. Nothing here decides a test.
 *
 *   --suite A,B     these suites (default all)     --nodes 1,3,5    these cluster sizes
 *   --quick         a fifth of the rounds          --json FILE      all figures
 *   --html FILE     the page with the plots (default reports/bench.html)
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";

import { environmentOf } from "../../src/chaos/environment-of.ts";
import { columns } from "../columns.ts";
import { LIBRARIES, versionOf } from "../libraries.ts";
import { orUsage, usage } from "../usage.ts";
import { benchPage } from "./page.ts";
import { type Rated, rated } from "./ratios.ts";
import { type Row, type Scale, SUITES } from "./suites.ts";

const HELP = `npm run bench -- [--suite A,B] [--nodes 1,3,5] [--quick] [--json FILE] [--html FILE]

suites
${Object.entries(SUITES)
  .map(([name, { title }]) => `  ${name.padEnd(12)} ${title}`)
  .join("\n")}`;

const FULL: Scale = {
  nodes: [1, 3, 5],
  concurrencies: [1, 10, 50, 200, 1_000],
  rounds: 10,
  pairs: 300,
  loadMs: 800,
  leases: 10_000,
  shardCounts: [1, 2, 4, 8, 16],
};
const QUICK: Scale = {
  ...FULL,
  concurrencies: [1, 200],
  rounds: 3,
  pairs: 100,
  loadMs: 400,
  leases: 2_000,
  shardCounts: [1, 4],
};

const values = orUsage(
  () =>
    parseArgs({
      options: {
        suite: { type: "string" },
        nodes: { type: "string", default: "1,3,5" },
        quick: { type: "boolean", default: false },
        json: { type: "string" },
        html: { type: "string", default: "reports/bench.html" },
        help: { type: "boolean", default: false },
      },
    }).values,
);
if (values.help) console.log(HELP);
else await bench();
// Some libraries leave timers and reconnecting clients behind.
process.exit();

async function bench(): Promise<void> {
  const names = values.suite?.split(",") ?? Object.keys(SUITES);
  const unknown = names.find((name) => !(name in SUITES));
  if (unknown !== undefined) usage(`--suite: there is no ${JSON.stringify(unknown)}`);
  const nodes = values.nodes.split(",").map(Number);
  if (!nodes.every((size) => Number.isInteger(size) && size >= 1 && size <= 15))
    usage(`--nodes must be numbers from 1 to 15, got ${JSON.stringify(values.nodes)}`);
  const scale = { ...(values.quick ? QUICK : FULL), nodes };
  const environment = { ...environmentOf(), ...versions() };
  console.log(
    Object.entries(environment)
      .map(([name, value]) => `${name} ${value}`)
      .join(" · "),
  );
  const rows: Row[] = [];
  for (const name of names) {
    process.stderr.write(`${name}\n`);
    const found: Row[] = [];
    await SUITES[name]?.run(scale, (row) => found.push(row));
    console.log(`\n${name}: ${SUITES[name]?.title ?? ""}\n${tableOf(rated(found))}`);
    rows.push(...found);
  }
  write(rows, environment);
}

function versions(): Record<string, string> {
  return Object.fromEntries(LIBRARIES.map((name) => [name, versionOf(name)]));
}

function tableOf(rows: readonly Rated[]): string {
  const figures = [...new Set(rows.flatMap(({ row }) => Object.keys(row.figures)))];
  const head = ["", "nodes", "at", ...figures, "÷ best peer", "÷ floor", "÷ pipelined floor"];
  return columns([
    head,
    ...rows.map(({ row, toBestPeer, toFloor, toPipelinedFloor }) => [
      row.name,
      String(row.nodes),
      row.at,
      ...figures.map((name) => rounded(row.figures[name])),
      ...[toBestPeer, toFloor, toPipelinedFloor].map((ratio) => ratio?.toFixed(2) ?? ""),
    ]),
  ]);
}

function rounded(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "";
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}

function write(rows: readonly Row[], environment: Readonly<Record<string, string>>): void {
  mkdirSync(dirname(values.html), { recursive: true });
  writeFileSync(values.html, benchPage(rows, environment));
  console.log(`\npage: ${values.html}`);
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify({ environment, rows: rated(rows) }, undefined, 2)}\n`);
}
