/**
 * A world of real processes: Redis servers, clients that know nothing of each other, and, where a scenario breaks the network, a proxy
 * between every client and every server.
 */
import { randomUUID } from "node:crypto";

import { ResourceState, type ResourceServer, serveResource } from "../client/resource.ts";
import type { NodeSighting } from "../client/terms.ts";
import { type Ability, needsOf } from "../faults.ts";
import { clientOf, Journal } from "../journal.ts";
import { lockerOptionsOf, type PlannedOptions, silentMs } from "../locker-options.ts";
import { monotonicMs } from "../machine/monotonic.ts";
import { sleep } from "../machine/wait-for.ts";
import { startProxy } from "../network/proxy.ts";
import type { Fault, Scenario } from "../scenario.ts";
import { startCluster } from "../servers/cluster.ts";
import { type GivenNode, givenNode, throughPort } from "../servers/given.ts";
import { startNamespaceCluster } from "../servers/namespaces.ts";
import type { ClusterOptions, Servers } from "../servers/server-node.ts";
import type { Interception, WireCue, World } from "../world.ts";
import { ClientHandle } from "./client-handle.ts";
import { FaultInjector, type Stage } from "./fault-injector.ts";
import { Sightings } from "./sightings.ts";

/** A client that does not answer for so long never will. */
const ANSWER_MS = 20_000;
const POLL_MS = 50;

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
  /** URLs of servers that are not ours; undefined where we start our own. */
  readonly #given: readonly GivenNode[] | undefined;
  readonly #start: StartServers;
  #cluster: Servers | undefined;
  #resource: ResourceServer | undefined;
  #handles: ClientHandle[] = [];
  #faults: FaultInjector | undefined;

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
    this.#faults = new FaultInjector(this.#stage());
    // Nobody else knows our own nodes: no lock is outstanding on them. Of others only their operator can say that.
    if (this.#given === undefined) await first?.call("init");
    await this.#everybody("ready");
    await this.#everybody("begin");
  }

  inflict(fault: Fault): Promise<void> {
    return this.#injector.inflict(fault);
  }

  passed(): Promise<void> {
    return this.#injector.passed();
  }

  intercept(cue: WireCue): Interception {
    return this.#injector.intercept(cue);
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
    this.#faults?.close();
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

  #stage(): Stage {
    const { restartGuard } = this.#options;
    return {
      servers: this.#cluster?.nodes ?? [],
      handles: this.#handles,
      journal: this.journal,
      sightings: this.#sightings,
      hasDisk: this.#scenario.cluster?.aof === true,
      silentMs: restartGuard === "trust" ? undefined : silentMs(this.#options),
      failed: (trouble) => void this.troubles.push(trouble),
    };
  }

  get #injector(): FaultInjector {
    if (this.#faults === undefined) throw new Error("the world has not begun");
    return this.#faults;
  }

  #resourceState(): ResourceState {
    return new ResourceState(({ op, key, fence }, isStored) =>
      this.journal.add({ at: this.now(), type: "write", client: clientOf(op), op, key, fence, isStored }),
    );
  }

  async #locksLeft(): Promise<{ node: string; holder: string }[]> {
    const answers = await Promise.all(
      this.#all.map(async (node, index) => ({
        node: this.nodes[index] ?? node.url,
        holder: await node.cli("GET", this.#key),
      })),
    );
    return answers.flatMap(({ node, holder }) =>
      typeof holder === "string" && !this.#injector.killed.has(clientOf(holder)) ? [{ node, holder }] : [],
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
}

function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`);
}
