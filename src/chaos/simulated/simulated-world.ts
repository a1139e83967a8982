/**
 * A world on a virtual clock: the same scenarios, clients and locks over simulated servers, in milliseconds of real time. What it
 * cannot show, such as memory limits, it does not run.
 */
import { quorumOf } from "../../quorum/tally.ts";
import { Prng } from "../../sim/prng.ts";
import type { SimServer } from "../../sim/server.ts";
import { type Client, Simulation } from "../../sim/simulation.ts";
import { Ledger } from "../client/ledger.ts";
import { ResourceState } from "../client/resource.ts";
import { type Actor, doWork, giveBack, take } from "../client/work.ts";
import { factsOf, targetOf, wordsOf } from "../faults.ts";
import { clientOf, Journal } from "../journal.ts";
import { lockerOptionsOf, type PlannedOptions, silentMs } from "../locker-options.ts";
import type { Fault, Scenario } from "../scenario.ts";
import type { Interception, World } from "../world.ts";

const KEY = "chaos";
const POLL_MS = 50;
/** Longer than any scenario: what is not over then never will be. */
const LIMIT_MS = 600_000;
/** Until `continue`. */
const STOP_MS = 3_600_000;

interface Inhabitant {
  client: Client;
  ledger: Ledger;
  isOn: boolean;
  isAlive: boolean;
  lives: number;
  work: Promise<void>;
}

type ServerDeed = (server: SimServer, amount: number) => void;
type ClientDeed = (world: SimulatedWorld, index: number, amount: number) => void;

const restart = (disk: "everything" | "nothing" | "old-snapshot") => (server: SimServer) => {
  server.kill();
  server.start(disk);
};

const SERVER_DEEDS: Partial<Record<Fault["do"], ServerDeed>> = {
  kill: (server) => server.kill(),
  "restart empty": restart("nothing"),
  "keep a snapshot": (server) => server.takeSnapshot(),
  "restore the snapshot": restart("old-snapshot"),
  "replace by another server": restart("nothing"),
  pause: (server) => server.pause(),
  resume: (server) => server.resume(),
  flush: (server) => server.flush(),
  "flush scripts": (server) => server.forgetScripts(),
  "step the clock": (server, ms) => server.stepClock(ms),
  "run the clock at": (server, rate) => server.setClockRate(rate),
};

const CLIENT_DEEDS: Partial<Record<Fault["do"], ClientDeed>> = {
  stop: (world, index) => world.processOf(index)?.stop(STOP_MS),
  continue: (world, index) => world.processOf(index)?.continue(),
  block: (world, index, ms) => world.processOf(index)?.stop(ms),
  "step a client's clock": (world, index, ms) => world.processOf(index)?.stepWall(ms),
  "kill a client": (world, index) => world.kill(index),
  "start anew": (world, index) => world.startAnew(index),
};

/** Of the network only what keeps everything back until it heals: simulated messages are late, or never. */
const WAYS: Partial<Record<Fault["do"], readonly ("up" | "down")[]>> = {
  cut: ["up", "down"],
  "drop requests": ["up"],
  "drop replies": ["down"],
  "hold requests": ["up"],
  "hold replies": ["down"],
};

export class SimulatedWorld implements World {
  readonly nodes: readonly string[];
  readonly clients: readonly string[];
  readonly journal: Journal = new Journal();
  readonly troubles: string[] = [];
  readonly #scenario: Scenario;
  readonly #simulation: Simulation;
  readonly #prng: Prng;
  readonly #options: PlannedOptions;
  readonly #resource: ResourceState;
  readonly #inhabitants: Inhabitant[] = [];
  readonly #killed = new Set<string>();
  readonly #passing: Promise<void>[] = [];

