/** Faults on a stage of real servers, clients and proxies, and what the journal is to say of each. */
import type { Condition } from "../../history/history.ts";
import { factsOf, isAboutClients, isAboutClocks, isAboutNetwork, targetOf, wordsOf } from "../faults.ts";
import type { Journal } from "../journal.ts";
import { monotonicMs } from "../machine/monotonic.ts";
import type { Bait } from "../network/proxy.ts";
import type { ClientFault, ClockFault, Fault, NetworkFault, NodeFault } from "../scenario.ts";
import type { ChaosNode } from "../servers/server-node.ts";
import type { Interception, WireCue } from "../world.ts";
import type { ClientHandle } from "./client-handle.ts";
import { harmNetwork, isForProxies } from "./network-harm.ts";
import { harmNode } from "./node-harm.ts";
import type { Sightings } from "./sightings.ts";

const SWINGS_PER_SECOND = 5;
const LOST_PERCENT = 10;

export interface Stage {
  /** Ours, in the order of their numbers; none where the nodes are somebody else's. */
  readonly servers: readonly ChaosNode[];
  readonly handles: readonly ClientHandle[];
  readonly journal: Journal;
  readonly sightings: Sightings;
  /** Whether servers have files, and what they had after a restart. */
  readonly hasDisk: boolean;
  /** How long a node that lost its memory must grant nothing; undefined where the clients trust every node. */
  readonly silentMs: number | undefined;
  /** What went wrong with a fault that nobody waited for, in words. */
  readonly failed: (trouble: string) => void;
}

export class FaultInjector {
  /** Clients that could give nothing back. */
  readonly killed: Set<string> = new Set<string>();
  readonly #stage: Stage;
  readonly #swings = new Map<ChaosNode, NodeJS.Timeout>();
  /** By condition: from which client to which node. */
  readonly #badWays = { "cut off": new Set<string>(), slow: new Set<string>() };
  readonly #passing: Promise<void>[] = [];

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  async inflict(fault: Fault): Promise<void> {
    this.#noteFault(fault);
    if (isAboutClients(fault)) await this.#harmClients(fault);
    else if (isAboutNetwork(fault)) await this.#harmNetwork(fault);
    else if (isAboutClocks(fault))
      await Promise.all(this.#servers(fault).map((node) => this.#setClock(node, fault)));
    else await Promise.all(this.#servers(fault).map((node) => this.#harmServer(node, fault)));
  }

  async passed(): Promise<void> {
    await Promise.all(this.#passing);
  }

  intercept(cue: WireCue): Interception {
    const proxy = this.#handle(cue.client).proxies[cue.node - 1];
    if (proxy === undefined) throw new RangeError(`there is no node ${cue.node}`);
    const bait = baitOf(cue);
    const caught = new Promise<void>((resolve) => proxy.catchNext(bait, resolve));
    return {
      caught,
      release: () => {
        proxy.catchNone();
        proxy.flush(bait.keeps);
      },
    };
  }

  close(): void {
    for (const timer of this.#swings.values()) clearInterval(timer);
  }

  async #harmServer(node: ChaosNode, fault: NodeFault): Promise<void> {
    const name = this.#nameOf(node);
    const { condition, passes, forgets } = factsOf(fault);
    const began = monotonicMs();
    if (condition !== undefined) this.#note(name, condition, true);
    const done = harmNode(node, fault);
    if (passes === undefined) await done;
    else this.#own(done.then(() => this.#note(name, condition ?? "hung", false)));
    if (forgets === "always" || (forgets === "disk" && !this.#stage.hasDisk)) this.#memoryLost(name, began);
    this.#cure(name, fault);
  }

  /** A clock that is just set right is a jump there and back: its server starts anew instead. */
  async #setClock(node: ChaosNode, { do: deed, ms = 0, rate = 1 }: ClockFault): Promise<void> {
    const { clock } = node;
    if (clock === undefined) throw new Error("this server has no clock of its own");
    const name = this.#nameOf(node);
    clearInterval(this.#swings.get(node));
    if (deed === "set the clock right") {
      const began = monotonicMs();
      await node.kill();
      clock.reset();
      await node.start();
      this.#note(name, "clock off", false);
      if (!this.#stage.hasDisk) this.#memoryLost(name, began);
      return;
    }
    this.#note(name, "clock off", true);
    if (deed === "step the clock") clock.step(ms);
    else if (deed === "run the clock at") clock.rate(rate);
    else
      this.#swings.set(
        node,
        swing((sign) => clock.step(sign * ms)),
      );
  }

  async #harmNetwork(fault: NetworkFault): Promise<void> {
    const { condition } = factsOf(fault);
    if (!isForProxies(fault)) return this.#losePackets(fault);
    const clients = fault.clients ?? this.#stage.handles.map((_, index) => index + 1);
    const proxies = clients.flatMap((client) =>
      fault.nodes.flatMap((node) => this.#handle(client).proxies[node - 1] ?? []),
    );
    await Promise.all(proxies.map((proxy) => harmNetwork(proxy, fault)));
    for (const node of fault.nodes) this.#noteWays(`n${node}`, clients, condition);
  }

  async #losePackets(fault: NetworkFault): Promise<void> {
    const percent = fault.do === "lose packets" ? (fault.percent ?? LOST_PERCENT) : 0;
    await Promise.all(this.#servers(fault).map((node) => node.losePackets(percent)));
    for (const node of fault.nodes) this.#note(`n${node}`, "slow", percent > 0);
  }

  /** A node is cut off as long as it is from one client. */
  #noteWays(node: string, clients: readonly number[], condition: Condition | undefined): void {
    for (const each of ["cut off", "slow"] as const) {
      const ways = this.#badWays[each];
      for (const client of clients) {
        if (each === condition) ways.add(`${node} c${client}`);
        else if (condition === undefined) ways.delete(`${node} c${client}`);
      }
      const isOn = this.#stage.handles.some(({ name: client }) => ways.has(`${node} ${client}`));
      this.#note(node, each, isOn);
    }
  }

  async #harmClients(fault: ClientFault): Promise<void> {
    for (const number of fault.clients) await this.#harmClient(this.#handle(number), fault);
  }

  async #harmClient(handle: ClientHandle, fault: ClientFault): Promise<void> {
    const { name } = handle;
    const { condition } = factsOf(fault);
    if (condition !== undefined) this.#note(name, condition, true);
    switch (fault.do) {
      case "stop":
        handle.stop();
        break;
      case "continue":
        handle.continue();
        break;
      case "block": {
        const over = () => this.#note(name, "blocked", false);
        this.#own(handle.call("block", fault.ms ?? 1_000).then(over));
        break;
      }
      case "kill a client":
        await handle.kill();
        this.killed.add(name);
        this.#stage.sightings.gone(name);
        this.#stage.journal.add({ at: monotonicMs(), type: "crashed", client: name });
        break;
      case "start anew":
        await handle.startAnew();
        break;
      case "step a client's clock":
        handle.clock?.step(fault.ms ?? 0);
    }
    this.#cure(name, fault);
  }

  #cure(target: string, fault: Fault): void {
    for (const condition of factsOf(fault).cures ?? []) this.#note(target, condition, false);
  }

  /**
   * Grants nothing before all it may have forgotten has expired, unless the clients trust every node. When exactly it has forgotten,
   * between `began` and now, only itself knows.
   */
  #memoryLost(node: string, began: number): void {
    const { journal, silentMs } = this.#stage;
    if (silentMs === undefined) return;
    const silentUntil = began + silentMs;
    journal.add({ at: monotonicMs(), type: "memory-lost", node, silentUntil });
  }

