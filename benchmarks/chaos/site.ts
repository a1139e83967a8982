/**
 * One library, one cluster, some workers: what every scenario of the comparison starts from. It keeps a record of who said when that it
 * had the lock, and of when a majority of the nodes really had it.
 */
import { Redis } from "ioredis";

import { monotonicMs } from "../../src/chaos/machine/monotonic.ts";
import { type ClientProcess, spawnClient } from "../../src/chaos/machine/processes.ts";
import { sleep, within } from "../../src/chaos/machine/wait-for.ts";
import { type Proxy, startProxy } from "../../src/chaos/network/proxy.ts";
import { type Cluster, startCluster } from "../../src/chaos/servers/cluster.ts";
import { clockShimEnv, NodeClock } from "../../src/chaos/servers/node-clock.ts";
import { quorumOf } from "../../src/quorum/tally.ts";
import type { LibraryName } from "../libraries.ts";
import type { AcquireAnswer, ClaimNews } from "./messages.ts";

export interface Span {
  readonly from: number;
  readonly to: number;
}

/** One contender: its process, its proxies, and what it said. */
export interface Worker {
  readonly client: ClientProcess;
  readonly proxies: readonly Proxy[];
  readonly clock: NodeClock | undefined;
  readonly news: ClaimNews[];
}

export interface SiteOptions {
  readonly nodes: number;
  /** Default 2. */
  readonly workers?: number;
  /** Which workers reach the nodes through proxies of their own; from 0. */
  readonly proxied?: readonly number[];
  /** Which have a wall clock of their own. */
  readonly clocks?: readonly number[];
}

const PRESENCE_POLL_MS = 10;
export const KEY = "compared";

export class Site {
  readonly library: LibraryName;
  readonly cluster: Cluster;
  readonly workers: readonly Worker[];
  readonly began: number = monotonicMs();
  /** What the nodes had under the lock's key: polled. */
  readonly presence: { readonly at: number; readonly values: readonly string[] }[] = [];
  readonly #watchers: readonly Redis[];
  #isWatching = true;
  /** What the watching itself asks of the nodes. */
  #looks = 0;
  #watching: Promise<void> | undefined;

  private constructor(library: LibraryName, cluster: Cluster, workers: readonly Worker[]) {
    this.library = library;
    this.cluster = cluster;
    this.workers = workers;
    this.#watchers = cluster.nodes.map(({ port }) => watcher(port));
  }

  static async open(library: LibraryName, options: SiteOptions): Promise<Site> {
    const cluster = await startCluster(library === "holdfast single" ? 1 : options.nodes);
    const count = options.workers ?? 2;
    const indexes = Array.from({ length: count }, (_, index) => index);
    const workers = await Promise.all(indexes.map((index) => startWorker(index, library, cluster, options)));
    const site = new Site(library, cluster, workers);
    await site.#warm();
    return site;
  }

  get quorum(): number {
    return quorumOf(this.cluster.nodes.length);
  }

  worker(index: number): Worker {
    const worker = this.workers[index];
    if (worker === undefined) throw new RangeError(`there is no worker ${index}`);
    return worker;
  }

  /** Undefined when it did not settle in time. */
  async acquire(
    index: number,
    ttlMs: number,
    { automatic = false, withinMs }: { automatic?: boolean; withinMs: number },
  ): Promise<AcquireAnswer | undefined> {
    const call = this.worker(index).client.call("acquire", KEY, ttlMs, automatic) as Promise<AcquireAnswer>;
    call.catch(() => {});
    return within(call, withinMs);
  }

  /** From now on: how many nodes have the key. */
  async watch(): Promise<void> {
    const key = String(await this.worker(0).client.call("redisKey", KEY));
    this.#watching = this.#look(key);
  }

  /** What most nodes have under the key now: whose lock it is. */
  holder(): string | undefined {
    return majorityOf(this.presence.at(-1)?.values ?? [], this.quorum);
  }

  /** When a majority had this holder last, of what was polled. */
  lastMajorityAt(holder: string | undefined): number | undefined {
    return this.presence.findLast(({ values }) => majorityOf(values, this.quorum) === holder)?.at;
  }

  /** When any node had anything last. */
  lastPresentAt(): number | undefined {
    return this.presence.findLast(({ values }) => values.length > 0)?.at;
  }

  /** Asks again and again until it has the lock, or the time is over. */
  async contend(index: number, ttlMs: number, withinMs: number): Promise<void> {
    const end = monotonicMs() + withinMs;
    for (let left = withinMs; left > 0; left = end - monotonicMs()) {
      const answer = await this.acquire(index, ttlMs, { withinMs: left });
      if (answer === undefined || answer.isHeld) return;
      await sleep(CONTEND_PAUSE_MS);
    }
  }

