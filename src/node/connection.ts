/**
 * One dedicated connection to one Redis server, in a profile under which nothing is ever sent twice or late: no offline queue, no
 * resending, no retries inside the client. (With ioredis's defaults a SET that timed out is sent again after a reconnect, and
 * executes.) Knows commands and sockets, nothing of locks.
 */
import type { Socket } from "node:net";

import { Redis, type RedisOptions } from "ioredis";

import type { Clock, Timer } from "../clock/clock.ts";
import { ConfigError } from "../errors.ts";

/** A client of ioredis 5 or 6 as far as this library needs it: it is duplicated, never used or changed. */
export interface RedisClient {
  readonly options: object;
  duplicate(override?: object): unknown;
}

/** A node as users name it: a URL (`redis://`, `rediss://`), ioredis options, or an ioredis client, of which a duplicate is used. */
export type NodeInput = string | RedisOptions | RedisClient;

export interface ConnectionEvents {
  /** Connected and authenticated, and the server has loaded its data. */
  up(): void;
  /** Not usable any more, or still not usable, and why. */
  down(detail: string): void;
}

export interface ConnectionTimes {
  readonly connectTimeoutMs: number;
  /** A connection on which this long nothing was answered is reset, so that the next one finds a healed network at once. */
  readonly silenceMs: number;
}

/** Reconnects come at 50, 100, 150 … ms, and once a second in the end. */
const RECONNECT_STEP_MS = 50;
const RECONNECT_MS_MAX = 1_000;
/** How long `close` lets bytes already written leave before it cuts the connection. */
const CLOSE_GRACE_MS = 100;

export class Connection {
  readonly name: string;
  /** Of a client that prefixes its keys: ours are prefixed the same way. */
  readonly keyPrefix: string;
  readonly #redis: Redis;
  readonly #clock: Clock;
  readonly #times: ConnectionTimes;
  #pending = 0;
  #answers = 0;
  #watch: Timer | undefined;
  #lastError = "not connected yet";
  #closed = false;

  constructor(input: NodeInput, times: ConnectionTimes, clock: Clock, events: ConnectionEvents) {
    this.#clock = clock;
    this.#times = times;
    const client = createClient(input, times.connectTimeoutMs);
    this.#redis = client.redis;
    this.keyPrefix = client.keyPrefix;
    this.name = addressOf(this.#redis.options);
    this.#listen(events);
  }

  get isReady(): boolean {
    return this.#redis.status === "ready" && !this.#closed;
  }

  /** Something was asked and not one answer has come for so long. */
  get isSilent(): boolean {
    return this.#pending > 0 && this.#clock.glance() - this.#lastAnswerAt > this.#times.silenceMs / 4;
  }
  #lastAnswerAt = 0;

  get lastError(): string {
    return this.#lastError;
  }

  open(): void {
    this.#redis.connect().catch(() => {}); // Its failure arrives as an event too, and the next try is already planned.
  }

  /** One command, written now; rejects when the server says no, or when the connection ends before its answer. */
  async call(command: string, ...args: (string | number)[]): Promise<unknown> {
    this.#sends();
    try {
      return await this.#redis.call(command, ...args);
    } finally {
      this.#settled();
    }
  }

  /** The same for the hot path, without a promise of its own: exactly one of the two is called, never synchronously. */
  sendScript(
    command: "EVAL" | "EVALSHA",
    script: string,
    args: (string | number)[],
    answered: (answer: unknown) => void,
    failed: (error: unknown) => void,
  ): void {
    this.#sends();
    this.#redis.call(command, script, ...args).then(
      (answer) => {
        this.#settled();
        answered(answer);
      },
      (error: unknown) => {
        this.#settled();
        failed(error);
      },
    );
  }

  #sends(): void {
    if (this.#pending++ === 0) this.#lastAnswerAt = this.#clock.glance();
    this.#keepWatch();
  }

