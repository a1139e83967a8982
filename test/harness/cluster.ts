/**
 * Real redis-servers that can really be killed: processes on loopback ports which stay theirs over restarts, each with a folder of
 * its own, and gone when the test process is, however it ends.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, truncateSync, statSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Redis } from "ioredis";

import { findRedisServer, onPath } from "./redis-binary.ts";
import { sleep } from "./wait-for.ts";

export interface ClusterOptions {
  /** More arguments for every server. */
  readonly args?: readonly string[];
  /** Keep an append-only file, synced every second. */
  readonly aof?: boolean;
}

export interface Cluster extends AsyncDisposable {
  readonly nodes: readonly ServerNode[];
  readonly urls: string[];
  stop(): Promise<void>;
}

const START_TIMEOUT_MS = 10_000;
const PORT_TRIES = 5;
const LOG_CHARACTERS = 4_000;

export async function startCluster(size: number, options: ClusterOptions = {}): Promise<Cluster> {
  const nodes = await Promise.all(Array.from({ length: size }, () => startNode(options)));
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.dispose()));
  };
  return { nodes, urls: nodes.map(({ url }) => url), stop, [Symbol.asyncDispose]: stop };
}

/** Another process may take a port between our asking for it and the server's; then it is tried with another one. */
async function startNode(options: ClusterOptions): Promise<ServerNode> {
  for (let tries = 1; ; tries++) {
    const node = new ServerNode(await freePort(), options);
    try {
      await node.start();
      return node;
    } catch (error) {
      await node.dispose();
      if (tries >= PORT_TRIES || !String(error).includes("in use")) throw error;
    }
  }
}

/** One server. `up` answers, `paused` is stopped by a signal, `dead` has no process. */
export class ServerNode {
  readonly port: number;
  readonly folder: string;
  readonly #options: ClusterOptions;
  #process: ChildProcess | undefined;
  #log = "";
  #state: "up" | "paused" | "dead" = "dead";

  constructor(port: number, options: ClusterOptions) {
    this.port = port;
    this.folder = mkdtempSync(join(tmpdir(), "holdfast-redis-"));
    this.#options = options;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  get state(): "up" | "paused" | "dead" {
    return this.#state;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  async start(): Promise<void> {
    const [command, args] = commandLine(this.port, this.folder, this.#options);
    this.#log = "";
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on(
        "data",
        (chunk: Buffer) => (this.#log = (this.#log + chunk.toString()).slice(-LOG_CHARACTERS)),
      );
    }
    this.#process = child;
    living.add(child);
    child.once("exit", () => living.delete(child));
    await this.#answers(child);
    this.#state = "up";
  }

  /** SIGKILL: no goodbye, nothing flushed. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#state = "dead";
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  /** Kills it if need be, and starts it with what it had on disk. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  async restartEmpty(): Promise<void> {
    await this.kill();
    for (const name of readdirSync(this.folder)) rmSync(join(this.folder, name), { recursive: true });
    await this.start();
  }

  /** What a power failure leaves: an append-only file without its last bytes. */
  async powerLoss(lostBytes = 200): Promise<void> {
    await this.kill();
    const folder = join(this.folder, "appendonlydir");
    for (const name of readdirSync(folder).filter((file) => file.endsWith(".incr.aof"))) {
      const path = join(folder, name);
      truncateSync(path, Math.max(0, statSync(path).size - lostBytes));
    }
    await this.start();
  }

  /** SIGSTOP: connections stay open, the kernel goes on accepting, nothing is answered. */
  pause(): void {
    this.#process?.kill("SIGSTOP");
    this.#state = "paused";
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
    this.#state = "up";
  }

  /** One command over a connection of its own. */
  async cli(command: string, ...args: (string | number)[]): Promise<unknown> {
    const redis = new Redis(this.port, "127.0.0.1", {
      protocol: 2,
      lazyConnect: true,
      retryStrategy: null,
      maxRetriesPerRequest: 0,
    });
    redis.on("error", () => {});
    try {
      await redis.connect();
      return await redis.call(command, ...args);
    } finally {
      redis.disconnect();
    }
  }

  async dispose(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #answers(child: ChildProcess): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    for (;;) {
      if (child.exitCode !== null)
        throw new Error(`redis-server on port ${this.port} ended at once:\n${this.#log}`);
      const answer = await this.cli("PING").catch(() => undefined);
      // The port may be answered by somebody else's server while ours is about to fail on it.
      if (
        answer === "PONG" &&
        (await this.cli("INFO", "server").then((info) => String(info).includes(`process_id:${child.pid}`)))
      )
        return;
      if (performance.now() > deadline)
        throw new Error(`redis-server on port ${this.port} does not answer:\n${this.#log}`);
      await sleep(10);
    }
  }
}

function commandLine(
  port: number,
  folder: string,
  { args = [], aof = false }: ClusterOptions,
): [string, string[]] {
  const persistence = aof ? ["--appendonly", "yes", "--appendfsync", "everysec"] : ["--appendonly", "no"];
  const place = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""];
  const all = [...place, ...persistence, "--enable-debug-command", "local", ...args];
  const setpriv = onPath("setpriv");
  // The kernel ends it with us, even when we are killed and cannot. (The process id stays the same: setpriv execs.)
  return setpriv === undefined
    ? [findRedisServer(), all]
    : [setpriv, ["--pdeathsig", "KILL", "--", findRedisServer(), ...all]];
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

const living = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of living) child.kill("SIGKILL");
});
