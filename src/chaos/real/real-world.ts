/**
 * A world of real processes: Redis servers, clients that know nothing of each other, and, where a scenario breaks the network, a proxy
 * between every client and every server.
 */
import { randomUUID } from "node:crypto";

import type { Condition } from "../../history/history.ts";
import { ResourceState, type ResourceServer, serveResource } from "../client/resource.ts";
import type { NodeSighting } from "../client/terms.ts";
import {
  type Ability,
  factsOf,
  isAboutClients,
  isAboutClocks,
  isAboutNetwork,
  needsOf,
  targetOf,
  wordsOf,
} from "../faults.ts";
import { clientOf, Journal } from "../journal.ts";
import { lockerOptionsOf, type PlannedOptions, silentMs } from "../locker-options.ts";
import { monotonicMs } from "../machine/monotonic.ts";
import { sleep } from "../machine/wait-for.ts";
import { type Bait, startProxy } from "../network/proxy.ts";
import type { ClientFault, ClockFault, Fault, NetworkFault, NodeFault, Scenario } from "../scenario.ts";
import { startCluster } from "../servers/cluster.ts";
import { type GivenNode, givenNode, throughPort } from "../servers/given.ts";
import { startNamespaceCluster } from "../servers/namespaces.ts";
import type { ChaosNode, ClusterOptions, Servers } from "../servers/server-node.ts";
import type { Interception, WireCue, World } from "../world.ts";
import { ClientHandle } from "./client-handle.ts";
import { harmNetwork, isForProxies } from "./network-harm.ts";
import { harmNode } from "./node-harm.ts";
import { Sightings } from "./sightings.ts";

/** A client that does not answer for so long never will. */
const ANSWER_MS = 20_000;
const SWINGS_PER_SECOND = 5;
const POLL_MS = 50;
const LOST_PERCENT = 10;

export type StartServers = (size: number, options: ClusterOptions) => Promise<Servers>;

export interface RealWorldOptions {
  /** Of nodes that exist and are not ours; by default servers are started. */
  readonly urls?: readonly string[] | undefined;
  /** Default: as processes of this machine, on hosts of their own where packets are to be lost. */
  readonly start?: StartServers | undefined;
}

export class RealWorld implements World {
  readonly nodes: readonly string[];
  readonly clients: readonly string[];
  readonly journal: Journal = new Journal();
  readonly troubles: string[] = [];
  readonly #scenario: Scenario;
  readonly #seed: string;
  readonly #needs: ReadonlySet<Ability>;
  readonly #options: PlannedOptions;
  readonly #key: string;
  readonly #sightings: Sightings = new Sightings(this.journal, monotonicMs);
  readonly #swings = new Map<ChaosNode, NodeJS.Timeout>();
  /** By condition: from which client to which node. */
  readonly #badWays = { "cut off": new Set<string>(), slow: new Set<string>() };
  /** Whoever was killed could give nothing back. */
  readonly #killed = new Set<string>();
  /** URLs of servers that are not ours; undefined where we start our own. */
  readonly #given: readonly GivenNode[] | undefined;
  readonly #start: StartServers;
  #cluster: Servers | undefined;
  readonly #passing: Promise<void>[] = [];
  #resource: ResourceServer | undefined;
  #handles: ClientHandle[] = [];

  constructor(scenario: Scenario, seed: string, { urls, start }: RealWorldOptions = {}) {
    this.#scenario = scenario;
    this.#seed = seed;
    this.#needs = needsOf(scenario);
    this.#options = lockerOptionsOf(scenario.locker);
    this.#key = `chaos:${scenario.name}:${randomUUID()}`;
    this.#given = urls?.map(givenNode);
    this.#start = start ?? (this.#needs.has("lose packets") ? startNamespaceCluster : startCluster);
    this.nodes = numbered("n", urls?.length ?? scenario.cluster?.nodes ?? 3);
    this.clients = numbered("c", scenario.work.clients ?? 3);
  }

  now(): number {
    return monotonicMs();
  }

  sleep(ms: number): Promise<void> {
    return sleep(ms);
  }

  run<T>(work: Promise<T>): Promise<T> {
    return work;
  }

