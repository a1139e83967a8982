/**
 * Sessions over ioredis, each with a client of its own, in a profile under which nothing is ever sent twice or late: no offline queue, no
 * resending, no retries inside the client. (With ioredis's defaults a SET that timed out is sent again after a reconnect, and
 * executes.) What the user gave is read again for each: a password that was changed counts from the next one. Knows commands and
 * sockets, nothing of locks.
 */
import type { Socket } from "node:net";

import { Command, Redis, type RedisOptions } from "ioredis";

import type { Clock, Instant } from "../clock/clock.ts";
import { messageOf } from "../errors.ts";
import {
  type ClientAdapter,
  ConnectionEndedError,
  type Dialler,
  type NodeCredentials,
  type NodeInput,
  type RedisClient,
  type RedisNodeOptions,
  type Session,
  SessionDoneError,
  type SessionTerms,
} from "./connection.ts";
import { commandOf, type Wire } from "./resp.ts";
import { SentinelClients } from "./sentinel-clients.ts";
import { SentinelTurns } from "./sentinel-turns.ts";

/** A node that is no adapter. */
export type IoredisInput = Exclude<NodeInput, ClientAdapter>;

/** Who gives credentials may be slower than a dial, and is not asked a second time meanwhile; after so long it is. */
const CREDENTIALS_MS = 30_000;

/** How long an ended client may take to close its connection. */
const CLOSE_GRACE_MS = 100;

export class IoredisDialler implements Dialler {
  readonly name: string;
  readonly keyPrefix: string;
  readonly #input: IoredisInput;
  readonly #clock: Clock;
  /** Where a lock lives does not change with the options. */
  readonly #db: number | undefined;
  readonly #turns = new SentinelTurns();
  #asked: { readonly at: Instant; readonly answer: Promise<NodeCredentials> } | undefined;

  constructor(input: IoredisInput, clock: Clock) {
    this.#input = input;
    this.#clock = clock;
    const { options } = createClient(input, profile(0));
    this.#db = options.db;
    this.name = addressOf(options);
    this.keyPrefix = prefixOf(input);
  }