  #settled(): void {
    this.#pending--;
    this.#answers++;
    this.#lastAnswerAt = this.#clock.glance();
  }

  /** Ends it with a reset: a close would leave unsent requests to the kernel, which delivers them when a partition heals. */
  reset(reason: string): void {
    this.#lastError = reason;
    const { stream } = this.#redis as unknown as { stream?: Socket };
    try {
      stream?.resetAndDestroy();
    } catch {
      stream?.destroy(); // A TLS socket cannot be reset.
    }
  }

  /** Lets what was written leave, then ends it for good. */
  close(): Promise<void> {
    this.#closed = true;
    this.#watch?.cancel();
    const { stream } = this.#redis as unknown as { stream?: Socket };
    return new Promise((resolve) => {
      if (this.#redis.status === "end" || this.#redis.status === "wait") return resolve();
      const cut = this.#clock.at(this.#clock.glance() + CLOSE_GRACE_MS, () => {
        stream?.destroy();
        resolve();
      });
      this.#redis.once("end", () => {
        cut.cancel();
        resolve();
      });
      this.#redis.disconnect();
    });
  }

  #listen(events: ConnectionEvents): void {
    const redis = this.#redis;
    redis.on("error", (error: Error) => (this.#lastError = error.message));
    redis.on("connect", () => this.#expectReady());
    redis.on("ready", () => {
      this.#watch?.cancel();
      this.#watch = undefined;
      events.up();
    });
    redis.on("close", () => {
      this.#watch?.cancel();
      this.#watch = undefined;
      if (!this.#closed) events.down(this.#lastError);
    });
  }

  /** A hung server still accepts connections (the kernel does); without this they would wait for its first answer for ever. */
  #expectReady(): void {
    this.#watch?.cancel();
    const patienceMs = 2 * this.#times.connectTimeoutMs;
    this.#watch = this.#clock.at(this.#clock.glance() + patienceMs, () =>
      this.reset(`connected, but silent for ${patienceMs} ms`),
    );
  }

  #keepWatch(): void {
    if (this.#watch !== undefined) return;
    const before = this.#answers;
    const { silenceMs } = this.#times;
    this.#watch = this.#clock.at(this.#clock.glance() + silenceMs, () => {
      this.#watch = undefined;
      if (this.#pending === 0) return;
      if (this.#answers === before) this.reset(`no answer to anything for ${silenceMs} ms`);
      else this.#keepWatch();
    });
  }
}

/** What the user gave stays as it is: TLS, passwords, Sentinels, db. Only how it retries, queues and decodes is ours. */
function profile(connectTimeout: number): RedisOptions & { replyMapping: "legacy" } {
  return {
    lazyConnect: true,
    connectTimeout,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableAutoPipelining: false,
    enableReadyCheck: true,
    commandTimeout: undefined,
    socketTimeout: undefined,
    reconnectOnError: null,
    retryStrategy: (times) => Math.min(times * RECONNECT_STEP_MS, RECONNECT_MS_MAX),
    // Scripts answer with strings and integers; the older protocol has both, and every server speaks it.
    protocol: 2,
    replyMapping: "legacy",
    stringNumbers: false,
    readOnly: false,
    monitor: false,
    disableClientInfo: true,
    keyPrefix: "",
  };
}

function createClient(input: NodeInput, connectTimeout: number): { redis: Redis; keyPrefix: string } {
  const ours = profile(connectTimeout);
  if (typeof input === "string") return { redis: new Redis(input, ours), keyPrefix: "" };
  if (isClient(input)) {
    if ("isCluster" in input && input.isCluster === true) {
      throw new ConfigError(
        "nodes: a Redis Cluster client is not a node. A cluster spreads keys over servers that fail over to replicas, so its " +
          "nodes are neither independent nor one; give standalone servers (or one master behind Sentinel) instead",
      );
    }
    return { redis: input.duplicate(ours) as Redis, keyPrefix: prefixOf(input.options) };
  }
  return { redis: new Redis({ ...input, ...ours }), keyPrefix: prefixOf(input) };
}

function isClient(input: RedisOptions | RedisClient): input is RedisClient {
  return "duplicate" in input && typeof input.duplicate === "function";
}

function prefixOf(options: object): string {
  return "keyPrefix" in options && typeof options.keyPrefix === "string" ? options.keyPrefix : "";
}

function addressOf({ sentinels, name, path, host, port, db }: RedisOptions): string {
  const address = sentinels ? `sentinel:${name ?? "?"}` : (path ?? `${host ?? "localhost"}:${port ?? 6379}`);
  return db ? `${address}/${db}` : address;
}
