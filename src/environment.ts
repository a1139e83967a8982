/**
 * What a locker takes from the world around it besides its nodes: clocks and chance. The world is this machine, or a simulated one (sim/);
 * the locker cannot tell.
 */
import { type Entropy, systemEntropy } from "./clock/entropy.ts";
import { type ClockSource, MachineClocks } from "./clock/system-clock.ts";

export interface Environment {
  /** The clocks of the machine a locker runs on; the locker closes them. */
  readonly clocks: () => ClockSource;
  readonly entropy: Entropy;
}

export const machine: Environment = {
  clocks: () => new MachineClocks(),
  entropy: systemEntropy,
};
