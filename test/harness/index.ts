/** Everything a test needs to do harm to real servers, networks, clocks and processes, from one place. */
export * from "./cluster.ts";
export * from "./nemesis.ts";
export * from "./node-clock.ts";
export * from "./processes.ts";
export * from "./proxy.ts";
export * from "./redis-binary.ts";
export * from "./server-node.ts";
export * from "./wait-for.ts";
