/**
 * One real redis-server that can really be killed, stopped and robbed of its data. It keeps its port and its folder over restarts and
 * is gone when the test process is, however that one ends.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Redis } from "ioredis";

import { diesWithUs, hasEnded, killWhenWeExit, removeWhenWeExit } from "../machine/mortality.ts";
import { CLI_TIMEOUT_MS, connectedTo, type DumpedKey, dumpOf } from "./connected.ts";
import { clockShimEnv, NodeClock } from "./node-clock.ts";
import { findRedisServer } from "./redis-binary.ts";
import { sleep } from "../machine/wait-for.ts";

export interface ClusterOptions {
  /** More arguments for every server. */
  readonly args?: readonly string[];
  /** Keep an append-only file, synced every second. */
  readonly aof?: boolean;
  /** Give every server a wall clock of its own: `node.clock`. */
  readonly clockShim?: boolean;
}

/** Where a server runs: here, or on a host of its own. */
export interface ServerPlace {
  readonly host: string;
  /** The command line that runs this one there; its process id must be the program's. */
  readonly enter: (program: string, args: readonly string[]) => [string, string[]];
  /** Of all packets from and to this host, lose so many of 100; 0 heals. */
  readonly losePackets?: (percent: number) => Promise<void>;
}

const HERE: ServerPlace = { host: "127.0.0.1", enter: (program, args) => [program, [...args]] };

/** `up` answers, `paused` is stopped by a signal, `dead` has no process. */
export type ServerState = "up" | "paused" | "dead";

const START_TIMEOUT_MS = 10_000;
const LOG_CHARACTERS = 4_000;

/** A server of a scenario, of whatever kind: a process here, one on a host of its own, a container. */
export type ChaosNode = Pick<ServerNode, Exclude<keyof ServerNode, "pause" | "resume">> & {
  /** Containers are paused by asking somebody. */
  pause(): void | Promise<void>;
  resume(): void | Promise<void>;
};

/** Servers that were started together, and stop together. */
export interface Servers {
  readonly nodes: readonly ChaosNode[];
  stop(): Promise<void>;
}

export class ServerNode {
  readonly port: number;
  readonly host: string;
  readonly url: string;
  /** The wall clock of the server's machine, so to speak: restarts do not set it right. */
  readonly clock: NodeClock | undefined;
  /** What `cli` authenticates with. A restart forgets a password set by command, and this one with it. */
  password: string | undefined;
  readonly #folder: string;
  readonly #removeFolder: () => void;
  readonly #options: ClusterOptions;
  readonly #place: ServerPlace;
  #process: ChildProcess | undefined;
  #paused = false;
  #log = "";

