/**
 * The contract of a connection to one Redis server, when it is dialled again, and when one that has gone silent is given up. What is
 * asked of any client library behind it: nothing is ever sent twice, and nothing is queued while there is no connection.
 */
import type { RedisOptions } from "ioredis";

import { type Clock, deadline, type Instant, type Timer } from "../clock/clock.ts";
import type { Wire } from "./resp.ts";

/**
 * A client of ioredis 5 or 6 as far as this library needs it: it is duplicated for every connection, never used or changed. What is changed
 * in its `options` (`client.options.password = token`) counts from the next connection.
 */
export interface RedisClient {
  readonly options: object;
  duplicate(override?: object): unknown;
}

/**
 * A node reached by another client library than ioredis. It opens sessions and does nothing by itself: it queues nothing, sends nothing
 * twice and does not connect again, since an acquire that is executed long after its sender gave up is a lock nobody knows of.
 */
export interface ClientAdapter {
  /** Address without credentials, for people; of two nodes it must differ. */
  readonly name: string;
  /** Put before every key on this node. */
  readonly keyPrefix?: string | undefined;
  /** Connects and authenticates, or rejects. */
  open(terms: SessionTerms): Promise<ClientSession>;
}

export interface SessionTerms {
  /** To be called when the session ends by itself; requests without an answer reject then. */
  readonly ended: (reason: string) => void;
  /** Aborts when the session is given up, or the attempt to open it: its connection is to be destroyed at once. */
  readonly signal: AbortSignal;
  readonly connectTimeoutMs: number;
}

/** One connection. */
export interface ClientSession {
  /** Writes a command now; answers with what the server said, in the types of RESP 2, or rejects with its error. */
  send(args: readonly string[]): Promise<unknown>;
  /** Nothing else is asked of a session that subscribes. */
  subscribe(channel: string, heard: (message: string) => void): Promise<void>;
}

/** What a node is told of who asks. What is left out comes from the options. */
export interface NodeCredentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly sentinelUsername?: string | undefined;
  readonly sentinelPassword?: string | undefined;
}

/** Options of ioredis, read again for every connection: what is changed in them counts from the next one. Retries are this library's. */
export type RedisNodeOptions = RedisOptions & {
  /**
   * Asked before every connection, for passwords and tokens that change. Where it throws, rejects or gives something else, the node is
   * not connected and says so, and it is asked again with the next attempt, which comes after 1 s at the latest. Default none.
   */
  readonly credentials?: (() => NodeCredentials | Promise<NodeCredentials>) | undefined;
};

/**
 * A node as users name it: a URL (`redis://`, `rediss://`), ioredis options that say where the server is, an ioredis client, of which
 * duplicates are used, or an adapter to another client library (`nodeRedis` of `holdfast/node-redis`, `iovalkey` of `holdfast/iovalkey`).
 * Anything else is refused with a `ConfigError` that says how to wrap it.
 */
export type NodeInput = string | RedisNodeOptions | RedisClient | ClientAdapter;

/** What a connection is made of: a `ClientAdapter`, with a way for the hot path. */
export interface Dialler extends Pick<ClientAdapter, "name" | "keyPrefix"> {
  open(terms: SessionTerms): Promise<Session>;
}

export interface Session extends ClientSession {
  /** Of a script, without a promise of its own: exactly one of the two is called, never synchronously. */
  sendScript(
    command: "EVAL" | "EVALSHA",
    script: string,
    call: Wire,
    answered: (answer: unknown) => void,
    failed: (error: unknown) => void,
  ): void;
}

export function isAdapter(input: NodeInput): input is ClientAdapter {
  return typeof input === "object" && "open" in input && typeof input.open === "function";
}

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
  /** Uniform in [0, 1): spreads the dials of those who lost a server together. */
  readonly chance: () => number;
}

/** A connection ended under a request: it was sent, and nothing is known of what became of it. */
export class ConnectionEndedError extends Error {
  override readonly name = "ConnectionEndedError";

  constructor() {
    super("the connection ended before its answer");
  }
}

/** Why a session is over that nobody needs any more: what was written may still arrive. */
export class SessionDoneError extends Error {
  override readonly name = "SessionDoneError";

  constructor() {
    super("the session is not needed any more");
  }
}

