/**
 * A Redis server as a node: one request in, one vote out. Holds its connection and what is known of its memory; whether that memory
 * may vote is decided by the admission (fleet.ts), and again, every time, by the script.
 */
import { createHash } from "node:crypto";

import type { Clock, Instant } from "../clock/clock.ts";
import { Connection, type ConnectionTimes, type NodeInput } from "./connection.ts";
import { Debts } from "./debts.ts";
import { type Introduction, introduce } from "./introduction.ts";
import type { Faulted, LockNode, Marker, ReleaseRequest, Request, Sighting, Vote } from "./lock-node.ts";
import type { Admission, AdmitRequest, NodeTerms } from "./node-state.ts";
import { Outbox } from "./outbox.ts";
import {
  ADMIT_SCRIPT,
  admitArguments,
  decodeAdmission,
  decodeSighting,
  decodeVotes,
  INSPECT_SCRIPT,
  inspectArguments,
  type ScriptArguments,
  VOTE_SCRIPT,
  voteArguments,
} from "./redis-scripts.ts";

/** How far this client and the node's present memory have come. */
export type Acquaintance =
  | { readonly kind: "connecting" }
  | { readonly kind: "unreachable"; readonly detail: string }
  | { readonly kind: "excluded"; readonly detail: string; readonly met: Introduction | undefined }
  | { readonly kind: "unadmitted"; readonly detail: string; readonly met: Introduction }
  | { readonly kind: "admitted"; readonly met: Introduction; readonly marker: Marker };

export interface RedisNodeEvents {
  /** It introduced itself, for the first time on a connection or again. */
  met(node: RedisNode, met: Introduction): void;
  changed(node: RedisNode): void;
}

interface Script {
  readonly lua: string;
  readonly sha: string;
}

const VOTE = scriptOf(VOTE_SCRIPT);
const ADMIT = scriptOf(ADMIT_SCRIPT);
const INSPECT = scriptOf(INSPECT_SCRIPT);

export class RedisNode implements LockNode {
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #terms: Omit<NodeTerms, "incarnation">;
  readonly #events: RedisNodeEvents;
  readonly #outbox: Outbox;
  readonly #debts: Debts;
  #acquaintance: Acquaintance = { kind: "connecting" };
  #introducing = false;

