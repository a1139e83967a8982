/**
 * All that a locker takes from the world around it: clocks, chance and connections. The world is this machine and its network, or a
 * simulated one (sim/); the locker cannot tell.
 */
import { type Entropy, systemEntropy } from "./clock/entropy.ts";
import { type ClockSource, MachineClocks } from "./clock/system-clock.ts";
import { AdaptedConnection, AdaptedListener } from "./node/adapted-connection.ts";
import { type Connect, isAdapter, type Listen } from "./node/connection.ts";
import { IoredisConnection, IoredisListener } from "./node/ioredis-connection.ts";

export interface Environment {
  /** The clocks of the machine a locker runs on; the locker closes them. */
  readonly clocks: () => ClockSource;
  readonly entropy: Entropy;
  readonly connect: Connect;
  readonly listen: Listen;
}

export const machine: Environment = {
  clocks: () => new MachineClocks(),
  entropy: systemEntropy,
  connect: (input, times, clock, events) =>
    isAdapter(input)
      ? new AdaptedConnection(input, times, clock, events)
      : new IoredisConnection(input, times, clock, events),
  listen: (input, channel, times, clock, events) =>
    isAdapter(input)
      ? new AdaptedListener(input, channel, times, clock, events)
      : new IoredisListener(input, channel, times, events),
};
