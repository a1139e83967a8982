/**
 * Connections over any other client library than ioredis: what it has to offer is one session at a time (`ClientAdapter`), and this is the
 * rest: dialling again, patience, silence, and what becomes of requests when a session ends.
 */
import { type Clock, Latch, type Timer } from "../clock/clock.ts";
import { messageOf } from "../errors.ts";
import {
  type ClientAdapter,
  type ClientSession,
  type Connection,
  ConnectionEndedError,
  type ConnectionEvents,
  type ConnectionTimes,
  type Listener,
  type ListenerEvents,
  reconnectDelayMs,
  type SessionTerms,
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
  /** The present dial, and the session it becomes: what comes of one that was given up is nobody's any more. */
  #dial = new AbortController();
  #session: ClientSession | undefined;
  #isReady = false;
  #isClosed = false;
  #failures = 0;
  #pending = 0;
  #allAnswered: () => void = () => {};
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
    const { connectTimeoutMs } = this.#times;
    const { signal } = (this.#dial = new AbortController());
    this.#after(2 * connectTimeoutMs, () => this.break("connect timed out"));
    const ended = (reason: string): void => {
      if (!signal.aborted) this.break(reason);
    };
    this.#opened({ ended, signal, connectTimeoutMs }).then(
      (session) => {
        if (signal.aborted) return;
        this.#session = session;
        this.#welcome(signal, session);
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
  async subscribe(channel: string, heard: (message: string) => void): Promise<void> {
    if (this.#session === undefined) throw new ConnectionEndedError();
    await this.#session.subscribe(channel, heard);
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
      const grace = new Latch(this.#clock, CLOSE_GRACE_MS);
      this.#allAnswered = () => grace.settle();
      await grace.settled;
    }
    this.#drop();
  }

  /** What an adapter throws is a failure of its connection like any other. */
  async #opened(terms: SessionTerms): Promise<ClientSession> {
    return this.#adapter.open(terms);
  }

  /** Ready when it has loaded its data. Who may not ask that is told by what refuses later. */
  #welcome(dial: AbortSignal, session: ClientSession): void {
    this.#sent(session, ["INFO", "persistence"]).then(
      (info) => this.#greeted(dial, session, /^loading:1/m.test(String(info))),
      (error: unknown) => {
        const message = messageOf(error);
        // A server ends connections that send it scripts without a password, and says nothing of the reason then.
        if (message.startsWith("NOAUTH") && !dial.aborted) return this.break(message);
        this.#greeted(dial, session, message.startsWith("LOADING"));
      },
    );
  }

  #greeted(dial: AbortSignal, session: ClientSession, isLoading: boolean): void {
    if (dial.aborted) return;
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
      this.#silence.answered();
      if (--this.#pending === 0) this.#allAnswered();
    }
  }

  async #sent(session: ClientSession, args: readonly string[]): Promise<unknown> {
    return session.send(args);
  }

  #drop(): void {
    this.#isReady = false;
    this.#timer?.cancel();
    this.#silence.rest();
    this.#session = undefined;
    this.#dial.abort();
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