  constructor(scenario: Scenario, seed: string) {
    this.#scenario = scenario;
    this.#options = lockerOptionsOf(scenario.locker);
    this.#prng = new Prng(seed);
    this.#simulation = new Simulation({ seed, nodes: scenario.cluster?.nodes ?? 3 });
    this.nodes = this.#simulation.servers.map(({ name }) => name);
    const { clients = 3 } = scenario.work;
    this.clients = Array.from({ length: clients }, (_, index) => `c${index + 1}`);
    this.#resource = new ResourceState(({ op, key, fence }, isStored) => {
      const client = clientOf(op);
      this.journal.add({ at: this.now(), type: "write", client, op, key, fence, isStored });
    });
  }

  now(): number {
    return this.#simulation.clock.now();
  }

  sleep(ms: number): Promise<void> {
    const { clock } = this.#simulation;
    return new Promise((resolve) => clock.at(clock.now() + ms, resolve));
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.#simulation.run(work, LIMIT_MS);
  }

  async begin(): Promise<void> {
    this.clients.forEach((_, index) => this.#start(index));
    const [first] = this.#inhabitants;
    await first?.client.locker.init();
    await Promise.all(this.#inhabitants.map(({ client }) => client.locker.ready()));
    this.#inhabitants.forEach((_, index) => this.#beginWork(index));
  }

  inflict(fault: Fault): Promise<void> {
    const at = this.now();
    this.journal.add({ at, type: "fault", fault: wordsOf(fault), target: targetOf(fault) });
    if ("nodes" in fault) for (const node of fault.nodes) this.#harmNode(this.#server(node), fault);
    else for (const client of fault.clients) this.#harmClient(client - 1, fault);
    return Promise.resolve();
  }

  async passed(): Promise<void> {
    await Promise.all(this.#passing);
  }

  intercept(): Interception {
    throw new Error("a simulated connection cannot keep back one request");
  }

  async rest(): Promise<void> {
    for (const inhabitant of this.#inhabitants) inhabitant.isOn = false;
    await Promise.all(this.#living().map(({ work }) => work));
  }

  async confirm(waitMs: number): Promise<void> {
    const actors = this.#inhabitants.flatMap(({ isAlive }, index) => (isAlive ? [this.#actor(index)] : []));
    await Promise.all(
      actors.map(async (actor) => {
        const got = await take(actor, { waitMs }, true);
        if (got !== undefined) await giveBack(got, actor);
      }),
    );
  }

  async settle(waitMs: number): Promise<void> {
    const end = this.now() + waitMs;
    while (this.#left().length > 0 && this.now() < end) await this.sleep(POLL_MS);
    for (const { node, holder } of this.#left())
      this.journal.add({ at: this.now(), type: "left-behind", node, key: KEY, holder });
  }

  async close(): Promise<void> {
    await Promise.all(this.#living().map(({ client }) => client.locker.close()));
  }

  /** @internal */
  processOf(index: number): Client["process"] | undefined {
    return this.#inhabitants[index]?.client.process;
  }

  /** @internal */
  kill(index: number): void {
    const inhabitant = this.#inhabitants[index];
    if (inhabitant === undefined) return;
    inhabitant.client.crash();
    Object.assign(inhabitant, { isOn: false, isAlive: false });
    const { name } = inhabitant.client.process;
    this.#killed.add(name);
    this.journal.add({ at: this.now(), type: "crashed", client: name });
  }

  /** @internal */
  startAnew(index: number): void {
    this.#start(index);
    this.#beginWork(index);
  }

  #start(index: number): void {
    const name = this.clients[index] ?? "";
    const lives = (this.#inhabitants[index]?.lives ?? 0) + 1;
    const { mode: _, rules, ...options } = this.#options;
    const ledgerOf: { ledger?: Ledger } = {};
    const client = this.#simulation.start(name, {
      ...options,
      observer: (event) => ledgerOf.ledger?.heard(event),
    });
    const ledger = new Ledger({
      client: name,
      life: lives,
      now: () => client.process.localNow,
      record: (event) => this.journal.add(event),
      quorum: quorumOf(this.nodes.length),
      ttlMs: options.ttlMs,
      rules,
      nameOf: (address) => address.replace(/:.*$/, ""),
    });
    ledgerOf.ledger = ledger;
    this.#inhabitants[index] = { client, ledger, isOn: true, isAlive: true, lives, work: Promise.resolve() };
  }

  #beginWork(index: number): void {
    const inhabitant = this.#inhabitants[index];
    if (inhabitant === undefined) return;
    inhabitant.work = doWork(this.#scenario.work, this.#actor(index));
    inhabitant.work.catch((error: unknown) => this.troubles.push(String(error)));
  }

  #actor(index: number): Actor {
    const inhabitant = this.#inhabitants[index];
    if (inhabitant === undefined) throw new RangeError(`there is no client ${index + 1}`);
    const { client, ledger, lives } = inhabitant;
    const prng = this.#prng.fork(`${client.process.name} ${lives}`);
    return {
      number: index + 1,
      locker: client.locker,
      ledger,
      resource: this.#resource,
      key: KEY,
      minValidityMs: this.#options.ttlMs / 10,
      sleep: (ms) => client.process.sleep(ms),
      random: () => prng.next(),
      isOn: () => inhabitant.isOn,
    };
  }

  #harmNode(server: SimServer, fault: Fault): void {
    const { condition, cures = [], forgets } = factsOf(fault);
    const at = this.now();
    if (fault.do === "restart" || fault.do === "set the clock right") this.#restart(server, fault.do);
    SERVER_DEEDS[fault.do]?.(server, amountOf(fault));
    this.#harmNetwork(server, fault);
    if (condition !== undefined) this.journal.condition(at, server.name, condition, true);
    for (const each of cures) this.journal.condition(at, server.name, each, false);
    if (forgets === "always" || (forgets === "disk" && !this.#hasDisk)) this.#memoryLost(server);
  }

  #restart(server: SimServer, deed: "restart" | "set the clock right"): void {
    server.kill();
    if (deed === "set the clock right") server.setClockRight();
    server.start(this.#hasDisk ? "everything" : "nothing");
  }

  get #hasDisk(): boolean {
    return this.#scenario.cluster?.aof === true;
  }

  #harmNetwork(server: SimServer, fault: Fault): void {
    const { network } = this.#simulation;
    const clients = "clients" in fault ? (fault.clients ?? []).map((client) => `c${client}`) : this.clients;
    for (const client of clients) {
      if (fault.do === "heal the network") network.heal(client, server.name);
      for (const way of WAYS[fault.do] ?? [])
        network
          .path(...(way === "up" ? ([client, server.name] as const) : ([server.name, client] as const)))
          .cut();
    }
  }

  #harmClient(index: number, fault: Fault): void {
    const name = this.clients[index] ?? "";
    const { condition, cures = [], passes } = factsOf(fault);
    const ms = "ms" in fault ? (fault.ms ?? 0) : 0;
    CLIENT_DEEDS[fault.do]?.(this, index, ms);
    if (condition !== undefined) this.journal.condition(this.now(), name, condition, true);
    for (const each of cures) this.journal.condition(this.now(), name, each, false);
    if (passes && condition !== undefined)
      this.#passing.push(
        this.sleep(ms).then(() => this.journal.condition(this.now(), name, condition, false)),
      );
  }

  #memoryLost({ name }: SimServer): void {
    if (this.#options.restartGuard === "trust") return;
    const at = this.now();
    const silentUntil = at + silentMs(this.#options);
    this.journal.add({ at, type: "memory-lost", node: name, silentUntil });
  }

  #left(): { node: string; holder: string }[] {
    return this.#simulation.servers.flatMap((server) => {
      const holder = server.holderOf(KEY);
      return holder === undefined || this.#killed.has(clientOf(holder))
        ? []
        : [{ node: server.name, holder }];
    });
  }

  #living(): Inhabitant[] {
    return this.#inhabitants.filter(({ isAlive }) => isAlive);
  }

  #server(number: number): SimServer {
    return this.#simulation.server(`n${number}`);
  }
}

function amountOf(fault: Fault): number {
  if ("rate" in fault) return fault.rate ?? 1;
  return "ms" in fault ? (fault.ms ?? 0) : 0;
}

/** Why a simulation cannot show this scenario, in words. */
export function simulationObstacleTo({ steps, locker }: Scenario): string | undefined {
  if (locker?.mode === "single") return "simulated clients use a quorum";
  if (steps.some(({ once }) => once !== undefined && "node" in once))
    return "a simulated connection cannot keep back one message";
  const known = new Set([
    ...Object.keys(SERVER_DEEDS),
    ...Object.keys(CLIENT_DEEDS),
    ...Object.keys(WAYS),
    "restart",
  ]);
  const unknown = steps.find(({ fault }) => !known.has(fault.do));
  return unknown === undefined ? undefined : `simulated servers do not know the fault "${unknown.fault.do}"`;
}
