/**
 * Connections over any other client library than ioredis: what it has to offer is one session at a time (`ClientAdapter`), and this is the
 * rest: dialling again, patience, silence, and what becomes of requests when a session ends.
 */
import type { Clock, Timer } from "../clock/clock.ts";
import {
  type ClientAdapter,
  type ClientSession,
  type Connection,
  ConnectionEndedError,
  type ConnectionEvents,
  type ConnectionTimes,
  type Listener,
  type ListenerEvents,
  messageOf,
  reconnectDelayMs,
  SilenceWatch,
} from "./connection.ts";
import { argumentsOf, type Wire } from "./resp.ts";

/** A server that loads its data is asked again after so long. */
const LOADING_MS = 100;
/** `close` lets what was written leave for so long. */
const CLOSE_GRACE_MS = 100;

export class AdaptedConnection implements Connection {
  readonly name: string;
  readonly keyPrefix: string;
  readonly #adapter: ClientAdapter;
  readonly #times: ConnectionTimes;
  readonly #clock: Clock;
  readonly #events: ConnectionEvents;
  readonly #silence: SilenceWatch;
  /** Of the present dial: what comes of an earlier one is nobody's any more. */
  #dial = 0;
  #session: ClientSession | undefined;
  #isReady = false;
  #isClosed = false;
  #failures = 0;
  #pending = 0;
  #timer: Timer | undefined;
  #lastError = "not connected yet";

  constructor(adapter: ClientAdapter, times: ConnectionTimes, clock: Clock, events: ConnectionEvents) {
    this.name = adapter.name;
    this.keyPrefix = adapter.keyPrefix ?? "";
    this.#adapter = adapter;
    this.#times = times;
    this.#clock = clock;
    this.#events = events;
    this.#silence = new SilenceWatch(clock, times.silenceMs, (detail) => this.break(detail));
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  get isSilent(): boolean {
    return this.#silence.isSuspected;
  }

  get lastError(): string {
    return this.#lastError;
  }

  open(): void {
    if (this.#isClosed) return;
    const dial = ++this.#dial;
    this.#after(2 * this.#times.connectTimeoutMs, () => this.break("connect timed out"));
    const ended = (reason: string): void => {
      if (dial === this.#dial) this.break(reason);
    };
    this.#adapter.open({ ended, connectTimeoutMs: this.#times.connectTimeoutMs }).then(
      (session) => {
        if (dial !== this.#dial) return session.destroy();
        this.#session = session;
        this.#welcome(dial, session);
      },
      (error: unknown) => ended(messageOf(error)),
    );
  }

  call(command: string, ...args: (string | number)[]): Promise<unknown> {
    return this.#send([command, ...args.map(String)]);
  }

  sendScript(
    command: "EVAL" | "EVALSHA",
    script: string,
    call: Wire,
    answered: (answer: unknown) => void,
    failed: (error: unknown) => void,
  ): void {
    this.#send([command, script, ...argumentsOf(call)]).then(answered, failed);
  }

  /** The message of a channel it listens on, until the session ends. */
  subscribe(channel: string, heard: (message: string) => void): Promise<void> {
    return this.#session === undefined
      ? Promise.reject(new ConnectionEndedError())
      : this.#session.subscribe(channel, heard);
  }

  /** Ends the session, and dials again. */
  break(reason: string): void {
    if (this.#isClosed) return;
    this.#lastError = reason;
    this.#drop();
    this.#after(reconnectDelayMs(++this.#failures), () => this.open());
    this.#events.down(reason);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#isReady = false;
    this.#timer?.cancel();
    if (this.#pending > 0) {
      await new Promise<void>((resolve) =>
        this.#clock.at(this.#clock.glance() + CLOSE_GRACE_MS, () => resolve()),
      );
    }
    this.#drop();
  }

  /** Ready when it has loaded its data. Who may not ask that is told by what refuses later. */
  #welcome(dial: number, session: ClientSession): void {
    session.send(["INFO", "persistence"]).then(
      (info) => this.#greeted(dial, session, /^loading:1/m.test(String(info))),
      (error: unknown) => this.#greeted(dial, session, messageOf(error).startsWith("LOADING")),
    );
  }

  #greeted(dial: number, session: ClientSession, isLoading: boolean): void {
    if (dial !== this.#dial) return;
    if (isLoading) return this.#after(LOADING_MS, () => this.#welcome(dial, session));
    this.#timer?.cancel();
    this.#failures = 0;
    this.#isReady = true;
    this.#events.up();
  }

  async #send(args: readonly string[]): Promise<unknown> {
    const session = this.#session;
    if (session === undefined) throw new ConnectionEndedError();
    this.#silence.asked();
    this.#pending++;
    try {
      return await session.send(args);
    } catch (error) {
      // Whatever the client library calls it when its connection ends under a request.
      throw session === this.#session ? error : new ConnectionEndedError();
    } finally {
      this.#pending--;
      this.#silence.answered();
    }
  }

  #drop(): void {
    this.#dial++;
    this.#isReady = false;
    this.#timer?.cancel();
    this.#silence.rest();
    const session = this.#session;
    this.#session = undefined;
    session?.destroy();
  }

  #after(ms: number, run: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.at(this.#clock.glance() + ms, run);
  }
}

/** Another session, on which notices are heard. */
export class AdaptedListener implements Listener {
  readonly #connection: AdaptedConnection;
  #isListening = false;

  constructor(
    adapter: ClientAdapter,
    channel: string,
    times: ConnectionTimes,
    clock: Clock,
    events: ListenerEvents,
  ) {
    this.#connection = new AdaptedConnection(adapter, times, clock, {
      up: () =>
        void this.#connection
          .subscribe(channel, (message) => events.heard(message))
          .then(
            () => {
              this.#isListening = true;
              events.ready();
            },
            () => {}, // Not allowed (NOPERM), or the session ended: then there are no notices, and timers do.
          ),
      down: () => (this.#isListening = false),
    });
    this.#connection.open();
  }

  get isListening(): boolean {
    return this.#isListening;
  }

  renew(): void {
    this.#connection.break("given up");
  }

  close(): Promise<void> {
    this.#isListening = false;
    return this.#connection.close();
  }
}
