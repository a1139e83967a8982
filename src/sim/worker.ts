/** A share of the seeds, in a thread of its own. */
import { parentPort, workerData } from "node:worker_threads";

import type { Hardship } from "./hardships.ts";
import { added, emptySummary, summaryOf } from "./summary.ts";
import { runSeed } from "./swarm.ts";

export interface Share {
  readonly from: number;
  readonly end: number;
  readonly step: number;
  readonly hardships: readonly Hardship[];
  /** Whether the first violation ends the run of all threads. */
  readonly first: boolean;
  readonly stop: SharedArrayBuffer;
}

const { from, end, step, hardships, first, stop } = workerData as Share;
const isStopped = new Int32Array(stop);
let summary = emptySummary();
for (let seed = from; seed < end && Atomics.load(isStopped, 0) === 0; seed += step) {
  summary = added(summary, summaryOf(await runSeed(String(seed), hardships)));
  if (first && summary.failures.length > 0) Atomics.store(isStopped, 0, 1);
}
parentPort?.postMessage(summary);