  constructor(
    input: NodeInput,
    terms: Omit<NodeTerms, "incarnation">,
    times: ConnectionTimes,
    clock: Clock,
    events: RedisNodeEvents,
  ) {
    this.#clock = clock;
    this.#terms = terms;
    this.#events = events;
    this.#connection = new Connection(input, times, clock, {
      up: () => this.meet(),
      down: (detail) => this.become({ kind: "unreachable", detail }),
    });
    this.#outbox = new Outbox((requests) => this.#send(requests));
    this.#debts = new Debts(clock, (request, reply) => this.ask(request, reply));
  }

  get name(): string {
    return this.#connection.name;
  }

  get acquaintance(): Acquaintance {
    return this.#acquaintance;
  }

  get identity(): string | undefined {
    return this.#acquaintance.kind === "admitted" ? this.#acquaintance.met.runId : undefined;
  }

  get isHealthy(): boolean {
    return this.#acquaintance.kind === "admitted" && !this.#connection.isSilent;
  }

  open(): void {
    this.#connection.open();
  }

  async close(): Promise<void> {
    this.#debts.forget();
    await this.#connection.close();
  }

  ask(request: Request, reply: (vote: Vote) => void): void {
    const fault = this.#faultBefore(request);
    if (fault !== undefined) return queueMicrotask(() => reply(fault));
    this.#outbox.put(this.#prefixed(request), reply);
  }

  undo(request: ReleaseRequest, until: Instant, reply: (vote: Vote) => void): void {
    this.#debts.undo(request, until, reply);
  }

  inspect(keys: readonly string[], reply: (sighting: Sighting | Faulted) => void): void {
    if (!this.#connection.isReady) return queueMicrotask(() => reply(this.#unreachable()));
    this.#run(INSPECT, inspectArguments(keys.map((key) => this.#prefix(key)))).then(
      (answer) => reply(decodeSighting(answer) ?? oddReply(answer)),
      (error: unknown) => reply(faultOf(error)),
    );
  }

  /** Asks the server who it is, unless that is being asked already. */
  meet(): void {
    if (this.#introducing || !this.#connection.isReady) return;
    this.#introducing = true;
    introduce(this.#connection, this.#clock).then(
      (met) => {
        this.#introducing = false;
        this.#events.met(this, met);
        this.#debts.collect();
      },
      (error: unknown) => {
        this.#introducing = false;
        // An ended connection says so itself, and knows better why.
        const detail = `it refused to introduce itself: ${messageOf(error)}`;
        if (this.#connection.isReady) this.become({ kind: "excluded", detail, met: undefined });
      },
    );
  }

  become(acquaintance: Acquaintance): void {
    this.#acquaintance = acquaintance;
    this.#events.changed(this);
  }

  async admit(request: AdmitRequest): Promise<Admission | Faulted> {
    try {
      const terms = { ...this.#terms, incarnation: request.incarnation };
      const answer = await this.#run(ADMIT, admitArguments(request, terms));
      return decodeAdmission(answer, request.incarnation) ?? oddReply(answer);
    } catch (error) {
      return faultOf(error);
    }
  }

  async #send(requests: readonly Request[]): Promise<readonly Vote[]> {
    if (!this.#connection.isReady) return requests.map(() => this.#unreachable());
    try {
      const answer = await this.#run(
        VOTE,
        voteArguments(requests, { ...this.#terms, incarnation: this.#incarnation() }),
      );
      const votes = decodeVotes(answer, requests.length) ?? requests.map(() => oddReply(answer));
      // N1: its memory is another one than we knew.
      if (votes.some((vote) => vote.kind === "refused" && vote.reason === "unadmitted")) this.meet();
      return votes;
    } catch (error) {
      return requests.map(() => faultOf(error));
    }
  }

  /** By its digest; where the server does not have it (a restart, SCRIPT FLUSH) with its text, which was then not executed before. */
  async #run({ lua, sha }: Script, args: ScriptArguments): Promise<unknown> {
    try {
      return await this.#connection.call("EVALSHA", sha, ...args);
    } catch (error) {
      if (!messageOf(error).startsWith("NOSCRIPT") || !this.#connection.isReady) throw error;
      return this.#connection.call("EVAL", lua, ...args);
    }
  }

  /** What keeps a request from being sent at all. Releases need no admission: they only ever remove what is ours. */
  #faultBefore(request: Request): Faulted | undefined {
    if (!this.#connection.isReady) return this.#unreachable();
    const { acquaintance } = this;
    if (request.op === "release" || acquaintance.kind === "admitted") return undefined;
    const isExcluded = acquaintance.kind === "excluded";
    const detail = "detail" in acquaintance ? acquaintance.detail : "still being introduced";
    return { kind: "faulted", reason: isExcluded ? "excluded" : "not-admitted", detail, sent: false };
  }

  #unreachable(): Faulted {
    return {
      kind: "faulted",
      reason: "unreachable",
      detail: `not connected: ${this.#connection.lastError}`,
      sent: false,
    };
  }

  #incarnation(): string {
    return this.#acquaintance.kind === "admitted" ? this.#acquaintance.met.incarnation : "";
  }

  #prefixed(request: Request): Request {
    return this.#connection.keyPrefix === ""
      ? request
      : { ...request, keys: request.keys.map((key) => this.#prefix(key)) };
  }

  #prefix(key: string): string {
    return this.#connection.keyPrefix + key;
  }
}

function scriptOf(lua: string): Script {
  return { lua, sha: createHash("sha1").update(lua).digest("hex") };
}

/** An error is not proof that nothing happened: a proxy between us may have made it up. */
function faultOf(error: unknown): Faulted {
  return { kind: "faulted", reason: "error", detail: messageOf(error), sent: true };
}

function oddReply(answer: unknown): Faulted {
  return faultOf(new Error(`unexpected reply of type ${Array.isArray(answer) ? "array" : typeof answer}`));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
