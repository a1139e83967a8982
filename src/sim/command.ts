/** The command line of the simulation: many seeded runs of the swarm, in as many threads as there are cores, or the replay of one. */
import { createHash, randomInt } from "node:crypto";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";

import { monotonicMs } from "../clock/machine-clocks.ts";
import { type CommandOutput, exitCodeOrUsage, orUsage, UsageError } from "../usage.ts";
import { type Hardship, HARDSHIPS, isHardship } from "./hardships.ts";
import { added, emptySummary, type Summary } from "./summary.ts";
import { runSeed } from "./swarm.ts";
import { timelineOf } from "./timeline.ts";
import type { Share } from "./worker.ts";

const HELP = `holdfast sim: the library's own code on simulated servers and a virtual clock, under faults that one seed decides; every
promise of docs/safety.md is checked after every run.

  --seeds N    how many runs (default 1000)
  --from S     the first seed (default: drawn, and printed)
  --first      stop at the first violation
  --seed S     replay one run as a timeline
  --with LIST  put every run through these hardships too, with commas between them: ${HARDSHIPS.join(", ")}
  --jsonl      with --seed: its history instead, a JSON line each
  --help

Exit codes: 0 nothing was violated, 1 something was, 2 a wrong argument.`;

const FAILURES_SHOWN_MAX = 20;

/** Resolves to the exit code. */
export function simCommand(args: readonly string[], output: CommandOutput): Promise<number> {
  return exitCodeOrUsage(() => run(parse(args), output), output);
}

async function run(
  { seeds, from, seed, hardships, first, jsonl, help }: Arguments,
  output: CommandOutput,
): Promise<number> {
  if (help) output.line(HELP);
  else if (seed !== undefined) return replay(seed, hardships, jsonl, output);
  else return runMany({ seeds, from: from ?? randomInt(1, 2 ** 40), hardships, first }, output);
  return 0;
}

interface Arguments {
  readonly seeds: number;
  readonly from: number | undefined;
  readonly seed: string | undefined;
  readonly hardships: readonly Hardship[];
  readonly first: boolean;
  readonly jsonl: boolean;
  readonly help: boolean;
}

function parse(args: readonly string[]): Arguments {
  const { seeds, from, with: hardships, ...values } = parsed(args);
  return {
    ...values,
    hardships: hardshipsIn(hardships),
    seed: values.seed,
    seeds: whole("seeds", seeds),
    from: from === undefined ? undefined : whole("from", from),
  };
}

function parsed(args: readonly string[]) {
  return orUsage(() =>
    parseArgs({
      args: [...args],
      options: {
        seeds: { type: "string", default: "1000" },
        from: { type: "string" },
        seed: { type: "string" },
        with: { type: "string", default: "" },
        first: { type: "boolean", default: false },
        jsonl: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }),
  ).values;
}

function whole(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new UsageError(`--${option} must be a positive integer, got ${JSON.stringify(text)}`);
}

function hardshipsIn(list: string): Hardship[] {
  const names = list.split(",").map((name) => name.trim());
  return names
    .filter((name) => name !== "")
    .map((name) => {
      if (isHardship(name)) return name;
      throw new UsageError(
        `--with: there is no hardship ${JSON.stringify(name)}; there are ${HARDSHIPS.join(", ")}`,
      );
    });
}

async function runMany(
  {
    seeds,
    from,
    hardships,
    first,
  }: Pick<Arguments, "seeds" | "hardships" | "first"> & { readonly from: number },
  output: CommandOutput,
): Promise<number> {
  const began = monotonicMs();
  output.line(`${seeds} runs from seed ${from}`);
  const threads = Math.max(1, Math.min(availableParallelism(), seeds));
  const common = { end: from + seeds, step: threads, hardships, first, stop: new SharedArrayBuffer(4) };
  const parts = await Promise.all(
    Array.from({ length: threads }, (_, thread) => inThread({ ...common, from: from + thread })),
  );
  const summary = parts.reduce(added, emptySummary());
  print(summary, monotonicMs() - began, withOf(hardships), output);
  return summary.failures.length > 0 ? 1 : 0;
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

/** As it was asked for. */
function withOf(hardships: readonly Hardship[]): string {
  return hardships.length === 0 ? "" : ` --with ${JSON.stringify(hardships.join(","))}`;
}

function print(summary: Summary, tookMs: number, args: string, { line, name }: CommandOutput): void {
  const hours = (summary.virtualMs / 3_600_000).toFixed(2);
  line(`
  runs                ${summary.runs} (${summary.brokenRuns} with an assumption broken on purpose)
  virtual time        ${hours} h in ${(tookMs / 1_000).toFixed(1)} s
  acquires, leases    ${summary.acquires}, ${summary.leases}
  extensions, losses  ${summary.extensions}, ${summary.losses}
  votes               ${summary.votes}
  writes              ${summary.storedWrites} stored, ${summary.refusedWrites} refused for their fence
  slowest recovery    ${(summary.slowestRecoveryMs / 1_000).toFixed(1)} s from healing to every client's lease
  faults`);
  const faults = Object.entries(summary.faults).sort(([, a], [, b]) => b - a);
  for (const [fault, times] of faults) line(`    ${String(times).padStart(7)}  ${fault}`);
  line(summary.failures.length === 0 ? "\nNo property was violated." : "");
  for (const { seed, violations } of summary.failures.slice(0, FAILURES_SHOWN_MAX)) {
    const [first] = violations;
    line(`${first?.property} VIOLATED at ${first?.at.toFixed(3)} ms: ${first?.detail}`);
    line(`  replay: ${name} --seed ${seed}${args}`);
  }
}

async function replay(
  seed: string,
  hardships: readonly Hardship[],
  jsonl: boolean,
  { line }: CommandOutput,
): Promise<number> {
  const { plan, history, violations } = await runSeed(seed, hardships);
  const lines = history.map((event) => JSON.stringify(event));
  if (jsonl) {
    line(lines.join("\n"));
    return 0;
  }
  const { nodes, clients, keys, ttlMs, clockWindowMs, broken } = plan;
  line(
    `seed ${seed}: ${nodes} nodes, ${clients} clients, keys ${keys.join(" ")}, ttl ${ttlMs} ms, window ${clockWindowMs} ms`,
  );
  line(`faults: ${[...plan.faults.keys()].join(", ") || "none"}`);
  if (broken.length > 0) line(`assumptions broken on purpose: ${broken.join(", ")}`);
  line("");
  for (const text of timelineOf(history)) line(text);
  line(`\nsha256 of the history: ${createHash("sha256").update(lines.join("\n")).digest("hex")}`);
  for (const { property, at, detail } of violations)
    line(`${property} VIOLATED at ${at.toFixed(3)} ms: ${detail}`);
  return violations.length > 0 ? 1 : 0;
}
