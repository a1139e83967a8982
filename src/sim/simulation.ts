/**
 * A cluster on a virtual clock: simulated servers, a simulated network and any number of processes that run this library and your
 * code, all decided by one seed. An hour of faults passes in a second, and the same seed gives the same hour again.
 */
import { VirtualClock } from "../clock/virtual-clock.ts";
import { Locker } from "../locker.ts";
import { MemoryNode } from "../node/memory-node.ts";
import type { LockerOptions, QuorumOptions } from "../options/options.ts";
import { SimAdapter } from "./adapter.ts";
import { Network } from "./network.ts";
import { entropyFrom, Prng } from "./prng.ts";
import { SimProcess } from "./process.ts";
import { SimServer } from "./server.ts";

export interface SimulationOptions {
  /** Decides everything. */
  readonly seed: string | number;
  /** How many servers; default 5. Their names are `n1`, `n2` … */
  readonly nodes?: number | undefined;
}

/** What a process runs with; the nodes are the simulation's. */
export type SimLockerOptions = Partial<Omit<QuorumOptions, "nodes" | "mode" | "shards">> & {
  /** Default `quorum`; `single` needs one server in `knows`; `memory` has one of this process alone. */
  readonly mode?: LockerOptions["mode"] | undefined;
  /** Names of the servers this process knows; default all of them. */
  readonly knows?: readonly string[] | undefined;
  /** Names of the servers of each shard, instead of `knows`. */
  readonly shards?: Readonly<Record<string, readonly string[]>> | undefined;
  /** How fast the process's clock runs; default 1. */
  readonly clockRate?: number | undefined;
};

/** One process with one locker. */
export interface Client {
  readonly process: SimProcess;
  readonly locker: Locker;
  /** Ends the process as SIGKILL does: nothing in it goes on, and its connections break. */
  crash(): void;
  /** Breaks its connection to this server. */
  disconnect(server: string): void;
  /** Breaks the connection on which it hears notices of this server, if it has one. */
  deafen(server: string): void;
  /** For this process, the address of one server leads to another one from now on; the connections it had there break. */
  redirect(address: string, server: string): void;
}

export class Simulation {
  readonly clock: VirtualClock = new VirtualClock();
  readonly prng: Prng;
  readonly network: Network;
  readonly servers: readonly SimServer[];

  constructor({ seed, nodes = 5 }: SimulationOptions) {
    this.prng = new Prng(String(seed));
    this.network = new Network(this.clock, this.prng.fork("network"));
    this.servers = Array.from(
      { length: nodes },
      (_, index) => new SimServer(`n${index + 1}`, this.clock, this.prng.fork(`server ${index}`)),
    );
  }

  server(name: string): SimServer {
    const server = this.servers.find((each) => each.name === name);
    if (server === undefined)
      throw new RangeError(`there is no server ${JSON.stringify(name)} in this simulation`);
    return server;
  }

  /** A new process; names may come again when the earlier one has ended. */
  start(
    name: string,
    { mode = "quorum", knows, shards, clockRate = 1, ...options }: SimLockerOptions = {},
  ): Client {
    const process = new SimProcess(name, this.clock, clockRate);
    const prng = this.prng.fork(`process ${name} at ${this.clock.now()}`);
    const adapters = new Map<string, SimAdapter>();
    const nodeOf = (server: string): SimAdapter => {
      const node = new SimAdapter({ process, server: this.server(server), network: this.network, prng });
      adapters.set(server, node);
      return node;
    };
    const names = knows ?? this.servers.map((server) => server.name);
    const fleet: SimFleet =
      shards === undefined
        ? { nodes: names.map(nodeOf) }
        : {
            shards: Object.fromEntries(
              Object.entries(shards).map(([shard, servers]) => [shard, servers.map(nodeOf)]),
            ),
          };
    const locker = new Locker(optionsOf(mode, { owner: name, ...options }, fleet), {
      clocks: () => process.clocks(),
      entropy: entropyFrom(prng),
      memory: (fenceTtlMs) => new MemoryNode(() => process.micros(), fenceTtlMs),
      warnOfQuarantine: () => {},
    });
    return {
      process,
      locker,
      crash: () => {
        for (const adapter of adapters.values()) adapter.abandon();
        process.kill();
      },
      disconnect: (server) => adapters.get(server)?.break("asking"),
      deafen: (server) => adapters.get(server)?.break("hearing"),
      redirect: (address, server) => {
        const adapter = adapters.get(address);
        adapter?.leadTo(this.server(server));
        adapter?.break("asking");
        adapter?.break("hearing");
      },
    };
  }

  /** Lets time pass until `work` has settled. Rejects when nothing is left that could settle it, or `limitMs` have passed. */
  async run<T>(work: Promise<T>, limitMs: number = Infinity): Promise<T> {
    let isDone = false;
    const noteEnd = () => (isDone = true);
    work.then(noteEnd, noteEnd);
    const end = this.clock.now() + limitMs;
    // What the work has already set off happens now, not at the next event.
    await this.clock.advance(0);
    while (!isDone && (await this.clock.step(end)));
    if (!isDone) throw new Error(`the work was not done after ${this.clock.now()} ms of virtual time`);
    return work;
  }

  /** Lets `ms` of virtual time pass. */
  pass(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }
}

type SimFleet = { readonly nodes: SimAdapter[] } | { readonly shards: Record<string, SimAdapter[]> };

/** Written out for each mode, which decides on the types of the others. */
function optionsOf(
  mode: LockerOptions["mode"],
  options: Partial<Omit<QuorumOptions, "nodes" | "mode" | "shards">>,
  fleet: SimFleet,
): LockerOptions {
  if (mode === "memory") return { mode, ...options };
  return mode === "quorum" ? { mode, ...options, ...fleet } : { mode, ...options, ...fleet };
}
