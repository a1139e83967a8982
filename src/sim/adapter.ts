/**
 * A simulated server as a node: sessions of a simulated process over the simulated network. What there is to a connection beside its
 * sessions is the library's own (node/dialled-connection.ts). What was under way when a session ended has arrived, or will, or never
 * does: its sender cannot know.
 */
import type { Alarm } from "../clock/system-clock.ts";
import type { ClientAdapter, ClientSession, SessionTerms } from "../node/connection.ts";
import type { Network, Stream } from "./network.ts";
import type { Prng } from "./prng.ts";
import type { SimProcess } from "./process.ts";
import type { Reply, SimServer } from "./server.ts";

export interface Place {
  readonly process: SimProcess;
  readonly server: SimServer;
  readonly network: Network;
  readonly prng: Prng;
}

export class SimAdapter implements ClientAdapter {
  readonly name: string;
  #place: Place;
  readonly #sessions = new Set<SimSession>();

  constructor(place: Place) {
    this.name = place.server.name;
    this.#place = place;
  }

  open(terms: SessionTerms): Promise<ClientSession> {
    const session = new SimSession(this.#place, terms, () => this.#sessions.delete(session));
    this.#sessions.add(session);
    return session.opened;
  }

  /** The address leads to another server from the next connection on. */
  leadTo(server: SimServer): void {
    this.#place = { ...this.#place, server };
  }

  /** Breaks its connections: those for requests, or those on which notices are heard. */
  break(kind: "asking" | "hearing"): void {
    for (const session of this.#sessions)
      if (session.isHearing === (kind === "hearing")) session.fail("read ECONNRESET");
  }

  /** Its process was killed: nobody is told, and what was written may still arrive. */
  abandon(): void {
    for (const session of this.#sessions) session.abandon();
  }
}

interface Pending {
  readonly answered: (answer: unknown) => void;
  readonly failed: (error: unknown) => void;
}

/** One life of a connection, from dialling to its end. */
class SimSession implements ClientSession {
  readonly opened: Promise<ClientSession>;
  isHearing = false;
  readonly #place: Place;
  readonly #terms: SessionTerms;
  readonly #over: () => void;
  readonly #toServer: Stream;
  readonly #toClient: Stream;
  readonly #pending = new Set<Pending>();
  readonly #dialling: Alarm;
  #settleOpened: Pending | undefined;
  /** The server's start it belongs to, once accepted. */
  #start: number | undefined;
  #isOpen = true;
  /** What was under way to the server when our end closed arrives all the same. */
  #outlives = false;
  /** As far as the server knows; what it sends to an end that is gone is lost. */
  #isConnected = true;

  constructor(place: Place, terms: SessionTerms, over: () => void) {
    const { process, server, network } = place;
    this.#place = place;
    this.#terms = terms;
    this.#over = over;
    this.#toServer = network.stream(process.name, server.name);
    this.#toClient = network.stream(server.name, process.name);
    this.opened = new Promise((answered, failed) => {
      this.#settleOpened = { answered: () => answered(this), failed };
    });
    this.#dialling = process.after(terms.connectTimeoutMs, () => this.fail("connect ETIMEDOUT"));
    terms.signal.addEventListener("abort", () => this.#end("given up", true), { once: true });
    this.#toServer.send(process.localNow, () => this.#arriveAtServer());
  }

  send([command = "", ...args]: readonly string[]): Promise<unknown> {
    return this.#ask((server) => server.execute(command, args));
  }

  async subscribe(channel: string, heard: (message: string) => void): Promise<void> {
    this.isHearing = true;
    await this.#ask((server) => {
      server.subscribe(channel, {
        isConnected: () => this.#isConnected,
        hear: (message) => this.#back(() => heard(message)),
      });
      return { value: "subscribed" };
    });
  }

  /** It ends by itself. */
  fail(reason: string): void {
    if (!this.#isOpen) return;
    this.#end(reason, this.#place.prng.chance(0.5));
    this.#terms.ended(reason);
  }

  /** Nobody is left to be told. */
  abandon(): void {
    this.#close(this.#place.prng.chance(0.5));
  }

  /** The kernel of the server's machine answers, whatever its process does. */
  #arriveAtServer(): void {
    const { server } = this.#place;
    if (server.state === "dead") return this.#back(() => this.fail("connect ECONNREFUSED"));
    this.#start = server.starts;
    this.#back(() => this.#dialling.cancel());
    server.perform(() => this.#back(() => this.#settleOpened?.answered(undefined)));
  }

  #ask(execute: (server: SimServer) => Reply): Promise<unknown> {
    return new Promise((answered, failed) => {
      const pending = { answered, failed };
      if (!this.#isOpen) return failed(new Error("the session has ended"));
      this.#pending.add(pending);
      this.#toServer.send(this.#place.process.localNow, () => this.#deliver(execute, pending));
    });
  }

  /** A command has come to the server's machine. */
  #deliver(execute: (server: SimServer) => Reply, pending: Pending): void {
    const { server } = this.#place;
    if (!this.#isOpen && !this.#outlives) return;
    const isStranger = () => server.state === "dead" || this.#start !== server.starts;
    if (isStranger()) return this.#back(() => this.fail("read ECONNRESET"));
    server.perform(() => {
      if (isStranger()) return;
      const reply = execute(server);
      this.#back(() => this.#settle(pending, reply));
    });
  }

  /** What the server's end sends arrives as long as ours is open. */
  #back(run: () => void): void {
    const { network, process } = this.#place;
    this.#toClient.send(network.clock.now(), () => process.deliver(() => this.#isOpen && run()));
  }

  #settle(pending: Pending, reply: Reply): void {
    if (!this.#pending.delete(pending)) return;
    if ("error" in reply) pending.failed(new Error(reply.error));
    else pending.answered(reply.value);
  }

  #end(reason: string, saysSo: boolean): void {
    if (!this.#isOpen) return;
    this.#close(saysSo);
    this.#dialling.cancel();
    this.#over();
    for (const { failed } of [this.#settleOpened, ...this.#pending].filter((each) => each !== undefined))
      failed(new Error(reason));
    this.#pending.clear();
  }

  /** Where the end is said, the server learns of it as soon as the network lets it; otherwise never. */
  #close(saysSo: boolean): void {
    const { prng, process } = this.#place;
    this.#isOpen = false;
    this.#outlives = prng.chance(0.5);
    if (saysSo) this.#toServer.send(process.localNow, () => (this.#isConnected = false));
  }
}
