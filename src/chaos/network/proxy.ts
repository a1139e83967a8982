/**
 * A bad network in front of one server, without root: a TCP proxy that can delay, keep, swallow and cut up what passes, each direction
 * on its own. Clients connect to it instead of to the server; a test that gives every client its own proxies gives every client its
 * own view of the network.
 */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";

import type { Cluster } from "../servers/cluster.ts";
import { freePort } from "../machine/ports.ts";
import { Link } from "./proxy-link.ts";
import { harmlessRules, type Lane, type LaneRules } from "./proxy-lane.ts";

export type Proxy = FaultProxy;

/** `up` is from the client to the server. */
type Direction = "up" | "down" | "both";

export async function startProxy(targetPort: number, targetHost = "127.0.0.1"): Promise<Proxy> {
  const proxy = new FaultProxy(await freePort(), { port: targetPort, host: targetHost });
  await proxy.refuse(false);
  return proxy;
}

/** One proxy in front of each node, in the order of the nodes. */
export function proxied(cluster: Cluster): Promise<Proxy[]> {
  return Promise.all(cluster.nodes.map(({ port, host }) => startProxy(port, host)));
}

class FaultProxy implements AsyncDisposable {
  readonly port: number;
  readonly url: string;
  readonly #rules = { up: harmlessRules(), down: harmlessRules() };
  #target: { readonly port: number; readonly host: string };
  readonly #links = new Set<Link>();
  /** Connected to the proxy and, behind a black hole, to nothing. */
  readonly #lost = new Set<Socket>();
  #server: Server | undefined;
  #blackhole = false;
  #ambush: Ambush | undefined;
  #catch: Catch | undefined;

  constructor(port: number, target: { readonly port: number; readonly host: string }) {
    this.port = port;
    this.url = `redis://127.0.0.1:${port}`;
    this.#target = target;
  }

  get connections(): number {
    return this.#links.size + this.#lost.size;
  }

  /** What passes from now on arrives later by `ms` and up to `jitterMs`, in its order. */
  delay(ms: number, direction?: Direction): void;
  delay(ms: number, jitterMs: number, direction?: Direction): void;
  delay(ms: number, second: number | Direction = 0, third: Direction = "both"): void {
    const [jitterMs, direction] = typeof second === "number" ? [second, third] : [0, second];
    this.#change(direction, { delayMs: ms, jitterMs });
  }

  /** Keeps what passes until `flush` or `pass`. */
  hold(direction: Direction = "both"): void {
    this.#change(direction, { holding: true });
  }

  /** Delivers what was kept, and keeps nothing any more. */
  flush(direction: Direction = "both"): void {
    this.#change(direction, { holding: false });
    for (const lane of this.#lanes(direction)) lane.flush();
  }

  /** Swallows what passes until `pass`, which resets the connections that lost something. */
  drop(direction: Direction = "both"): void {
    this.#change(direction, { dropping: true });
  }

  /** Sends everything in pieces of so many bytes. */
  chunk(bytes: number): void {
    this.#change("both", { chunkBytes: bytes });
  }

  /** New connections lead to another server, as behind a name or a virtual address that moves; those that exist are reset. */
  leadTo(port: number, host = "127.0.0.1"): void {
    this.#target = { port, host };
    this.cut();
  }

  /** Resets all connections. What has reached the server is executed all the same. */
  cut(): void {
    for (const link of this.#links) link.reset();
    for (const socket of this.#lost) socket.resetAndDestroy();
  }

  /**
   * Once: the next reply is swallowed and its client's connection reset, so that the command is executed and unanswered. With
   * `request`, it is the next reply after a request that contains these words.
   */
  cutBeforeReply(request?: string): void {
    this.#ambush = { request, link: undefined };
  }

  /** Once: when the bait is taken, what goes that way is kept back from then on, and `caught` is called. `flush` lets it go on. */
  catchNext(bait: Bait, caught: () => void): void {
    this.#catch = { bait, caught };
  }

  /** Does not wait for it any more. */
  catchNone(): void {
    this.#catch = undefined;
  }

  /** No new connections (ECONNREFUSED). Those that exist live on. */
  async refuse(on: boolean): Promise<void> {
    if (on) {
      this.#server?.close();
      this.#server = undefined;
      return;
    }
    if (this.#server !== undefined) return;
    const server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
    this.#server = server.listen(this.port, "127.0.0.1");
    await once(server, "listening");
  }

  /** Nothing passes either way, and new connections, though accepted, reach nobody. */
  blackhole(on: boolean): void {
    this.#blackhole = on;
    if (on) this.drop();
    else this.#heal();
  }

  /** A good network again. Connections that lost something are reset; a refusing proxy listens again in a moment. */
  pass(): void {
    this.#blackhole = false;
    this.#ambush = undefined;
    this.#catch = undefined;
    this.#change("both", harmlessRules());
    this.#heal();
    this.flush();
    // Fails only if somebody else took the port, and then the run should.
    void this.refuse(false);
  }

  async close(): Promise<void> {
    const server = this.#server;
    const closed = server === undefined ? undefined : once(server, "close");
    await this.refuse(true);
    for (const link of this.#links) link.destroy();
    for (const socket of this.#lost) socket.destroy();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #accept(client: Socket): void {
    if (this.#blackhole) {
      this.#lost.add(client);
      client.on("error", () => {}).on("close", () => this.#lost.delete(client));
      client.on("end", () => client.destroy()).resume();
      return;
    }
    const link: Link = new Link(
      client,
      {
        ...this.#rules,
        target: this.#target,
        onRequest: (bytes, from) => this.#watch(bytes, from),
        intercepts: (bytes, from) => {
          this.#bite("node", bytes);
          return this.#springs(from);
        },
      },
      () => this.#links.delete(link),
    );
    this.#links.add(link);
  }

  #watch(bytes: Buffer, link: Link): void {
    this.#bite("client", bytes);
    const { request } = this.#ambush ?? {};
    if (request !== undefined && bytes.includes(request)) this.#ambush = { request, link };
  }

  #bite(from: Bait["from"], bytes: Buffer): void {
    if (this.#catch?.bait.from !== from) return;
    const { bait, caught } = this.#catch;
    if (!bait.mark.test(bytes.toString("latin1"))) return;
    this.#catch = undefined;
    this.hold(bait.keeps);
    caught();
  }

  #springs(link: Link): boolean {
    const ambush = this.#ambush;
    if (ambush === undefined || (ambush.request !== undefined && ambush.link !== link)) return false;
    this.#ambush = undefined;
    return true;
  }

  #heal(): void {
    this.#change("both", { dropping: false });
    for (const link of this.#links) if (link.up.broken || link.down.broken) link.reset();
    for (const socket of this.#lost) socket.resetAndDestroy();
  }

  #change(direction: Direction, rules: Partial<LaneRules>): void {
    if (direction !== "down") Object.assign(this.#rules.up, rules);
    if (direction !== "up") Object.assign(this.#rules.down, rules);
  }

  #lanes(direction: Direction): Lane[] {
    return [...this.#links].flatMap(({ up, down }) =>
      direction === "both" ? [up, down] : [direction === "up" ? up : down],
    );
  }
}

/** A message with this mark, and the way that is kept back with it: its own, or that of its reply. */
export interface Bait {
  readonly mark: RegExp;
  readonly from: "client" | "node";
  readonly keeps: "up" | "down";
}

interface Catch {
  readonly bait: Bait;
  readonly caught: () => void;
}

interface Ambush {
  readonly request: string | undefined;
  /** The connection on which that request was seen. */
  readonly link: Link | undefined;
}
