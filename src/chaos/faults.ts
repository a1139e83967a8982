/**
 * What is known of each fault without inflicting it: what a world must be able to do for it, what undoes it, in which condition it puts
 * its targets, and whether it takes a node's memory.
 */
import type { Condition } from "../history/history.ts";
import type { ClientFault, ClockFault, Fault, NetworkFault, Scenario } from "./scenario.ts";

/** What a world may be able to do to its nodes, its network and its clients. */
export type Ability =
  | "end and stop servers"
  | "change data folders"
  | "command servers"
  | "set clocks of servers"
  | "break connections"
  | "lose packets"
  | "end and stop clients"
  | "set clocks of clients";

interface FaultFacts {
  readonly needs: Ability;
  /** Of what it is inflicted on, until it is undone. */
  readonly condition?: Condition;
  /** Conditions it ends. */
  readonly cures?: readonly Condition[];
  readonly undoneBy?: Fault["do"];
  /** Over by itself after its `ms`. */
  readonly passes?: true;
  /** `disk`: unless it was kept on disk. */
  readonly forgets?: "always" | "disk";
}

const RESTARTED: readonly Condition[] = ["down", "hung", "demoted", "full", "locked"];

const FACTS: Readonly<Record<Fault["do"], FaultFacts>> = {
  kill: { needs: "end and stop servers", condition: "down", undoneBy: "restart" },
  restart: { needs: "end and stop servers", cures: RESTARTED, forgets: "disk" },
  "restart empty": { needs: "end and stop servers", cures: RESTARTED, forgets: "always" },
  "lose power": { needs: "change data folders", cures: RESTARTED, forgets: "always" },
  "keep a snapshot": { needs: "change data folders" },
  "restore the snapshot": { needs: "change data folders", cures: RESTARTED, forgets: "always" },
  "replace by another server": { needs: "end and stop servers", cures: RESTARTED, forgets: "always" },
  "load slowly": { needs: "command servers", condition: "hung", passes: true },
  pause: { needs: "end and stop servers", condition: "hung", undoneBy: "resume" },
  resume: { needs: "end and stop servers", cures: ["hung"] },
  flush: { needs: "command servers", forgets: "always" },
  "flush scripts": { needs: "command servers" },
  demote: { needs: "command servers", condition: "demoted", undoneBy: "promote" },
  promote: { needs: "command servers", cures: ["demoted"] },
  "fill memory": { needs: "command servers", condition: "full", undoneBy: "free memory" },
  "free memory": { needs: "command servers", cures: ["full"] },
  evict: { needs: "command servers", condition: "full", undoneBy: "free memory" },
  "pause writes": { needs: "command servers", condition: "hung", passes: true },
  sleep: { needs: "command servers", condition: "hung", passes: true },
  "run a busy script": { needs: "command servers", condition: "hung", passes: true },
  "require a password": { needs: "command servers", condition: "locked", undoneBy: "allow everybody" },
  "forbid scripts": { needs: "command servers", condition: "locked", undoneBy: "allow everybody" },
  "hang up on listeners": { needs: "command servers" },
  "forbid notices": { needs: "command servers", undoneBy: "allow everybody" },
  "forge notices": { needs: "command servers", passes: true },
  "limit clients": { needs: "command servers", condition: "locked", undoneBy: "restart" },
  "allow everybody": { needs: "command servers", cures: ["locked"] },

  "step the clock": {
    needs: "set clocks of servers",
    condition: "clock off",
    undoneBy: "set the clock right",
  },
  "swing the clock": {
    needs: "set clocks of servers",
    condition: "clock off",
    undoneBy: "set the clock right",
  },
  "run the clock at": {
    needs: "set clocks of servers",
    condition: "clock off",
    undoneBy: "set the clock right",
  },
  "set the clock right": { needs: "set clocks of servers", cures: ["clock off"], forgets: "disk" },

  cut: { needs: "break connections", condition: "cut off", undoneBy: "heal the network" },
  "drop requests": { needs: "break connections", condition: "cut off", undoneBy: "heal the network" },
  "drop replies": { needs: "break connections", condition: "cut off", undoneBy: "heal the network" },
  "hold requests": { needs: "break connections", condition: "cut off", undoneBy: "heal the network" },
  "hold replies": { needs: "break connections", condition: "cut off", undoneBy: "heal the network" },
  delay: { needs: "break connections", condition: "slow", undoneBy: "heal the network" },
  chop: { needs: "break connections", condition: "slow", undoneBy: "heal the network" },
  "reset connections": { needs: "break connections" },
  "reset before the reply": { needs: "break connections" },
  "refuse connections": { needs: "break connections", condition: "cut off", undoneBy: "heal the network" },
  "swallow connections": { needs: "break connections", condition: "cut off", undoneBy: "heal the network" },
  "lose packets": { needs: "lose packets", condition: "slow", undoneBy: "lose no packets" },
  "lose no packets": { needs: "lose packets", cures: ["slow"] },
  "heal the network": { needs: "break connections", cures: ["cut off", "slow"] },

  stop: { needs: "end and stop clients", condition: "stopped", undoneBy: "continue" },
  continue: { needs: "end and stop clients", cures: ["stopped"] },
  block: { needs: "end and stop clients", condition: "blocked", passes: true },
  "kill a client": { needs: "end and stop clients", condition: "down", undoneBy: "start anew" },
  "start anew": { needs: "end and stop clients", cures: ["down", "stopped", "blocked"] },
  "step a client's clock": { needs: "set clocks of clients" },
};

export function factsOf(fault: Fault): FaultFacts {
  return FACTS[fault.do];
}

/** What puts right again what this fault has done; undefined where nothing must be. */
export function remedyOf(fault: Fault): Fault | undefined {
  const { undoneBy } = factsOf(fault);
  return undoneBy === undefined ? undefined : ({ ...fault, do: undoneBy } as Fault);
}

/** What a scenario's faults and cues ask of a world. */
export function needsOf({ steps }: Scenario): ReadonlySet<Ability> {
  const needs = new Set<Ability>(steps.map(({ fault }) => factsOf(fault).needs));
  for (const { once } of steps) if (once !== undefined && "node" in once) needs.add("break connections");
  return needs;
}

/** Type guards, because the faults of one kind share their fields. */
export function isAboutClients(fault: Fault): fault is ClientFault {
  return "clients" in fault && !("nodes" in fault);
}

export function isAboutNetwork(fault: Fault): fault is NetworkFault {
  const { needs } = factsOf(fault);
  return needs === "break connections" || needs === "lose packets";
}

export function isAboutClocks(fault: Fault): fault is ClockFault {
  return factsOf(fault).needs === "set clocks of servers";
}

/** In words, for the history: `delay 200 ms`. */
export function wordsOf(fault: Fault): string {
  const ms = "ms" in fault && fault.ms !== undefined ? ` ${fault.ms} ms` : "";
  const rate = "rate" in fault && fault.rate !== undefined ? ` ${fault.rate}` : "";
  const percent = "percent" in fault && fault.percent !== undefined ? ` ${fault.percent} %` : "";
  return `${fault.do}${ms}${rate}${percent}`;
}

/** `n1+n2 for c1`. */
export function targetOf(fault: Fault): string {
  const clients = "clients" in fault ? (fault.clients ?? []).map((client) => `c${client}`) : [];
  const nodes = "nodes" in fault ? fault.nodes.map((node) => `n${node}`) : [];
  return [nodes.join("+"), clients.join("+")].filter((part) => part !== "").join(" for ");
}