  async begin(): Promise<void> {
    if (this.#given === undefined) this.#cluster = await this.#startServers();
    this.#resource = await serveResource(this.#resourceState());
    this.#handles = await Promise.all(this.clients.map((name, index) => this.#client(name, index + 1)));
    const [first] = this.#handles;
    // Nobody else knows our own nodes: no lock is outstanding on them. Of others only their operator can say that.
    if (this.#given === undefined) await first?.call("init");
    await this.#everybody("ready");
    await this.#everybody("begin");
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

  rest(): Promise<void> {
    return this.#everybody("end");
  }

  confirm(waitMs: number): Promise<void> {
    return this.#within(waitMs + ANSWER_MS, "confirm", waitMs);
  }

  async settle(waitMs: number): Promise<void> {
    const end = this.now() + waitMs;
    let left = await this.#locksLeft();
    while (left.length > 0 && this.now() < end) {
      await this.sleep(POLL_MS);
      left = await this.#locksLeft();
    }
    for (const { node, holder } of left)
      this.journal.add({ at: this.now(), type: "left-behind", node, key: this.#key, holder });
  }

  async close(): Promise<void> {
    for (const timer of this.#swings.values()) clearInterval(timer);
    await this.#everybody("close").catch(() => {});
    await Promise.all(this.#handles.map((handle) => handle.dispose()));
    this.#resource?.close();
    await this.#cluster?.stop();
  }

  #startServers(): Promise<Servers> {
    const { aof = false, args = [] } = this.#scenario.cluster ?? {};
    const clockShim = this.#needs.has("set clocks of servers");
    return this.#start(this.nodes.length, { aof, args, clockShim });
  }

  /** Ours or given. */
  get #all(): readonly GivenNode[] {
    return this.#given ?? this.#cluster?.nodes ?? [];
  }

  async #client(name: string, number: number): Promise<ClientHandle> {
    const { mode, ttlMs, maxTtlMs, clockWindowMs, nodeTimeoutMs, restartGuard } = this.#options;
    const nodes = this.#all;
    const proxies = this.#needs.has("break connections")
      ? await Promise.all(nodes.map(({ port, host }) => startProxy(port, host)))
      : [];
    const locker = { mode, ttlMs, maxTtlMs, clockWindowMs, nodeTimeoutMs, restartGuard, owner: name };
    const { work } = this.#scenario;
    const resource = this.#resource?.url ?? "";
    return new ClientHandle({
      terms: { name, number, seed: this.#seed, key: this.#key, locker, resource, work },
      urls: nodes.map(({ url }, index) => {
        const proxy = proxies[index];
        return proxy === undefined ? url : throughPort(url, proxy.port);
      }),
      proxies,
      hasOwnClock: this.#needs.has("set clocks of clients"),
      heard: (event) => this.journal.add(event),
      saw: (sighting: NodeSighting) => this.#sightings.saw(name, sighting),
    });
  }

  #resourceState(): ResourceState {
    return new ResourceState(({ op, key, fence }, isStored) =>
      this.journal.add({ at: this.now(), type: "write", client: clientOf(op), op, key, fence, isStored }),
    );
  }

  async #harmServer(node: ChaosNode, fault: NodeFault): Promise<void> {
    const name = this.#nameOf(node);
    const { condition, passes, forgets } = factsOf(fault);
    const began = this.now();
    if (condition !== undefined) this.journal.condition(began, name, condition, true);
    const done = harmNode(node, fault);
    if (passes === undefined) await done;
    else this.#own(done.then(() => this.journal.condition(this.now(), name, condition ?? "hung", false)));
    if (forgets === "always" || (forgets === "disk" && this.#scenario.cluster?.aof !== true))
      this.#memoryLost(name, began);
    this.#cure(name, fault);
  }

  /** A clock that is just set right is a jump there and back: its server starts anew instead. */
  async #setClock(node: ChaosNode, { do: deed, ms = 0, rate = 1 }: ClockFault): Promise<void> {
    const { clock } = node;
    if (clock === undefined) throw new Error("this server has no clock of its own");
    const name = this.#nameOf(node);
    clearInterval(this.#swings.get(node));
    if (deed === "set the clock right") {
      const began = this.now();
      await node.kill();
      clock.reset();
      await node.start();
      this.journal.condition(this.now(), name, "clock off", false);
      if (this.#scenario.cluster?.aof !== true) this.#memoryLost(name, began);
      return;
    }
    this.journal.condition(this.now(), name, "clock off", true);
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
    const clients = fault.clients ?? this.#handles.map((_, index) => index + 1);
    const proxies = clients.flatMap((client) =>
      fault.nodes.flatMap((node) => this.#handle(client).proxies[node - 1] ?? []),
    );
    await Promise.all(proxies.map((proxy) => harmNetwork(proxy, fault)));
    for (const node of fault.nodes) this.#noteWays(`n${node}`, clients, condition);
  }

  async #losePackets(fault: NetworkFault): Promise<void> {
    const percent = fault.do === "lose packets" ? (fault.percent ?? LOST_PERCENT) : 0;
    await Promise.all(this.#servers(fault).map((node) => node.losePackets(percent)));
    for (const node of fault.nodes) this.journal.condition(this.now(), `n${node}`, "slow", percent > 0);
  }

  /** A node is cut off as long as it is from one client. */
  #noteWays(node: string, clients: readonly number[], condition: Condition | undefined): void {
    for (const each of ["cut off", "slow"] as const) {
      const ways = this.#badWays[each];
      for (const client of clients) {
        if (each === condition) ways.add(`${node} c${client}`);
        else if (condition === undefined) ways.delete(`${node} c${client}`);
      }
      const isOn = this.clients.some((client) => ways.has(`${node} ${client}`));
      this.journal.condition(this.now(), node, each, isOn);
    }
  }

  async #harmClients(fault: ClientFault): Promise<void> {
    for (const number of fault.clients) await this.#harmClient(this.#handle(number), fault);
  }

  async #harmClient(handle: ClientHandle, fault: ClientFault): Promise<void> {
    const { name } = handle;
    const { condition } = factsOf(fault);
    if (condition !== undefined) this.journal.condition(this.now(), name, condition, true);
    switch (fault.do) {
      case "stop":
        handle.stop();
        break;
      case "continue":
        handle.continue();
        break;
      case "block": {
        const over = () => this.journal.condition(this.now(), name, "blocked", false);
        this.#own(handle.call("block", fault.ms ?? 1_000).then(over));
        break;
      }
      case "kill a client":
        await handle.kill();
        this.#killed.add(name);
        this.#sightings.gone(name);
        this.journal.add({ at: this.now(), type: "crashed", client: name });
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
    for (const condition of factsOf(fault).cures ?? [])
      this.journal.condition(this.now(), target, condition, false);
  }

  /**
   * Grants nothing before all it may have forgotten has expired, unless the clients trust every node. When exactly it has forgotten,
   * between `began` and now, only itself knows.
   */
  #memoryLost(node: string, began: number): void {
    if (this.#options.restartGuard === "trust") return;
    const silentUntil = began + silentMs(this.#options);
    this.journal.add({ at: this.now(), type: "memory-lost", node, silentUntil });
  }

  #noteFault(fault: Fault): void {
    this.journal.add({ at: this.now(), type: "fault", fault: wordsOf(fault), target: targetOf(fault) });
  }

  async #locksLeft(): Promise<{ node: string; holder: string }[]> {
    const answers = await Promise.all(
      this.#all.map(async (node, index) => ({
        node: this.nodes[index] ?? node.url,
        holder: await node.cli("GET", this.#key),
      })),
    );
    return answers.flatMap(({ node, holder }) =>
      typeof holder === "string" && !this.#killed.has(clientOf(holder)) ? [{ node, holder }] : [],
    );
  }

  #everybody(method: string): Promise<void> {
    return this.#within(ANSWER_MS, method);
  }

  async #within(limitMs: number, method: string, ...args: unknown[]): Promise<void> {
    const living = this.#handles.filter(({ isAlive }) => isAlive);
    await Promise.all(living.map((handle) => this.#ask(handle, limitMs, method, args)));
  }

  async #ask(handle: ClientHandle, limitMs: number, method: string, args: readonly unknown[]): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new Error(`${handle.name} gave no answer to "${method}" within ${limitMs} ms`);
      timer = setTimeout(() => reject(error), limitMs);
    });
    try {
      await Promise.race([handle.call(method, ...args), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What goes on without being waited for, and may fail. */
  #own(work: Promise<void>): void {
    this.#passing.push(work.catch((error: unknown) => void this.troubles.push(String(error))));
  }

  #servers({ nodes }: { readonly nodes: readonly number[] }): ChaosNode[] {
    return nodes.map((number) => {
      const node = this.#cluster?.nodes[number - 1];
      if (node === undefined) throw new RangeError(`there is no node ${number}`);
      return node;
    });
  }

  #nameOf(node: ChaosNode): string {
    return this.nodes[this.#cluster?.nodes.indexOf(node) ?? -1] ?? node.url;
  }

  #handle(number: number): ClientHandle {
    const handle = this.#handles[number - 1];
    if (handle === undefined) throw new RangeError(`there is no client ${number}`);
    return handle;
  }
}

function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`);
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
