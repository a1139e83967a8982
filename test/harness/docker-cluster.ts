/**
 * Servers in containers, by testcontainers: the same faults as processes, as far as an engine can make them. They keep no files, so that
 * every restart is an empty one, and they share the clock of their machine.
 */
import type { Redis } from "ioredis";
import { GenericContainer, getContainerRuntimeClient, type StartedTestContainer, Wait } from "testcontainers";

import { freePort } from "../../src/chaos/machine/ports.ts";
import { waitFor } from "../../src/chaos/machine/wait-for.ts";
import { CLI_TIMEOUT_MS, connectedTo, type DumpedKey, dumpOf } from "../../src/chaos/servers/connected.ts";
import { together } from "../../src/chaos/servers/cluster.ts";
import type { ChaosNode, ClusterOptions, Servers, ServerState } from "../../src/chaos/servers/server-node.ts";

type Engine = Awaited<ReturnType<typeof getContainerRuntimeClient>>;
type Container = ReturnType<Engine["container"]["getById"]>;

const IMAGE = process.env["HOLDFAST_REDIS_IMAGE"] ?? "redis:7-alpine";
const REDIS_PORT = 6379;

export function startDockerCluster(size: number, options: ClusterOptions = {}): Promise<Servers> {
  if (options.aof === true || options.clockShim === true)
    throw new Error("containers have neither files nor clocks of their own here");
  return together(Array.from({ length: size }, () => DockerNode.start(options.args ?? [])));
}

/** In words why there can be no containers here; undefined where there can. */
export async function dockerUnavailable(): Promise<string | undefined> {
  try {
    await getContainerRuntimeClient();
    return undefined;
  } catch (error) {
    return `no Docker engine answers (${error instanceof Error ? error.message : String(error)})`;
  }
}

class DockerNode implements ChaosNode {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  readonly clock = undefined;
  readonly pid = undefined;
  readonly dataFolder = "";
  readonly log = "";
  password: string | undefined;
  readonly #started: StartedTestContainer;
  readonly #container: Container;
  #state: ServerState = "up";

  private constructor(started: StartedTestContainer, container: Container, port: number) {
    this.#started = started;
    this.#container = container;
    this.host = started.getHost() === "localhost" ? "127.0.0.1" : started.getHost();
    this.port = port;
    this.url = `redis://${this.host}:${port}`;
  }

  /** On a port that we choose: one that the engine chooses changes with every restart. */
  static async start(args: readonly string[]): Promise<DockerNode> {
    const port = await freePort();
    const started = await new GenericContainer(IMAGE)
      .withCommand([
        "redis-server",
        "--save",
        "",
        "--appendonly",
        "no",
        "--enable-debug-command",
        "yes",
        ...args,
      ])
      .withExposedPorts({ container: REDIS_PORT, host: port })
      .withWaitStrategy(Wait.forListeningPorts())
      .start();
    const client = await getContainerRuntimeClient();
    return new DockerNode(started, client.container.getById(started.getId()), port);
  }

  get state(): ServerState {
    return this.#state;
  }

  async start(): Promise<void> {
    await this.#container.start();
    this.#state = "up";
    this.password = undefined;
    const answers = () =>
      this.cli("PING").then(
        () => true,
        () => false,
      );
    await waitFor(answers, { what: `the server in a container on port ${this.port} answers` });
  }

  async kill(): Promise<void> {
    if (this.#state === "dead") return;
    // A paused one takes no signals.
    if (this.#state === "paused") await this.resume();
    await this.#container.kill({ signal: "SIGKILL" });
    await this.#container.wait();
    this.#state = "dead";
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  restartEmpty(): Promise<void> {
    return this.restart();
  }

  async pause(): Promise<void> {
    await this.#container.pause();
    this.#state = "paused";
  }

  async resume(): Promise<void> {
    if (this.#state === "paused") await this.#container.unpause();
    this.#state = "up";
  }

  cli(command: string, ...args: (string | number)[]): Promise<unknown> {
    return this.connected((redis) => redis.call(command, ...args));
  }

  dump(): Promise<Record<string, DumpedKey>> {
    return this.connected(dumpOf);
  }

  connected<T>(work: (redis: Redis) => Promise<T>, timeoutMs: number = CLI_TIMEOUT_MS): Promise<T> {
    return connectedTo(this, work, timeoutMs);
  }

  async dispose(): Promise<void> {
    await this.resume();
    await this.#started.stop({ timeout: 0 });
    this.#state = "dead";
  }

  powerLoss(): Promise<void> {
    return Promise.reject(withoutFiles());
  }

  keepSnapshot(): void {
    throw withoutFiles();
  }

  restoreSnapshot(): Promise<void> {
    return Promise.reject(withoutFiles());
  }

  losePackets(): Promise<void> {
    return Promise.reject(new Error("containers lose no packets here"));
  }
}

function withoutFiles(): Error {
  return new Error("containers have no files of their own here");
}
