/**
 * A network that fails in chosen ways: a TCP proxy before one server, which can hold, swallow or delay either direction, and cut a
 * connection between the execution of a request and its reply. Bytes keep their order.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

import type { Cluster } from "./cluster.ts";

/** `up`: from the client to the server. */
export type Direction = "up" | "down";

export interface Proxy {
  readonly port: number;
  readonly url: string;
  readonly connections: number;
  /** Everything that passes takes this long. */
  delay(ms: number, direction?: Direction): void;
  /** Keeps what arrives; `pass` delivers it. As a partition does whose packets are sent again after it heals. */
  hold(direction?: Direction): void;
  /** Swallows what arrives from now on. A connection that has lost bytes is useless afterwards: end it with `cut`. */
  drop(direction?: Direction): void;
  /** The next reply is swallowed and its connection reset: executed, and never told. */
  cutBeforeReply(): void;
  /** Resets all connections. */
  cut(): void;
  /** As at the beginning; what was held is delivered. */
  pass(): void;
  close(): Promise<void>;
}

type Mode = { readonly kind: "pass" | "hold" | "drop" } | { readonly kind: "delay"; readonly ms: number };

const PASS: Mode = { kind: "pass" };

export async function startProxy(targetPort: number): Promise<Proxy> {
  const modes: Record<Direction, Mode> = { up: PASS, down: PASS };
  const pairs = new Set<readonly [Pipe, Pipe]>();
  let isCutting = false;

  const server = createServer((client) => {
    const target = connect(targetPort, "127.0.0.1");
    for (const socket of [client, target]) socket.setNoDelay(true).on("error", () => {});
    const onReply = () => {
      if (!isCutting) return true;
      isCutting = false;
      client.resetAndDestroy();
      return false;
    };
    const pair = [
      new Pipe(client, target, () => modes.up),
      new Pipe(target, client, () => modes.down, onReply),
    ] as const;
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      target.destroy();
    };
    client.on("close", end);
    target.on("close", end);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;

  const set = (mode: Mode, direction?: Direction) => {
    for (const each of direction === undefined ? (["up", "down"] as const) : [direction]) modes[each] = mode;
    for (const pair of pairs) for (const pipe of pair) pipe.flush();
  };
  const cut = () => {
    for (const pair of pairs) for (const pipe of pair) pipe.reset();
  };
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    get connections() {
      return pairs.size;
    },
    delay: (ms, direction) => set({ kind: "delay", ms }, direction),
    hold: (direction) => set({ kind: "hold" }, direction),
    drop: (direction) => set({ kind: "drop" }, direction),
    cutBeforeReply: () => void (isCutting = true),
    cut,
    pass: () => set(PASS),
    close: async () => {
      server.close();
      for (const pair of pairs) for (const pipe of pair) pipe.destroy();
      await once(server, "close");
    },
  };
}

/** One proxy before every node. */
export function proxied(cluster: Cluster): Promise<Proxy[]> {
  return Promise.all(cluster.nodes.map(({ port }) => startProxy(port)));
}

/** One direction of one connection. */
class Pipe {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #mode: () => Mode;
  readonly #held: Buffer[] = [];
  #delayed = 0;

  constructor(from: Socket, to: Socket, mode: () => Mode, isPassed: () => boolean = () => true) {
    this.#from = from;
    this.#to = to;
    this.#mode = mode;
    from.on("data", (bytes: Buffer) => {
      if (isPassed()) this.#take(bytes);
    });
  }

  flush(): void {
    if (this.#mode().kind !== "hold") for (const bytes of this.#held.splice(0)) this.#to.write(bytes);
  }

  reset(): void {
    this.#from.resetAndDestroy();
  }

  destroy(): void {
    this.#from.destroy();
  }

  #take(bytes: Buffer): void {
    const mode = this.#mode();
    if (mode.kind === "drop") return;
    if (mode.kind === "hold") return void this.#held.push(bytes);
    const delayMs = mode.kind === "delay" ? mode.ms : 0;
    // What comes after delayed bytes must not overtake them.
    if (delayMs === 0 && this.#delayed === 0) return void this.#to.write(bytes);
    this.#delayed++;
    setTimeout(() => {
      this.#delayed--;
      if (!this.#to.destroyed) this.#to.write(bytes);
    }, delayMs);
  }
}
