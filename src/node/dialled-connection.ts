/**
 * Connections that are dialled again for as long as it takes. A client library has to offer one session at a time (`Dialler`), and this is
 * the rest: when to dial, patience, silence, what becomes of requests when a session ends, and how a session is replaced whose server
 * answers but is of no use (a replica, a wrong password): the new one first, the old one after it.
 */
import { type Clock, type Instant, Latch, soon, type Timer } from "../clock/clock.ts";
import { messageOf } from "../errors.ts";
import {
  type Connection,
  ConnectionEndedError,
  type ConnectionEvents,
  type ConnectionTimes,
  type Dialler,
  type Listener,
  type ListenerEvents,
  redialDelayMs,
  refusesEntry,
  type Session,
  SessionDoneError,
  SilenceWatch,
} from "./connection.ts";
import type { Wire } from "./resp.ts";

/** A server that loads its data is asked again after so long. */
const LOADING_MS = 100;
/** `close` lets what was written leave for so long. */
const CLOSE_GRACE_MS = 100;
/** After so long without any trouble the next dial comes as soon as the first. Longer than the longest pause between two dials. */
const QUIET_MS = 5_000;

export class DialledConnection implements Connection {
  readonly name: string;
  readonly keyPrefix: string;
  readonly #dialler: Dialler;
  readonly #times: ConnectionTimes;
  readonly #clock: Clock;
  readonly #events: ConnectionEvents;
  /** What requests go to. */
  #line: Line | undefined;
  /** What is to take its place. */
  #dialling: Line | undefined;
  /** Its predecessor, which still owes answers. */
  #retired: Line | undefined;
  #lines = 0;
  #nextDial: Timer | undefined;
  #patience: Timer | undefined;
  #loading: Timer | undefined;
  #troubles = 0;
  #troubledAt: Instant = -Infinity;
  #isClosed = false;
  #lastError = "not connected yet";

  constructor(dialler: Dialler, times: ConnectionTimes, clock: Clock, events: ConnectionEvents) {
    this.name = dialler.name;
    this.keyPrefix = dialler.keyPrefix ?? "";
    this.#dialler = dialler;
    this.#times = times;
    this.#clock = clock;
    this.#events = events;
  }

  get isReady(): boolean {
    return this.#line !== undefined && !this.#isClosed;
  }

  get isSilent(): boolean {
    return this.#line?.silence.isSuspected === true;
  }

  get lastError(): string {
    return this.#lastError;
  }

  get session(): number {
    return this.#lines;
  }

  open(): void {
    this.#dial();
  }

  redial(reason: string): void {
    if (this.#isClosed || this.#dialling !== undefined || this.#nextDial !== undefined) return;
    this.#lastError = reason;
    this.#planDial(2 * this.#troubles);
  }

  async call(command: string, ...args: (string | number)[]): Promise<unknown> {
    const line = this.#line;
    if (line === undefined) throw new ConnectionEndedError();
    line.silence.asked();
    try {
      return await line.session?.send([command, ...args.map(String)]);
    } catch (error) {
      throw line.blamed(error);
    } finally {
      line.answered();
    }
  }

  sendScript(
    command: "EVAL" | "EVALSHA",
    script: string,
    call: Wire,
    answered: (answer: unknown) => void,
    failed: (error: unknown) => void,
  ): void {
    const line = this.#line;
    if (line?.session === undefined) return soon(() => failed(new ConnectionEndedError()));
    line.silence.asked();
    line.session.sendScript(
      command,
      script,
      call,
      (answer) => {
        line.answered();
        answered(answer);
      },
      (error) => {
        line.answered();
        failed(line.blamed(error));
      },
    );
  }

  /** The messages of a channel, until the session ends. */
  async subscribe(channel: string, heard: (message: string) => void): Promise<void> {
    const line = this.#line;
    if (line === undefined) throw new ConnectionEndedError();
    line.silence.asked();
    try {
      await line.session?.subscribe(channel, heard);
    } finally {
      line.answered();
    }
  }

  /** Gives the session up, and dials again. */
  break(reason: string): void {
    if (this.#line !== undefined) this.#ended(this.#line, reason);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const timer of [this.#nextDial, this.#patience, this.#loading]) timer?.cancel();
    this.#dialling?.end(new SessionDoneError());
    const lines = [this.#line, this.#retired].filter((line) => line !== undefined);
    await Promise.all(lines.map((line) => this.#finish(line)));
  }

  #dial(): void {
    if (this.#isClosed) return;
    const { connectTimeoutMs, silenceMs } = this.#times;
    const line = new Line(this.#clock, silenceMs, (detail) => this.#ended(line, detail));
    this.#dialling = line;
    this.#patience = this.#clock.at(this.#clock.glance() + 2 * connectTimeoutMs, () =>
      this.#ended(line, line.waitsFor),
    );
    this.#opened(line, connectTimeoutMs).then(
      (session) => {
        line.session = session;
        this.#welcome(line, session);
      },
      (error: unknown) => this.#ended(line, messageOf(error)),
    );
  }

  /** What a dialler throws is a failure of its session like any other. */
  async #opened(line: Line, connectTimeoutMs: number): Promise<Session> {
    const { signal } = line;
    return this.#dialler.open({ ended: (reason) => this.#ended(line, reason), signal, connectTimeoutMs });
  }

  /** Ready when it has loaded its data. Who may not ask that is told by what refuses later; who may not even enter, now. */
  #welcome(line: Line, session: Session): void {
    if (line.isOver) return;
    line.waitsFor = "connected, but it does not answer";
    sent(session, ["INFO", "persistence"]).then(
      (info) => this.#greeted(line, session, /^loading:1/m.test(String(info))),
      (error: unknown) => {
        const message = messageOf(error);
        if (refusesEntry(message)) this.#ended(line, message);
        else this.#greeted(line, session, message.startsWith("LOADING"));
      },
    );
  }

  #greeted(line: Line, session: Session, isLoading: boolean): void {
    if (line.isOver) return;
    if (!isLoading) return this.#take(line);
    line.waitsFor = "it still loads its data";
    this.#loading = this.#clock.at(this.#clock.glance() + LOADING_MS, () => this.#welcome(line, session));
  }

  /** From now on it is what requests go to. */
  #take(line: Line): void {
    this.#patience?.cancel();
    const former = this.#line;
    this.#dialling = undefined;
    this.#line = line;
    this.#lines++;
    if (former !== undefined) this.#retire(former);
    this.#events.up();
  }

