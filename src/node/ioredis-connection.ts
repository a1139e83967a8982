/**
 * One dedicated connection to one Redis server, in a profile under which nothing is ever sent twice or late: no offline queue, no
 * resending, no retries inside the client. (With ioredis's defaults a SET that timed out is sent again after a reconnect, and
 * executes.) Knows commands and sockets, nothing of locks.
 */
import type { Socket } from "node:net";

import { Command, Redis, type RedisOptions } from "ioredis";

import type { Clock, Timer } from "../clock/clock.ts";
import { messageOf } from "../errors.ts";
import {
  type Connection,
  ConnectionEndedError,
  type ConnectionEvents,
  type ConnectionTimes,
  type Listener,
  type ListenerEvents,
  type ClientAdapter,
  type NodeInput,
  reconnectDelayMs,
  type RedisClient,
  SilenceWatch,
} from "./connection.ts";
import { commandOf, type Wire } from "./resp.ts";
import { SentinelClients } from "./sentinel-clients.ts";

/** A node that is no adapter. */
export type IoredisInput = Exclude<NodeInput, ClientAdapter>;

/** How long `close` lets bytes already written leave before it cuts the connection. */
const CLOSE_GRACE_MS = 100;

export class IoredisConnection implements Connection {
  readonly name: string;
  readonly keyPrefix: string;
  readonly #redis: Redis;
  readonly #clock: Clock;
  readonly #times: ConnectionTimes;
  readonly #silence: SilenceWatch;
  readonly #sentinels: SentinelClients;
  #readyWatch: Timer | undefined;
  #lastError = "not connected yet";
  /** What comes of this dial any more follows from its reset. */
  #isReset = false;
  #closed = false;