export interface Connection {
  /** Address without credentials, for people. */
  readonly name: string;
  /** Of a client that prefixes its keys: ours are prefixed the same way. */
  readonly keyPrefix: string;
  readonly isReady: boolean;
  /** Something was asked and no answer has come for a suspiciously long time: a hint. */
  readonly isSilent: boolean;
  readonly lastError: string;
  /** Counts the sessions: what was asked under another number was asked of another session, maybe of another server. */
  readonly session: number;
  /** Begins to connect, and never stops trying until it is closed. */
  open(): void;
  /**
   * The server answers, but a new connection may find a better one, or be let in: dials it soon, its name resolved anew, and as often as
   * it takes to connect. What there is serves until then. Asked for again while that is under way, it does nothing.
   */
  redial(reason: string): void;
  /** One command, written now; rejects when the server says no, or with a `ConnectionEndedError`. */
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
  /** The same for the hot path, without a promise of its own: exactly one of the two is called, never synchronously. */
  sendScript(
    command: "EVAL" | "EVALSHA",
    script: string,
    call: Wire,
    answered: (answer: unknown) => void,
    failed: (error: unknown) => void,
  ): void;
  /** Lets what was written leave, then ends it for good. */
  close(): Promise<void>;
}

export interface ListenerEvents {
  /** A message on the channel. */
  heard(message: string): void;
  /** Listening has begun, for the first time or again: what was said before was not heard. */
  ready(): void;
}

/** A connection of its own on which one channel is heard. Opened at once; connects again by itself until it is closed. */
export interface Listener {
  readonly isListening: boolean;
  /** The server was found silent on another connection: this one may be dead too, and would never notice. */
  renew(): void;
  close(): Promise<void>;
}

/** Dials come after 50, 100, 150 … ms, and once a second in the end. */
const REDIAL_STEP_MS = 50;
const REDIAL_MS_MAX = 1_000;

/** How long to wait before the `times`-th dial in a row, less up to a half by chance: all clients of a server lose it at once. */
export function redialDelayMs(times: number, chance: number): number {
  return Math.min(times * REDIAL_STEP_MS, REDIAL_MS_MAX) * (1 - chance / 2);
}

/** Whether a server says with its first word that it lets nobody in, or not us. */
export function refusesEntry(message: string): boolean {
  return /^(NOAUTH|WRONGPASS|DENIED)\b|^ERR max number of clients/.test(message);
}

/** Whether a refusal is about the server or about who asks, so that another connection may be granted what this one is not. */
export function isMendedByRedial(message: string): boolean {
  return (
    refusesEntry(message) ||
    /^(READONLY|NOPERM|LOADING|MASTERDOWN|CLUSTERDOWN|MOVED)\b/.test(message) ||
    // Redis before 7.2 says it so where a script does what its user may not.
    message.includes("The user executing the script can't")
  );
}

/** Sees that questions are asked and none is answered any more. */
export class SilenceWatch {
  readonly #clock: Clock;
  readonly #silenceMs: number;
  readonly #gaveUp: (detail: string) => void;
  #pending = 0;
  #answers = 0;
  #lastAnswerAt: Instant = 0;
  #timer: Timer | undefined;

  constructor(clock: Clock, silenceMs: number, gaveUp: (detail: string) => void) {
    this.#clock = clock;
    this.#silenceMs = silenceMs;
    this.#gaveUp = gaveUp;
  }

  get isSuspected(): boolean {
    return this.#pending > 0 && this.#clock.glance() - this.#lastAnswerAt > this.#silenceMs / 4;
  }

  /** How many questions have no answer yet. */
  get pending(): number {
    return this.#pending;
  }

  asked(): void {
    if (this.#pending++ === 0) this.#lastAnswerAt = this.#clock.glance();
    this.#watch();
  }

  answered(): void {
    this.#pending--;
    this.#answers++;
    this.#lastAnswerAt = this.#clock.glance();
  }

  /** The connection has ended or is new: what was asked before says nothing about it. */
  rest(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #watch(): void {
    if (this.#timer !== undefined) return;
    const before = this.#answers;
    this.#timer = deadline(this.#clock, this.#clock.glance() + this.#silenceMs, () => {
      this.#timer = undefined;
      if (this.#pending === 0) return;
      if (this.#answers === before) this.#gaveUp(`no answer to anything for ${this.#silenceMs} ms`);
      else this.#watch();
    });
  }
}
