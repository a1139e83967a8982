/**
 * `npm run bench:hand-over`: how soon a waiting process has the lock that another one gave back, and what many who want the same lock
 * get of it, for this library and the others with the settings of their own documentation. Each on fresh servers, in turn.
 *
 *   --library A,B     these libraries         --nodes 1,5    these cluster sizes
 *   --times N         hand-overs (default 60) --ms N         length of the contention (default 5 000)
 *   --json FILE       all figures
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { environmentOf } from "../../src/chaos/environment-of.ts";
import { columns, quantile } from "../columns.ts";
import { LIBRARIES, type LibraryName, versionOf } from "../libraries.ts";
import { contention, type Contention, handOvers, type HandOvers } from "./measure.ts";

interface Measured {
  readonly library: LibraryName;
  readonly nodes: number;
  readonly handOvers: HandOvers;
  readonly contentions: readonly Contention[];
}

const { values } = parseArgs({
  options: {
    library: { type: "string" },
    nodes: { type: "string", default: "1,5" },
    times: { type: "string", default: "60" },
    ms: { type: "string", default: "5000" },
    json: { type: "string" },
  },
});
/** Processes, and in each of them so many instances with connections of their own. */
const CROWDS = [
  { processes: 5, instances: 1 },
  { processes: 5, instances: 10 },
];

const CONTENTION_HEAD = [
  "",
  "turns/s",
  "slowest process",
  "longest wait",
  "first lock",
  "given up",
  "requests/turn",
];

const chosen = LIBRARIES.filter(
  (name) => values.library === undefined || values.library.split(",").includes(name),
);
const measured: Measured[] = [];
for (const nodes of values.nodes.split(",").map(Number)) {
  const able = chosen.filter((name) => (nodes === 1 ? name !== "holdfast" : name !== "holdfast single"));
  const here: Measured[] = [];
  for (const library of able) {
    process.stderr.write(`${nodes} nodes: ${library}\n`);
    const passed = await handOvers(library, nodes, Number(values.times));
    const contentions: Contention[] = [];
    for (const { processes, instances } of CROWDS)
      contentions.push(await contention(library, nodes, processes, instances, Number(values.ms)));
    here.push({ library, nodes, handOvers: passed, contentions });
  }
  measured.push(...here);
  show(nodes, here);
}
if (values.json !== undefined) {
  const versions = Object.fromEntries(chosen.map((name) => [name, versionOf(name)]));
  writeFileSync(
    values.json,
    `${JSON.stringify({ environment: { ...environmentOf(), ...versions }, measured }, undefined, 2)}\n`,
  );
}

function show(nodes: number, rows: readonly Measured[]): void {
  const medians = rows.map(({ handOvers: { latenciesMs } }) => quantile(latenciesMs, 0.5));
  const best = Math.min(...medians);
  const table = rows.map(({ library, handOvers: { latenciesMs, requests, waitingRequests } }, index) => [
    library,
    ms(medians[index] ?? Number.NaN),
    `×${((medians[index] ?? Number.NaN) / best).toFixed(1)}`,
    ms(quantile(latenciesMs, 0.99)),
    requests.toFixed(0),
    waitingRequests.toFixed(0),
  ]);
  console.log(
    `\n${nodes === 1 ? "1 node" : `${nodes} nodes`}: a lock goes from one process to another that waits for it`,
  );
  console.log(columns([["", "median", "", "p99", "requests", "requests/s of a waiter"], ...table]));
  CROWDS.forEach(({ processes, instances }, index) => {
    console.log(`\n${processes * instances} contenders in ${processes} processes, empty sections`);
    console.log(columns([CONTENTION_HEAD, ...rows.map((row) => contentionRow(row, index))]));
  });
}

function contentionRow({ library, contentions }: Measured, index: number): string[] {
  const found = contentions[index];
  if (found === undefined) return [library];
  return [
    library,
    found.turnsPerSecond.toFixed(found.turnsPerSecond < 10 ? 1 : 0),
    found.turnsPerSecond === 0 ? "-" : `${found.slowestShare.toFixed(2)} of the mean`,
    ms(found.longestWaitMs),
    ms(found.firstMs),
    String(found.failures),
    Number.isFinite(found.requestsPerTurn) ? found.requestsPerTurn.toFixed(0) : "-",
  ];
}

function ms(value: number): string {
  if (!Number.isFinite(value)) return "-";
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`;
}