  /** Of the workers, on all nodes: without what this process asks itself. */
  async commands(): Promise<number> {
    const infos = await Promise.all(this.cluster.nodes.map((node) => node.cli("INFO", "stats")));
    const all = infos.reduce<number>(
      (sum, info) => sum + Number(/total_commands_processed:(\d+)/.exec(String(info))?.[1]),
      0,
    );
    return all - this.#looks;
  }

  async close(): Promise<void> {
    this.#isWatching = false;
    for (const redis of this.#watchers) redis.disconnect();
    await this.#watching;
    await Promise.all(this.workers.map(({ client }) => client.kill()));
    await Promise.all(this.workers.flatMap(({ proxies }) => proxies.map((proxy) => proxy.close())));
    for (const { clock } of this.workers) clock?.close();
    await this.cluster.stop();
  }

  /** Every library has its connections and scripts ready before anything is measured; new nodes have no locks, which holdfast is told. */
  async #warm(): Promise<void> {
    await this.worker(0).client.call("prepare");
    for (const index of this.workers.keys()) await this.#acquireAndRelease(index);
    for (const { news } of this.workers) news.length = 0;
  }

  async #acquireAndRelease(index: number): Promise<void> {
    const answer = await this.acquire(index, WARM_TTL_MS, { withinMs: WARM_MS });
    if (answer?.isHeld !== true) throw new Error(`${this.library} cannot acquire on healthy nodes`);
    await this.worker(index).client.call("release");
  }

  async #look(key: string): Promise<void> {
    while (this.#isWatching) {
      this.#looks += this.#watchers.length;
      const found = await Promise.all(this.#watchers.map((redis) => valueOf(redis, key)));
      this.presence.push({ at: monotonicMs(), values: found.flatMap((value) => value ?? []) });
      await sleep(PRESENCE_POLL_MS);
    }
  }
}

const WARM_TTL_MS = 10_000;
const WARM_MS = 20_000;
const ANSWER_MS = 100;
const CONTEND_PAUSE_MS = 20;

function watcher(port: number): Redis {
  const redis = new Redis(port, "127.0.0.1", {
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    protocol: 2,
  });
  return redis.on("error", () => {});
}

/** A node that does not answer has nothing that anybody could find. */
async function valueOf(redis: Redis, key: string): Promise<string | undefined> {
  const asked = redis.get(key).then(
    (value) => value ?? undefined,
    () => undefined,
  );
  return within(asked, ANSWER_MS);
}

/** The value that so many nodes share. */
export function majorityOf(values: readonly string[], quorum: number): string | undefined {
  return values.find((value) => values.filter((other) => other === value).length >= quorum);
}

async function startWorker(
  index: number,
  library: LibraryName,
  cluster: Cluster,
  { proxied = [], clocks = [] }: SiteOptions,
): Promise<Worker> {
  const proxies = proxied.includes(index)
    ? await Promise.all(cluster.nodes.map(({ port }) => startProxy(port)))
    : [];
  const clock = clocks.includes(index)
    ? new NodeClock(`${cluster.nodes[0]?.dataFolder}-clock-${index}`)
    : undefined;
  const urls = proxies.length > 0 ? proxies.map(({ url }) => url) : cluster.urls;
  const script = new URL("./worker.js", import.meta.url).pathname;
  const env = clock === undefined ? {} : clockShimEnv(clock.controlFile);
  const client = spawnClient(script, [library, JSON.stringify(urls)], env);
  const news: ClaimNews[] = [];
  client.on("claim", (said) => news.push(said as ClaimNews));
  return { client, proxies, clock, news };
}

/** When a worker had the lock, by its library's own word. */
export function claimsOf({ news }: Worker, end: number): Span[] {
  const spans: Span[] = [];
  let from: number | undefined;
  for (const { at, isHeld } of news) {
    if (isHeld) from = at;
    else if (from !== undefined) {
      spans.push({ from, to: at });
      from = undefined;
    }
  }
  if (from !== undefined) spans.push({ from, to: end });
  return spans;
}

/** For how long two said at once that they had it. */
export function overlapOf(some: readonly Span[], others: readonly Span[]): number {
  let sum = 0;
  for (const one of some)
    for (const other of others)
      sum += Math.max(0, Math.min(one.to, other.to) - Math.max(one.from, other.from));
  return sum;
}
