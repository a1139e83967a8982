/** Everything a test needs to do harm to real servers, networks, clocks and processes, from one place. */
export * from "../../src/chaos/servers/cluster.ts";
export * from "../../src/chaos/servers/commands.ts";
export * from "../../src/chaos/servers/node-clock.ts";
export * from "../../src/chaos/machine/processes.ts";
export * from "../../src/chaos/network/proxy.ts";
export * from "../../src/chaos/servers/redis-binary.ts";
export * from "../../src/chaos/servers/server-node.ts";
export * from "../../src/chaos/machine/wait-for.ts";
