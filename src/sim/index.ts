/** `holdfast/sim`: your critical sections on a cluster of simulated servers, with the library's own code on a virtual clock. */
export { type Client, Simulation, type SimLockerOptions, type SimulationOptions } from "./simulation.ts";
export type { SimProcess } from "./process.ts";
export type { Disk, Execution, ServerState, SimServer } from "./server.ts";
export { CALM, type Network, type Path, type Weather } from "./network.ts";
export type { Prng } from "./prng.ts";
