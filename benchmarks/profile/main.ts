/**
 * `npm run bench:profile`: where the time of a lock goes. Runs acquire and release under the sampling profiler, alone and many at once, and
 * tells each part's share of a pair, beside the CPU of the servers; with a flame graph of every run.
 *
 *   --nodes 1,5   these cluster sizes     --at 1,200   so many at once     --seconds 4
 *   --html FILE   the flame graphs (default reports/profile.html)
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { dirname } from "node:path";
import { parseArgs } from "node:util";

import { startCluster } from "../../src/chaos/servers/cluster.ts";
import { columns } from "../columns.ts";
import { namesFor, open } from "../speed/contestants.ts";
import { loadWith } from "../speed/measure.ts";
import { load } from "../speed/work.ts";
import { orUsage, usage } from "../usage.ts";
import { flamePage, type Run } from "./page.ts";
import { flamesOf, sharesOf } from "./profile.ts";

const SAMPLING_US = 200;
const HELP = "npm run bench:profile -- [--nodes 1,5] [--at 1,200] [--seconds 4] [--html FILE]";

const { values } = orUsage(() =>
  parseArgs({
    options: {
      nodes: { type: "string", default: "1,5" },
      at: { type: "string", default: "1,200" },
      seconds: { type: "string", default: "4" },
      html: { type: "string", default: "reports/profile.html" },
      help: { type: "boolean", default: false },
    },
  }),
);
if (values.help) console.log(HELP);
else await profileAll();
process.exit();

async function profileAll(): Promise<void> {
  const runs: Run[] = [];
  for (const nodes of numbers("nodes", values.nodes, 15))
    for (const at of numbers("at", values.at, 10_000)) runs.push(await profiled(nodes, at));
  const parts = [...new Set(runs.flatMap(({ shares }) => [...shares.keys()]))].sort();
  console.log("µs of the client for a pair of acquire and release; servers: CPU of all of them together\n");
  console.log(
    columns([
      ["", ...runs.map(({ title }) => title)],
      ...parts.map((part) => [part, ...runs.map(({ shares }) => figure(shares.get(part)))]),
      ["servers", ...runs.map(({ serverUs }) => figure(serverUs))],
      ["pairs/s", ...runs.map(({ pairsPerSecond }) => pairsPerSecond.toFixed(0))],
    ]),
  );
  mkdirSync(dirname(values.html), { recursive: true });
  writeFileSync(values.html, flamePage(runs));
  console.log(`\nflame graphs: ${values.html}`);
}

async function profiled(nodes: number, at: number): Promise<Run> {
  const ms = 1_000 * (numbers("seconds", values.seconds, 600)[0] ?? 4);
  await using cluster = await startCluster(nodes);
  const [own] = namesFor(nodes);
  if (own === undefined) throw new Error("no name for this library");
  const ours = await open(own, cluster.urls);
  await ours.prepare();
  await load(ours, at, ms / 2); // So that what is seen is compiled code.
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.setSamplingInterval", { interval: SAMPLING_US });
  await session.post("Profiler.start");
  const found = await loadWith(cluster, load(ours, at, ms));
  const { profile } = await session.post("Profiler.stop");
  session.disconnect();
  ours.close();
  return {
    title: `${nodes === 1 ? "1 node" : `${nodes} nodes`}, ${at} at once`,
    shares: sharesOf(profile, (found.pairsPerSecond * ms) / 1_000),
    flames: flamesOf(profile),
    pairsPerSecond: found.pairsPerSecond,
    serverUs: found.serverCpuUs,
  };
}

function numbers(option: string, text: string, most: number): number[] {
  const all = text.split(",").map(Number);
  if (!all.every((value) => Number.isInteger(value) && value >= 1 && value <= most))
    usage(`--${option} must be numbers from 1 to ${most}, got ${JSON.stringify(text)}`);
  return all;
}

function figure(value: number | undefined): string {
  return value === undefined ? "" : value.toFixed(value < 10 ? 1 : 0);
}