  async open({ ended, signal, connectTimeoutMs }: SessionTerms): Promise<Session> {
    const credentials = await this.#credentials(signal);
    signal.throwIfAborted();
    const sentinels = this.#turns.next(optionsOf(this.#input).sentinels);
    const redis = createClient(this.#input, {
      ...credentials,
      ...(sentinels === undefined ? {} : { sentinels }),
      ...profile(connectTimeoutMs),
      db: this.#db,
    });
    this.#turns.ask(redis);
    const askers = new SentinelClients(redis, CLOSE_GRACE_MS);
    const over = (): void => {
      askers.close();
      cut(redis, signal.reason);
    };
    signal.addEventListener("abort", over, { once: true });
    const refused = heed(redis, ended);
    // A Connector may come with its socket when nobody waits for it any more.
    redis.on("connect", () => signal.aborted && over());
    await redis.connect();
    return new IoredisSession(redis, refused);
  }

  async #credentials(signal: AbortSignal): Promise<NodeCredentials> {
    if (typeof this.#input === "string" || isClient(this.#input)) return {};
    const { credentials } = this.#input;
    if (credentials === undefined) return {};
    const at = this.#clock.glance();
    if (this.#asked === undefined || at - this.#asked.at > CREDENTIALS_MS)
      this.#asked = { at, answer: given(credentials) };
    const { answer } = this.#asked;
    try {
      return await answer;
    } finally {
      // An answer that comes between two dials is the next one's.
      if (!signal.aborted && this.#asked?.answer === answer) this.#asked = undefined;
    }
  }
}

/**
 * Whatever a client is told ends its session: ioredis itself goes on over some of it (SELECT has failed, and it is another database), and
 * waits for the other side over the rest. Gives what it was told first.
 */
function heed(redis: Redis, ended: (reason: string) => void): () => string | undefined {
  let refusal: string | undefined;
  redis.on("error", (error: unknown) => {
    refusal ??= messageOf(error);
    ended(refusal);
  });
  redis.on("end", () => ended("the connection was closed"));
  return () => refusal;
}

class IoredisSession implements Session {
  readonly #redis: Redis;
  /** What the client itself was told. */
  readonly #refusal: () => string | undefined;

  constructor(redis: Redis, refusal: () => string | undefined) {
    this.#redis = redis;
    this.#refusal = refusal;
  }

  async send([command = "", ...args]: readonly string[]): Promise<unknown> {
    try {
      return await this.#redis.call(command, ...args);
    } catch (error) {
      throw messageOf(error).startsWith("NOAUTH") ? await this.#stranger(error) : this.#endedOr(error);
    }
  }

  /** ioredis 5 says that a password is wrong only after the command behind it was refused for the lack of one. */
  async #stranger(error: unknown): Promise<unknown> {
    await this.#redis.call("PING").catch(() => {});
    const refusal = this.#refusal();
    return refusal === undefined ? error : new Error(refusal);
  }

  sendScript(
    command: "EVAL" | "EVALSHA",
    script: string,
    call: Wire,
    answered: (answer: unknown) => void,
    failed: (error: unknown) => void,
  ): void {
    const written = new WrittenCommand(command, commandOf(command, script, call));
    void this.#redis.sendCommand(written);
    written.promise.then(answered, (error: unknown) => failed(this.#endedOr(error)));
  }

  /**
   * What a request failed with: an answer of the server, or the end of its connection. Told by the connection and not by the error, whose
   * class is ioredis's own and has another name in a bundle that was minified.
   */
  #endedOr(error: unknown): unknown {
    const hasEnded = this.#redis.status !== "ready" || socketOf(this.#redis)?.writable === false;
    return hasEnded ? new ConnectionEndedError() : error;
  }

  async subscribe(channel: string, heard: (message: string) => void): Promise<void> {
    this.#redis.on("message", (_channel, message: string) => heard(message));
    await this.#redis.subscribe(channel);
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

/**
 * Ends a client. One that was given up is reset: a close would leave unsent requests to the kernel, which delivers them when a partition
 * heals. The socket comes first: what is shut down already cannot be reset, and would stay.
 */
function cut(redis: Redis, cause: unknown): void {
  const stream = socketOf(redis);
  try {
    if (cause instanceof SessionDoneError) stream?.destroy();
    else stream?.resetAndDestroy();
  } catch {
    stream?.destroy(); // A TLS socket cannot be reset.
  }
  redis.disconnect();
}

function socketOf(redis: Redis): Socket | undefined {
  return (redis as unknown as { stream?: Socket }).stream;
}

/** As the types of ioredis want it: without RESP 3 there is one mapping. */
type OurOptions = RedisOptions & { replyMapping: "legacy" };

/** What the user gave stays as it is: TLS, passwords, Sentinels. Only how it retries, queues and decodes is ours. */
function profile(connectTimeout: number): OurOptions {
  return {
    lazyConnect: true,
    connectTimeout,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableAutoPipelining: false,
    enableReadyCheck: false,
    commandTimeout: undefined,
    socketTimeout: undefined,
    reconnectOnError: null,
    retryStrategy: () => null,
    sentinelRetryStrategy: () => null,
    // One that hangs would otherwise be waited for, and the others never asked.
    sentinelCommandTimeout: connectTimeout,
    disconnectTimeout: 0,
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

function createClient(input: IoredisInput, ours: OurOptions): Redis {
  if (typeof input === "string") return new Redis({ ...optionsIn(input), ...ours });
  if (isClient(input)) return input.duplicate(ours) as Redis;
  const { credentials: _, ...options } = input;
  return new Redis({ ...options, ...ours });
}

/** What the user's function says, as far as it can be used. Its values are not shown. */
async function given(credentials: NonNullable<RedisNodeOptions["credentials"]>): Promise<NodeCredentials> {
  const found: unknown = await credentials();
  if (typeof found !== "object" || found === null)
    throw new TypeError(`credentials must give an object, gave ${found === null ? "null" : typeof found}`);
  const named = CREDENTIAL_NAMES.map((name) => [name, (found as Record<string, unknown>)[name]] as const);
  for (const [name, value] of named)
    if (value !== undefined && typeof value !== "string")
      throw new TypeError(`credentials must give a string as ${name}, gave ${typeof value}`);
  return Object.fromEntries(named.filter(([, value]) => value !== undefined));
}

const CREDENTIAL_NAMES = ["username", "password", "sentinelUsername", "sentinelPassword"] as const;

function isClient(input: RedisNodeOptions | RedisClient): input is RedisClient {
  return "duplicate" in input && typeof input.duplicate === "function";
}

/** Of a URL, whose query may name any option; ioredis itself would let it win over those beside it. */
function optionsIn(url: string): RedisOptions {
  return (Reflect.construct(Redis, [{ lazyConnect: true }, url]) as Redis).options;
}

/** As they are now. */
function optionsOf(input: IoredisInput): RedisOptions {
  if (typeof input === "string") return optionsIn(input);
  return isClient(input) ? input.options : input;
}

/** What the user's client puts before its keys: ours are called the same. */
export function prefixOf(input: IoredisInput): string {
  if (typeof input === "string" && !input.includes("?")) return "";
  const { keyPrefix } = optionsOf(input);
  return typeof keyPrefix === "string" ? keyPrefix : "";
}

function addressOf({ sentinels, name, path, host, port, db }: RedisOptions): string {
  const address = sentinels ? `sentinel:${name ?? "?"}` : (path ?? `${host ?? "localhost"}:${port ?? 6379}`);
  return db ? `${address}/${db}` : address;
}
