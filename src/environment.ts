/**
 * What a locker takes from the world around it besides its nodes: clocks, chance, and the memory of its process. The world is this machine, or a
 * simulated one (sim/); the locker cannot tell.
 */
import { type Entropy, systemEntropy } from "./clock/entropy.ts";
import { MachineClocks, processMicros } from "./clock/machine-clocks.ts";
import type { ClockSource } from "./clock/system-clock.ts";
import { type Memory, MemoryNode, sharedMemory } from "./node/memory-node.ts";

export interface Environment {
  /** The clocks of the machine a locker runs on; the locker closes them. */
  readonly clocks: () => ClockSource;
  readonly entropy: Entropy;
  /** Where the memory mode has its locks: the same for all lockers that exclude each other. */
  readonly memory: (fenceTtlMs: number) => Memory;
  /** Tells a person that no lock can be had for a while, and why. */
  readonly warnOfQuarantine: (message: string) => void;
}

export const machine: Environment = {
  clocks: () => new MachineClocks(),
  entropy: systemEntropy,
  memory: (fenceTtlMs) => sharedMemory(() => new MemoryNode(processMicros, fenceTtlMs)),
  warnOfQuarantine: warnOnce,
};

let hasWarned = false;

/** Once in a process: the first time is news, and all lockers of a process have the same operator. */
function warnOnce(message: string): void {
  if (hasWarned) return;
  hasWarned = true;
  process.emitWarning(message, { code: "HOLDFAST_QUARANTINE" });
}
