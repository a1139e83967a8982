/** One client of a scenario in a real world: its process, its wall clock, and its own way to every node. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { HistoryEvent } from "../../history/history.ts";
import { quorumOf } from "../../quorum/tally.ts";
import type { ClientTerms, NodeSighting } from "../client/terms.ts";
import { removeWhenWeExit } from "../machine/mortality.ts";
import { builtScript, type ClientProcess, spawnClient } from "../machine/processes.ts";
import type { Proxy } from "../network/proxy.ts";
import { clockShimEnv, NodeClock } from "../servers/node-clock.ts";

export interface ClientPlan {
  readonly terms: Omit<ClientTerms, "life" | "quorum" | "nodeNames" | "locker"> & {
    readonly locker: Omit<ClientTerms["locker"], "nodes">;
  };
  /** The nodes as this client reaches them. */
  readonly urls: readonly string[];
  /** One per node, where its network can be broken. */
  readonly proxies: readonly Proxy[];
  readonly hasOwnClock: boolean;
  readonly heard: (event: HistoryEvent) => void;
  readonly saw: (sighting: NodeSighting) => void;
}

export class ClientHandle {
  readonly name: string;
  readonly proxies: readonly Proxy[];
  readonly clock: NodeClock | undefined;
  readonly #plan: ClientPlan;
  readonly #removeClock: () => void;
  #lives = 0;
  #process: ClientProcess;
  /** SIGKILL has hit it, and nothing has started it anew. */
  #isGone = false;

  constructor(plan: ClientPlan) {
    this.#plan = plan;
    this.name = plan.terms.name;
    this.proxies = plan.proxies;
    const folder = plan.hasOwnClock ? mkdtempSync(join(tmpdir(), "holdfast-clock-")) : undefined;
    this.clock = folder === undefined ? undefined : new NodeClock(join(folder, "clock"));
    this.#removeClock = folder === undefined ? () => {} : removeWhenWeExit(folder);
    this.#process = this.#spawn();
  }

  get isAlive(): boolean {
    return !this.#isGone;
  }

  call(method: string, ...args: unknown[]): Promise<unknown> {
    return this.#process.call(method, ...args);
  }

  stop(): void {
    this.#process.pause();
  }

  continue(): void {
    this.#process.resume();
  }

  async kill(): Promise<void> {
    this.#isGone = true;
    await this.#process.kill();
  }

  async startAnew(): Promise<void> {
    await this.#process.kill();
    this.#process = this.#spawn();
    this.#isGone = false;
    await this.call("begin");
  }

  async dispose(): Promise<void> {
    await this.#process.kill();
    await Promise.all(this.proxies.map((proxy) => proxy.close()));
    this.clock?.close();
    this.#removeClock();
  }

  #spawn(): ClientProcess {
    const { terms, urls, heard, saw } = this.#plan;
    const nodeNames = Object.fromEntries(urls.map((url, index) => [new URL(url).host, `n${index + 1}`]));
    const { mode } = terms.locker;
    const all: ClientTerms = {
      ...terms,
      life: ++this.#lives,
      locker: { ...terms.locker, mode, nodes: [...urls] },
      nodeNames,
      quorum: mode === "single" ? 1 : quorumOf(urls.length),
    };
    const env = this.clock === undefined ? {} : clockShimEnv(this.clock.controlFile);
    const script = builtScript("../client/main.ts", import.meta.url);
    const process = spawnClient(script, [JSON.stringify(all)], env);
    process.on("history", (event) => heard(event as HistoryEvent));
    process.on("node", (sighting) => saw(sighting as NodeSighting));
    return process;
  }
}
