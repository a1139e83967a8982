/**
 * Protocols that are wrong, and the promise each of them breaks: what shows that the exploration can find anything. Three take a part
 * out of the fence rule, the others are the per-node counters whose maximum is written back.
 */
import { CounterProtocol, type CounterScope } from "./counter-protocol.ts";
import type { Model } from "./explore.ts";
import { FenceProtocol } from "./fence-protocol.ts";
import { FENCE_RULE, type FenceRule, nodeWith } from "./specimen-nodes.ts";

export interface Refuted {
  readonly name: string;
  readonly property: string;
  readonly model: Model;
}

export const refuted: readonly Refuted[] = [
  { name: "N7 with < in place of <=", property: "S3", model: mutant({ isStale: (p, c) => p < c }, [1, 1]) },
  { name: "N7 with < in place of <=", property: "S9", model: mutant({ isStale: (p, c) => p < c }, [1, 2]) },
  { name: "no N7", property: "S2", model: mutant({ isStale: () => false }, [1, 2]) },
  { name: "no tombstone (R2)", property: "S9", model: mutant({ leavesTombstone: false }, [1, 2]) },
  { name: "counters from 2, 1, 0", property: "S2", model: counters([2, 1, 0], 2) },
  { name: "counters from nothing", property: "S3", model: counters([0, 0, 0], 3) },
  {
    name: "counters from 2, 1, 0, waiting for the write-back",
    property: "S3",
    model: counters([2, 1, 0], 2, { awaitsWriteBack: true }),
  },
];

function mutant(change: Partial<FenceRule>, proposals: number[]): Model {
  return new FenceProtocol({ nodes: 3, proposals, node: nodeWith({ ...FENCE_RULE, ...change }) });
}

/** Message delay alone is enough: no lock is lost. */
function counters(before: number[], attempts: number, options: Partial<CounterScope> = {}): Model {
  return new CounterProtocol({
    counters: before,
    attempts,
    losesLocks: false,
    awaitsWriteBack: false,
    ...options,
  });
}