  #note(target: string, condition: Condition, isOn: boolean): void {
    this.#stage.journal.condition(monotonicMs(), target, condition, isOn);
  }

  #noteFault(fault: Fault): void {
    this.#stage.journal.add({
      at: monotonicMs(),
      type: "fault",
      fault: wordsOf(fault),
      target: targetOf(fault),
    });
  }

  /** What goes on without being waited for, and may fail. */
  #own(work: Promise<void>): void {
    this.#passing.push(work.catch((error: unknown) => this.#stage.failed(String(error))));
  }

  #servers({ nodes }: { readonly nodes: readonly number[] }): ChaosNode[] {
    return nodes.map((number) => {
      const node = this.#stage.servers[number - 1];
      if (node === undefined) throw new RangeError(`there is no node ${number}`);
      return node;
    });
  }

  #nameOf(node: ChaosNode): string {
    return `n${this.#stage.servers.indexOf(node) + 1}`;
  }

  #handle(number: number): ClientHandle {
    const handle = this.#stage.handles[number - 1];
    if (handle === undefined) throw new RangeError(`there is no client ${number}`);
    return handle;
  }
}

/** How it is told from others on the wire: a request by its letter, among those of its call. */
function baitOf(cue: WireCue): Bait {
  if ("hears" in cue) return { mark: /\r\nmessage\r\n/, from: "node", keeps: "down" };
  const letters = { acquire: "aAWX", extend: "eE", release: "rR" }[cue.request];
  const mark = new RegExp(`\\r\\n[aerAWXERL]*[${letters}][aerAWXERL]*\\r\\n`);
  return { mark, from: "client", keeps: cue.moment === "before it arrives" ? "up" : "down" };
}

function swing(step: (sign: number) => void): NodeJS.Timeout {
  let sign = 1;
  return setInterval(
    () => {
      step(sign);
      sign = -sign;
    },
    1_000 / SWINGS_PER_SECOND / 2,
  );
}