  constructor(port: number, options: ClusterOptions, place: ServerPlace = HERE) {
    this.port = port;
    this.host = place.host;
    this.#place = place;
    this.url = `redis://${place.host}:${port}`;
    this.#options = options;
    this.#folder = mkdtempSync(join(tmpdir(), "holdfast-redis-"));
    this.#removeFolder = removeWhenWeExit(this.#folder);
    mkdirSync(this.dataFolder);
    // Beside the data, which restartEmpty wipes: the running server has the file mapped.
    if (options.clockShim === true) this.clock = new NodeClock(join(this.#folder, "clock"));
  }

  get dataFolder(): string {
    return join(this.#folder, "data");
  }

  get #snapshotFolder(): string {
    return join(this.#folder, "snapshot");
  }

  get state(): ServerState {
    if (this.#process === undefined || hasEnded(this.#process)) return "dead";
    return this.#paused ? "paused" : "up";
  }

  get pid(): number | undefined {
    return this.state === "dead" ? undefined : this.#process?.pid;
  }

  /** The last words of the server, for error messages. */
  get log(): string {
    return this.#log;
  }

  async start(): Promise<void> {
    if (this.state !== "dead") throw new Error(`the server on port ${this.port} is already running`);
    const [command, args] = diesWithUs(...this.#place.enter(findRedisServer(), this.#arguments()));
    const env = this.clock === undefined ? {} : clockShimEnv(this.clock.controlFile);
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    this.#process = child;
    this.#paused = false;
    this.password = passwordOf(this.#options.args);
    this.#log = "";
    const listen = (chunk: unknown): void => {
      this.#log = (this.#log + String(chunk)).slice(-LOG_CHARACTERS);
    };
    child.stdout.on("data", listen);
    child.stderr.on("data", listen);
    child.on("error", listen);
    killWhenWeExit(child);
    await this.#answers(child);
  }

  /** SIGKILL: no goodbye, nothing flushed. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === undefined || hasEnded(child)) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  /** Kills it if need be, and starts it with what it had on disk. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** A restart on a new disk. */
  async restartEmpty(): Promise<void> {
    await this.kill();
    rmSync(this.dataFolder, { recursive: true, force: true });
    mkdirSync(this.dataFolder);
    await this.start();
  }

  /** What a power failure leaves: an append-only file without its last bytes. Needs `aof`. */
  async powerLoss(lostBytes = 200): Promise<void> {
    await this.kill();
    const folder = join(this.dataFolder, "appendonlydir");
    for (const name of readdirSync(folder).filter((file) => file.endsWith(".incr.aof"))) {
      const path = join(folder, name);
      truncateSync(path, Math.max(0, statSync(path).size - lostBytes));
    }
    await this.start();
  }

  /** Puts what is on disk now aside, for `restoreSnapshot`. Needs `aof`. */
  keepSnapshot(): void {
    rmSync(this.#snapshotFolder, { recursive: true, force: true });
    cpSync(this.dataFolder, this.#snapshotFolder, { recursive: true });
  }

  /** Comes back as it was when the snapshot was kept. */
  async restoreSnapshot(): Promise<void> {
    await this.kill();
    rmSync(this.dataFolder, { recursive: true, force: true });
    cpSync(this.#snapshotFolder, this.dataFolder, { recursive: true });
    await this.start();
  }

  /** SIGSTOP: connections stay open, the kernel goes on accepting, nothing is answered. */
  pause(): void {
    this.#process?.kill("SIGSTOP");
    this.#paused = true;
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
    this.#paused = false;
  }

  /** Of all packets from and to this server, so many of 100 are lost from now on. Needs a host of its own. */
  async losePackets(percent: number): Promise<void> {
    if (this.#place.losePackets === undefined)
      throw new Error("packets are lost between hosts, and this server is here");
    await this.#place.losePackets(percent);
  }

  /** One command over a connection of its own. */
  cli(command: string, ...args: (string | number)[]): Promise<unknown> {
    return this.connected((redis) => redis.call(command, ...args));
  }

  /** All keys of database 0, read one after the other: not a snapshot while others write. */
  dump(): Promise<Record<string, DumpedKey>> {
    return this.connected(dumpOf);
  }

  /** Work on a connection of its own, which ends with it or with the time. */
  connected<T>(work: (redis: Redis) => Promise<T>, timeoutMs: number = CLI_TIMEOUT_MS): Promise<T> {
    return connectedTo(this, work, timeoutMs);
  }

  async dispose(): Promise<void> {
    await this.kill();
    this.clock?.close();
    this.#removeFolder();
  }

  #arguments(): string[] {
    const { aof = false, args = [] } = this.#options;
    const persistence = aof ? ["--appendonly", "yes", "--appendfsync", "everysec"] : ["--appendonly", "no"];
    const place = [
      "--port",
      String(this.port),
      "--bind",
      this.host,
      "--protected-mode",
      "no",
      "--dir",
      this.dataFolder,
    ];
    return [...place, "--save", "", ...persistence, "--enable-debug-command", "local", ...args];
  }

  async #answers(child: ChildProcess): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!(await this.#isAnsweredBy(child, deadline - performance.now()))) {
      if (hasEnded(child)) throw new Error(`redis-server on port ${this.port} ended at once:\n${this.#log}`);
      if (performance.now() > deadline) {
        await this.kill();
        throw new Error(
          `redis-server on port ${this.port} did not answer in ${START_TIMEOUT_MS} ms:\n${this.#log}`,
        );
      }
      await sleep(10);
    }
  }

  /** The port may be answered by somebody else's server while ours is about to fail on it: the process id tells. */
  async #isAnsweredBy(child: ChildProcess, timeoutMs: number): Promise<boolean> {
    try {
      const info = await this.connected(
        (redis) => redis.ping().then(() => redis.info("server")),
        Math.max(1, timeoutMs),
      );
      return info.includes(`process_id:${child.pid}\r\n`);
    } catch {
      return false;
    }
  }
}

function passwordOf(args: readonly string[] = []): string | undefined {
  const flag = args.indexOf("--requirepass");
  return flag === -1 ? undefined : args[flag + 1];
}
