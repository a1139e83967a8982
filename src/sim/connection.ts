/**
 * A connection of a simulated process to a simulated server, in the profile the library asks of a real one: nothing is sent twice,
 * nothing is queued, it is dialled again by itself, and given up when the server stays silent. What was under way when it broke has
 * arrived, or will, or never does: its sender cannot know.
 */
import type { Clock, Timer } from "../clock/clock.ts";
import {
  type Connection,
  ConnectionEndedError,
  type ConnectionEvents,
  type ConnectionTimes,
  reconnectDelayMs,
  SilenceWatch,
} from "../node/connection.ts";
import { argumentsOf, type Wire } from "../node/resp.ts";
import type { Network, Stream } from "./network.ts";
import type { Prng } from "./prng.ts";
import type { SimProcess } from "./process.ts";
import type { Reply, SimServer } from "./server.ts";

interface Pending {
  readonly answered: (answer: unknown) => void;
  readonly failed: (error: unknown) => void;
}

/** One life of a connection, from dialling to its end. */
interface Session {
  readonly toServer: Stream;
  readonly toClient: Stream;
  /** The server's start it belongs to, once accepted. */
  start: number | undefined;
  /** What is still under way to the server arrives although our end is closed. */
  outlives: boolean;
  /** Our end is gone and the server has not seen it: what it sends here is lost. */
  isHalfOpen: boolean;
  isOpen: boolean;
}

export interface Place {
  readonly process: SimProcess;
  readonly server: SimServer;
  readonly network: Network;
  readonly prng: Prng;
}

export class SimConnection implements Connection {
  readonly name: string;
  readonly keyPrefix = "";
  readonly #place: Place;
  readonly #times: ConnectionTimes;
  readonly #clock: Clock;
  readonly #events: ConnectionEvents;
  readonly #silence: SilenceWatch;
  readonly #heard: (message: string) => void;
  readonly #pending = new Set<Pending>();
  #session: Session | undefined;
  #timer: Timer | undefined;
  #isReady = false;
  #isClosed = false;
  #dials = 0;
  #lastError = "not connected yet";

  /** `heard`: gets what is published on a channel it subscribes to. */
  constructor(
    place: Place,
    times: ConnectionTimes,
    clock: Clock,
    events: ConnectionEvents,
    heard: (message: string) => void = () => {},
  ) {
    this.#heard = heard;
    this.name = place.server.name;
    this.#place = place;
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
    const { process, server, network } = this.#place;
    const session: Session = {
      toServer: network.stream(process.name, server.name),
      toClient: network.stream(server.name, process.name),
      start: undefined,
      outlives: false,
      isHalfOpen: false,
      isOpen: true,
    };
    this.#session = session;
    this.#dials++;
    this.#giveUpAfter(this.#times.connectTimeoutMs, "connect ETIMEDOUT");
    session.toServer.send(process.localNow, () => this.#arriveAtServer(session));
  }

  call(command: string, ...args: (string | number)[]): Promise<unknown> {
    return new Promise((answered, failed) => this.#send(command, args, { answered, failed }));
  }

  sendScript(
    command: "EVAL" | "EVALSHA",
    script: string,
    call: Wire,
    answered: (answer: unknown) => void,
    failed: (error: unknown) => void,
  ): void {
    this.#send(command, [script, ...argumentsOf(call)], { answered, failed });
  }

  close(): Promise<void> {
    this.#isClosed = true;
    if (this.#session !== undefined) this.#session.outlives = true;
    this.#end("closed");
    return Promise.resolve();
  }

  /** Its process was killed: nobody is told, and what was written may still arrive. */
  abandon(): void {
    this.#isClosed = true;
    if (this.#session === undefined) return;
    this.#session.outlives = this.#session.isHalfOpen = this.#place.prng.chance(0.5);
    this.#session.isOpen = false;
  }

  /** The connection is lost, and dialled again. */
  break(detail: string): void {
    if (this.#isClosed || this.#session === undefined) return;
    this.#session.outlives = this.#session.isHalfOpen = this.#place.prng.chance(0.5);
    this.#end(detail);
    this.#timer = this.#clock.at(this.#clock.glance() + reconnectDelayMs(this.#dials), () => this.open());
    this.#events.down(detail);
  }

  /** The kernel of the server's machine answers, whatever its process does. */
  #arriveAtServer(session: Session): void {
    const { process, server } = this.#place;
    const answer = (run: () => void) =>
      session.toClient.send(this.#place.network.clock.now(), () =>
        process.deliver(() => session.isOpen && run()),
      );
    if (server.state === "dead") return answer(() => this.break("connect ECONNREFUSED"));
    session.start = server.starts;
    answer(() => this.#giveUpAfter(2 * this.#times.connectTimeoutMs, "connected, but silent"));
    server.perform(() => answer(() => this.#welcomed()));
  }

  #welcomed(): void {
    this.#timer?.cancel();
    this.#isReady = true;
    this.#dials = 0;
    this.#events.up();
  }

  #giveUpAfter(ms: number, detail: string): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.at(this.#clock.glance() + ms, () => this.break(detail));
  }

  #send(command: string, args: readonly (string | number)[], pending: Pending): void {
    const session = this.#session;
    if (!this.#isReady || session === undefined)
      return queueMicrotask(() => pending.failed(new Error("not connected")));
    this.#pending.add(pending);
    this.#silence.asked();
    session.toServer.send(this.#place.process.localNow, () => this.#deliver(session, command, args, pending));
  }

  /** A command has come to the server's machine. */
  #deliver(session: Session, command: string, args: readonly (string | number)[], pending: Pending): void {
    const { server, process, network } = this.#place;
    if (!session.isOpen && !session.outlives) return;
    const isStranger = () => server.state === "dead" || session.start !== server.starts;
    const back = (run: () => void) =>
      session.toClient.send(network.clock.now(), () => process.deliver(() => session.isOpen && run()));
    if (isStranger()) return back(() => this.break("read ECONNRESET"));
    server.perform(() => {
      if (isStranger()) return;
      if (command === "SUBSCRIBE") {
        server.subscribe(String(args[0]), {
          isConnected: () => session.isOpen || session.isHalfOpen,
          hear: (message) => back(() => this.#heard(message)),
        });
      }
      const reply = command === "SUBSCRIBE" ? { value: "subscribed" } : server.execute(command, args);
      back(() => this.#settle(pending, reply));
    });
  }

  #settle(pending: Pending, reply: Reply): void {
    if (!this.#pending.delete(pending)) return;
    this.#silence.answered();
    if ("error" in reply) pending.failed(new Error(reply.error));
    else pending.answered(reply.value);
  }

  #end(detail: string): void {
    this.#timer?.cancel();
    this.#silence.rest();
    this.#lastError = detail;
    this.#isReady = false;
    if (this.#session !== undefined) this.#session.isOpen = false;
    this.#session = undefined;
    const lost = [...this.#pending];
    this.#pending.clear();
    for (const { failed } of lost) {
      this.#silence.answered();
      queueMicrotask(() => failed(new ConnectionEndedError()));
    }
  }
}
