/**
 * The contract of a connection to one Redis server, and when one that has gone silent is given up. What is asked of any client library
 * behind it: nothing is ever sent twice, nothing is queued while there is no connection, and it reconnects by itself.
 */
import type { RedisOptions } from "ioredis";

import { type Clock, deadline, type Instant, type Timer } from "../clock/clock.ts";
import type { Wire } from "./resp.ts";

/** A client of ioredis 5 or 6 as far as this library needs it: it is duplicated, never used or changed. */
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

/**
 * A node as users name it: a URL (`redis://`, `rediss://`), ioredis options that say where the server is, an ioredis client, of which a
 * duplicate is used, or an adapter to another client library (`nodeRedis` of `holdfast/node-redis`, `iovalkey` of `holdfast/iovalkey`).
 * Anything else is refused with a `ConfigError` that says how to wrap it.
 */
export type NodeInput = string | RedisOptions | RedisClient | ClientAdapter;

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
}

/** A connection ended under a request: it was sent, and nothing is known of what became of it. */
export class ConnectionEndedError extends Error {
  override readonly name = "ConnectionEndedError";

  constructor() {
    super("the connection ended before its answer");
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
  /** Begins to connect, and never stops trying until it is closed. */
  open(): void;
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

/** Reconnects come at 50, 100, 150 … ms, and once a second in the end. */
const RECONNECT_STEP_MS = 50;
const RECONNECT_MS_MAX = 1_000;

/** How long to wait before a connection is dialled for the `times`-th time in a row. */
export function reconnectDelayMs(times: number): number {
  return Math.min(times * RECONNECT_STEP_MS, RECONNECT_MS_MAX);
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
