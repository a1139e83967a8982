/** A share of the seeds, in a thread of its own. */
import { parentPort, workerData } from "node:worker_threads";

import { added, emptySummary, summaryOf } from "../../src/sim/summary.ts";
import { runSeed } from "../../src/sim/swarm.ts";

const { from, end, step } = workerData as { from: number; end: number; step: number };
let summary = emptySummary();
for (let seed = from; seed < end; seed += step)
  summary = added(summary, summaryOf(await runSeed(String(seed))));
parentPort?.postMessage(summary);