  /** Nothing more is asked of it; what it was asked may still be answered, until its silence has lasted too long. */
  #retire(former: Line): void {
    this.#retired?.end(new SessionDoneError());
    this.#retired = former;
    former.whenIdle(() => former.end(new SessionDoneError()));
  }

  /** Lets it answer what it was asked, for a moment. */
  async #finish(line: Line): Promise<void> {
    const grace = new Latch(this.#clock, CLOSE_GRACE_MS);
    line.whenIdle(() => grace.settle());
    await grace.settled;
    line.end(new SessionDoneError());
  }

  #ended(line: Line, reason: string): void {
    if (line.isOver) return;
    line.end(new ConnectionEndedError());
    if (this.#isClosed || (line !== this.#line && line !== this.#dialling)) return;
    this.#lastError = reason;
    if (line === this.#line) this.#line = undefined;
    if (line === this.#dialling) {
      this.#dialling = undefined;
      this.#patience?.cancel();
      this.#loading?.cancel();
    }
    if (this.#dialling === undefined && this.#nextDial === undefined) this.#planDial(this.#troubles + 1);
    if (this.#line === undefined) this.#events.down(reason);
  }

  /** A server that refuses is likely to go on, and every dial costs it questions: their number doubles there. */
  #planDial(troubles: number): void {
    const now = this.#clock.glance();
    this.#troubles = now - this.#troubledAt > QUIET_MS ? 1 : Math.max(1, troubles);
    this.#troubledAt = now;
    this.#nextDial = this.#clock.at(now + redialDelayMs(this.#troubles, this.#times.chance()), () => {
      this.#nextDial = undefined;
      this.#dial();
    });
  }
}

/** One session, from its dial to its end. */
class Line {
  readonly silence: SilenceWatch;
  session: Session | undefined;
  /** What to say where it lasts too long. */
  waitsFor = "connect timed out";
  readonly #life = new AbortController();
  #idle: (() => void) | undefined;

  constructor(clock: Clock, silenceMs: number, gaveUp: (detail: string) => void) {
    this.silence = new SilenceWatch(clock, silenceMs, gaveUp);
  }

  get signal(): AbortSignal {
    return this.#life.signal;
  }

  get isOver(): boolean {
    return this.#life.signal.aborted;
  }

  answered(): void {
    this.silence.answered();
    if (this.#idle !== undefined && this.silence.pending === 0) this.#idle();
  }

  /** When nothing is owed any more, which may be now. */
  whenIdle(run: () => void): void {
    this.#idle = run;
    if (this.silence.pending === 0) run();
  }

  /** Whatever a client library calls it when its session ends under a request. */
  blamed(error: unknown): unknown {
    return this.isOver ? new ConnectionEndedError() : error;
  }

  end(cause: Error): void {
    this.silence.rest();
    this.#life.abort(cause);
  }
}

async function sent(session: Session, args: readonly string[]): Promise<unknown> {
  return session.send(args);
}

/** Another connection to the server, on which notices are heard. Nothing rests on it: whatever it misses costs time only. */
export class DialledListener implements Listener {
  readonly #connection: DialledConnection;
  readonly #events: ListenerEvents;
  readonly #channel: string;
  #isListening = false;

  constructor(
    dialler: Dialler,
    channel: string,
    times: ConnectionTimes,
    clock: Clock,
    events: ListenerEvents,
  ) {
    this.#channel = channel;
    this.#events = events;
    this.#connection = new DialledConnection(dialler, times, clock, {
      up: () => this.#subscribe(),
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

  #subscribe(): void {
    const { session } = this.#connection;
    this.#connection
      .subscribe(this.#channel, (message) => this.#events.heard(message))
      .then(
        () => {
          if (session !== this.#connection.session || !this.#connection.isReady) return;
          this.#isListening = true;
          this.#events.ready();
        },
        // Not allowed (NOPERM), say. Until it is, there are no notices, and timers do.
        (error: unknown) => this.#connection.redial(messageOf(error)),
      );
  }
}
