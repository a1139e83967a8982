/**
 * `npm run sim`: many seeded runs of the swarm, in as many threads as there are cores, or the replay of one.
 *
 *   --seeds N    how many (default 1000)      --from S   the first of them (default: drawn, and printed)
 *   --seed S     replay one as a timeline     --jsonl    its history instead, a JSON line each
 *   --first      stop at the first violation
 */
import { createHash, randomInt } from "node:crypto";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";

import { added, emptySummary, type Summary } from "../../src/sim/summary.ts";
import { runSeed } from "../../src/sim/swarm.ts";
import { timelineOf } from "../../src/sim/timeline.ts";
import type { Share } from "./worker.ts";

const FAILURES_SHOWN_MAX = 20;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string" },
    seed: { type: "string" },
    first: { type: "boolean", default: false },
    jsonl: { type: "boolean", default: false },
  },
});

if (values.seed === undefined) await runMany(number("seeds", values.seeds), values.from);
else await replay(values.seed, values.jsonl);

function number(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  console.error(`--${option} must be a positive integer, got ${JSON.stringify(text)}`);
  process.exit(2);
}

async function runMany(seeds: number, given: string | undefined): Promise<void> {
  const from = given === undefined ? randomInt(1, 2 ** 40) : number("from", given);
  const began = performance.now();
  console.log(`${seeds} runs from seed ${from}`);
  const threads = Math.max(1, Math.min(availableParallelism(), seeds));
  const common = { end: from + seeds, step: threads, first: values.first, stop: new SharedArrayBuffer(4) };
  const parts = await Promise.all(
    Array.from({ length: threads }, (_, thread) => inThread({ ...common, from: from + thread })),
  );
  const summary = parts.reduce(added, emptySummary());
  print(summary, performance.now() - began);
  if (summary.failures.length > 0) process.exitCode = 1;
}

/** Seeds are dealt out in turn, so that every thread gets its share of the long ones. */
function inThread(share: Share): Promise<Summary> {
  const worker = new Worker(new URL("./worker.js", import.meta.url), {
    workerData: share,
    // Histories are garbage after their run: young garbage, if there is room for it.
    resourceLimits: { maxYoungGenerationSizeMb: 96 },
  });
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

function print(summary: Summary, tookMs: number): void {
  const hours = (summary.virtualMs / 3_600_000).toFixed(2);
  console.log(`
  runs                ${summary.runs} (${summary.brokenRuns} with an assumption broken on purpose)
  virtual time        ${hours} h in ${(tookMs / 1_000).toFixed(1)} s
  acquires, leases    ${summary.acquires}, ${summary.leases}
  extensions, losses  ${summary.extensions}, ${summary.losses}
  votes               ${summary.votes}
  writes              ${summary.storedWrites} stored, ${summary.refusedWrites} refused for their fence
  slowest recovery    ${(summary.slowestRecoveryMs / 1_000).toFixed(1)} s from healing to every client's lease
  faults`);
  const faults = Object.entries(summary.faults).sort(([, a], [, b]) => b - a);
  for (const [fault, times] of faults) console.log(`    ${String(times).padStart(7)}  ${fault}`);
  console.log(summary.failures.length === 0 ? "\nNo property was violated." : "");
  for (const { seed, violations } of summary.failures.slice(0, FAILURES_SHOWN_MAX)) {
    const [first] = violations;
    console.log(`${first?.property} VIOLATED at ${first?.at.toFixed(3)} ms: ${first?.detail}`);
    console.log(`  replay: npm run sim -- --seed ${seed}`);
  }
}

async function replay(seed: string, jsonl: boolean): Promise<void> {
  const { plan, history, violations } = await runSeed(seed);
  const lines = history.map((event) => JSON.stringify(event));
  if (jsonl) return console.log(lines.join("\n"));
  const { nodes, clients, keys, ttlMs, clockWindowMs, broken } = plan;
  console.log(
    `seed ${seed}: ${nodes} nodes, ${clients} clients, keys ${keys.join(" ")}, ttl ${ttlMs} ms, window ${clockWindowMs} ms`,
  );
  console.log(`faults: ${[...plan.faults.keys()].join(", ") || "none"}`);
  if (broken.length > 0) console.log(`assumptions broken on purpose: ${broken.join(", ")}`);
  console.log();
  for (const line of timelineOf(history)) console.log(line);
  console.log(`\nsha256 of the history: ${createHash("sha256").update(lines.join("\n")).digest("hex")}`);
  for (const { property, at, detail } of violations)
    console.log(`${property} VIOLATED at ${at.toFixed(3)} ms: ${detail}`);
  if (violations.length > 0) process.exitCode = 1;
}