  constructor(input: IoredisInput, times: ConnectionTimes, clock: Clock, events: ConnectionEvents) {
    this.#clock = clock;
    this.#times = times;
    const client = createClient(input, times.connectTimeoutMs);
    this.#redis = client.redis;
    this.#sentinels = new SentinelClients(client.redis, CLOSE_GRACE_MS);
    this.keyPrefix = client.keyPrefix;
    this.name = addressOf(this.#redis.options);
    this.#silence = new SilenceWatch(clock, times.silenceMs, (detail) => this.#reset(detail));
    this.#listen(events);
  }

  get isReady(): boolean {
    return this.#redis.status === "ready" && !this.#closed;
  }

  get isSilent(): boolean {
    return this.#silence.isSuspected;
  }

  get lastError(): string {
    return this.#lastError;
  }

  open(): void {
    this.#redis.connect().catch(() => {}); // Its failure arrives as an event too, and the next try is already planned.
  }

  async call(command: string, ...args: (string | number)[]): Promise<unknown> {
    this.#silence.asked();
    try {
      return await this.#redis.call(command, ...args);
    } catch (error) {
      throw this.#endedOr(error);
    } finally {
      this.#silence.answered();
    }
  }

  sendScript(
    command: "EVAL" | "EVALSHA",
    script: string,
    call: Wire,
    answered: (answer: unknown) => void,
    failed: (error: unknown) => void,
  ): void {
    this.#silence.asked();
    const written = new WrittenCommand(command, commandOf(command, script, call));
    void this.#redis.sendCommand(written);
    written.promise.then(
      (answer) => {
        this.#silence.answered();
        answered(answer);
      },
      (error: unknown) => {
        this.#silence.answered();
        failed(this.#endedOr(error));
      },
    );
  }

  /**
   * What a request failed with: an answer of the server, or the end of its connection. Told by the connection and not by the error, whose
   * class is ioredis's own and has another name in a bundle that was minified.
   */
  #endedOr(error: unknown): unknown {
    const hasEnded = !this.isReady || socketOf(this.#redis)?.writable === false;
    return hasEnded ? new ConnectionEndedError() : error;
  }

  /** Ends it with a reset: a close would leave unsent requests to the kernel, which delivers them when a partition heals. */
  #reset(reason: string): void {
    this.#lastError = reason;
    this.#isReset = true;
    const stream = socketOf(this.#redis);
    try {
      stream?.resetAndDestroy();
    } catch {
      stream?.destroy(); // A TLS socket cannot be reset.
    }
  }

  /** Lets what was written leave, then ends it for good. */
  close(): Promise<void> {
    this.#closed = true;
    this.#stopWatching();
    this.#sentinels.close();
    const stream = socketOf(this.#redis);
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
    redis.on("error", (error: Error) => {
      if (this.#isReset) return;
      this.#lastError = messageOf(error);
      // Before it is ready, ioredis goes on over some (then SELECT has failed, and it is another database), and waits for the other side over others.
      if (redis.status === "connect") this.#reset(this.#lastError);
    });
    redis.on("connect", () => {
      this.#isReset = false;
      this.#expectReady();
    });
    redis.on("ready", () => {
      // What kept it from being ready is no reason any more when it ends without one.
      this.#lastError = "the connection was closed";
      this.#stopWatching();
      events.up();
    });
    redis.on("close", () => {
      this.#isReset = false;
      this.#stopWatching();
      if (!this.#closed) events.down(this.#lastError);
    });
  }

  #stopWatching(): void {
    this.#readyWatch?.cancel();
    this.#silence.rest();
  }

  /** A hung server still accepts connections (the kernel does); without this they would wait for its first answer for ever. */
  #expectReady(): void {
    this.#stopWatching();
    const patienceMs = 2 * this.#times.connectTimeoutMs;
    this.#readyWatch = this.#clock.at(this.#clock.glance() + patienceMs, () =>
      this.#reset(`connected, but silent for ${patienceMs} ms`),
    );
  }
}

/** A command that is in words already: what would be made of its arguments is handed in. */
class WrittenCommand extends Command {
  readonly #text: string;

  constructor(name: string, text: string) {
    super(name, [], { replyEncoding: "utf8" });
    this.#text = text;
  }

  override toWritable(): string {
    return this.#text;
  }
}

/** A second connection to the server, on which notices are heard. Nothing rests on it: whatever it misses costs time only. */
export class IoredisListener implements Listener {
  readonly #redis: Redis;
  readonly #sentinels: SentinelClients;
  #isListening = false;

  constructor(
    input: IoredisInput,
    channel: string,
    { connectTimeoutMs }: ConnectionTimes,
    events: ListenerEvents,
  ) {
    this.#redis = createClient(input, connectTimeoutMs).redis;
    this.#sentinels = new SentinelClients(this.#redis, CLOSE_GRACE_MS);
    this.#redis.on("error", () => {}); // The command connection says what is wrong with the server.
    this.#redis.on("message", (_channel, message: string) => events.heard(message));
    this.#redis.on("close", () => (this.#isListening = false));
    this.#redis.on("ready", () => {
      this.#redis.subscribe(channel).then(
        () => {
          this.#isListening = true;
          events.ready();
        },
        () => {}, // Not allowed (NOPERM), or the connection ended: then there are no notices, and timers do.
      );
    });
    this.#redis.connect().catch(() => {}); // The next try is already planned.
  }

  get isListening(): boolean {
    return this.#isListening;
  }

  renew(): void {
    socketOf(this.#redis)?.destroy();
  }

  close(): Promise<void> {
    this.#isListening = false;
    this.#sentinels.close();
    this.#redis.disconnect();
    socketOf(this.#redis)?.destroy();
    return Promise.resolve();
  }
}

function socketOf(redis: Redis): Socket | undefined {
  return (redis as unknown as { stream?: Socket }).stream;
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
    retryStrategy: reconnectDelayMs,
    // A timer that is left behind where the connection had ended already, and keeps the process alive.
    disconnectTimeout: CLOSE_GRACE_MS,
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

function createClient(input: IoredisInput, connectTimeout: number): { redis: Redis; keyPrefix: string } {
  const ours = profile(connectTimeout);
  const keyPrefix = prefixOf(input);
  if (typeof input === "string") return { redis: new Redis({ ...optionsIn(input), ...ours }), keyPrefix };
  if (isClient(input)) return { redis: input.duplicate(ours) as Redis, keyPrefix };
  return { redis: new Redis({ ...input, ...ours }), keyPrefix };
}

/** Of a URL, whose query may name any option; ioredis itself would let it win over those beside it. */
function optionsIn(url: string): RedisOptions {
  return (Reflect.construct(Redis, [{ lazyConnect: true }, url]) as Redis).options;
}

function isClient(input: RedisOptions | RedisClient): input is RedisClient {
  return "duplicate" in input && typeof input.duplicate === "function";
}

/** What the user's client puts before its keys: ours are called the same. */
export function prefixOf(input: IoredisInput): string {
  if (typeof input === "string") return input.includes("?") ? prefixIn(optionsIn(input)) : "";
  return prefixIn(isClient(input) ? input.options : input);
}

function prefixIn(options: object): string {
  return "keyPrefix" in options && typeof options.keyPrefix === "string" ? options.keyPrefix : "";
}

function addressOf({ sentinels, name, path, host, port, db }: RedisOptions): string {
  const address = sentinels ? `sentinel:${name ?? "?"}` : (path ?? `${host ?? "localhost"}:${port ?? 6379}`);
  return db ? `${address}/${db}` : address;
}
