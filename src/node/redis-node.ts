/**
 * A Redis server as a node: one request in, one vote out. Holds its connection and what is known of its memory; whether that memory
 * may vote is decided by the admission (fleet.ts), and again, every time, by the script.
 */
import { createHash } from "node:crypto";

import { type Clock, type Instant, soon } from "../clock/clock.ts";
import { messageOf } from "../errors.ts";
import { type Connection, ConnectionEndedError, isMendedByRedial, type Listener } from "./connection.ts";
import { Debts } from "./debts.ts";
import { type Introduction, introduce } from "./introduction.ts";
import { FENCE_KEY_PATTERN, isFenceKey, noticeChannel } from "./key-names.ts";
import type { Faulted, LockNode, Marker, ReleaseRequest, Request, Sighting, Vote } from "./lock-node.ts";
import type { Admission, AdmitRequest, NodeTerms } from "./node-state.ts";
import { Outbox } from "./outbox.ts";
import { remedyFor, withRemedy } from "./remedies.ts";
import type { Reach } from "./reach.ts";
import {
  ADMIT_SCRIPT,
  INSPECT_SCRIPT,
  LONE_SCRIPTS,
  LOWER_FENCES_SCRIPT,
  VOTE_SCRIPT,
} from "./redis-scripts.ts";
import type { Wire } from "./resp.ts";
import {
  admitCall,
  callHead,
  decodeAdmission,
  decodeSighting,
  decodeVotes,
  type EncodedRequest,
  encodeRequest,
  inspectCall,
  voteCall,
} from "./script-calls.ts";

/** How far this client and the node's present memory have come. */
export type Acquaintance =
  | { readonly kind: "connecting" }
  | { readonly kind: "unreachable"; readonly detail: string }
  | {
      readonly kind: "excluded";
      readonly detail: string;
      readonly met: Introduction | undefined;
      readonly isLasting?: boolean;
    }
  | { readonly kind: "unadmitted"; readonly detail: string; readonly met: Introduction }
  | Admitted;

interface Admitted {
  readonly kind: "admitted";
  readonly met: Introduction;
  readonly marker: Marker;
  /** N2: how old it must be to vote, and from when on it is by this client's clock. */
  readonly silenceMs: number;
  readonly votesFrom: Instant;
  /** G7: until when nobody can have stood in for it, unless it is looked after again. */
  readonly votesUntil: Instant;
}

export interface RedisNodeEvents {
  /** It told its time, in an answer to what was asked at `askedAt`. */
  toldTime(node: RedisNode, nowUs: number, askedAt: Instant, answeredAt: Instant): void;
  /** It introduced itself, for the first time on a connection or again. */
  met(node: RedisNode, met: Introduction): void;
  changed(node: RedisNode): void;
}

export interface RedisNodeTerms extends Omit<NodeTerms, "incarnation" | "silenceMs"> {
  /** What a call says once for its requests. */
  readonly usualTtlMs: number;
  /** Whether it is the only node of its fleet. */
  readonly isOnly: boolean;
  /** So many replicas must have what it grants before that counts; 0 for none. */
  readonly waitReplicas: number;
  /** How long they may take. */
  readonly nodeTimeoutMs: number;
  /** Puts a request into words; the same one again in no time. */
  readonly encode: (request: Request) => EncodedRequest;
}

interface Script {
  readonly lua: string;
  readonly sha: string;
}

const VOTE = scriptOf(VOTE_SCRIPT);
const LONE = new Map(Object.entries(LONE_SCRIPTS).map(([letter, lua]) => [letter, scriptOf(lua)]));
const ADMIT = scriptOf(ADMIT_SCRIPT);
const INSPECT = scriptOf(INSPECT_SCRIPT);

export class RedisNode implements LockNode {
  readonly #reach: Reach;
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #terms: RedisNodeTerms;
  readonly #events: RedisNodeEvents;
  readonly #outbox: Outbox;
  readonly #debts: Debts;
  #acquaintance: Acquaintance = { kind: "connecting" };
  #wasAdmitted = false;
  /** With the incarnation that was admitted; an empty one is no node's. */
  #callHead: Wire;
  /** Before and after that nothing is asked that needs a vote; undefined where there is nothing to mind any more. */
  #votesFrom: Instant | undefined;
  #votesUntil: Instant = Infinity;
  #marker: Marker | undefined;
  /** The session on which it is asked who it is; undefined while it is not. */
  #introducing: number | undefined;
  /** The server that was met last. */
  #runId: string | undefined;
  #listener: Listener | undefined;

  constructor(reach: Reach, terms: RedisNodeTerms, clock: Clock, events: RedisNodeEvents) {
    this.#clock = clock;
    this.#terms = terms;
    this.#callHead = callHead({ ...terms, incarnation: "", silenceMs: 0 }, terms.usualTtlMs);
    this.#events = events;
    this.#reach = reach;
    this.#connection = reach.connect({
      up: () => this.meet(),
      down: (detail) => {
        // Of a server that was not there before either, the other connection knows by itself.
        if ("met" in this.#acquaintance) this.#listener?.renew();
        this.become({ kind: "unreachable", detail });
      },
    });
    this.#outbox = new Outbox((requests, answer) => this.#send(requests, answer), terms.isOnly);
    this.#debts = new Debts(
      clock,
      (request, reply) => this.ask(request, reply),
      () => this.#connection.isReady,
    );
  }

  get name(): string {
    return this.#connection.name;
  }

  get acquaintance(): Acquaintance {
    return this.#acquaintance;
  }

  /** The last one that was seen, also while the node cannot be reached. */
  get marker(): Marker | undefined {
    return this.#marker;
  }

  get identity(): string | undefined {
    return this.#acquaintance.kind === "admitted" ? this.#acquaintance.met.runId : undefined;
  }

  /** It was admitted before, so its address was right once. */
  get wasAdmitted(): boolean {
    return this.#wasAdmitted;
  }

  /** It cannot vote until an operator has mended something. */
  get isLastinglyOut(): boolean {
    const { acquaintance } = this;
    if (acquaintance.kind === "excluded" && acquaintance.isLasting === true) return true;
    return "detail" in acquaintance && this.#isLasting(acquaintance.detail);
  }

  /** A password or a certificate that was right once may be about to be renewed, and a name to lead back: the next dial will know. */
  #isLasting(detail: string): boolean {
    return !this.#wasAdmitted && remedyFor(detail) !== undefined;
  }

  get isHealthy(): boolean {
    return this.#acquaintance.kind === "admitted" && !this.#connection.isSilent;
  }

  open(): void {
    this.#connection.open();
  }

  async close(): Promise<void> {
    this.#debts.forget();
    this.deafen();
    await this.#connection.close();
  }

  get isListening(): boolean {
    return this.#listener?.isListening === true;
  }

  listen(waiter: string, heard: (key: string) => void, ready: () => void): void {
    const { keyPrefix } = this.#connection;
    this.#listener ??= this.#reach.listen(noticeChannel(waiter), {
      heard: (nodeKey) => heard(nodeKey.startsWith(keyPrefix) ? nodeKey.slice(keyPrefix.length) : nodeKey),
      ready,
    });
  }

  deafen(): void {
    void this.#listener?.close();
    this.#listener = undefined;
  }

  ask(request: Request, reply: (vote: Vote) => void): void {
    const answer = this.#answerBefore(request);
    if (answer !== undefined) return soon(() => reply(answer));
    this.#outbox.put(this.#encoded(request), reply);
  }

  undo(request: ReleaseRequest, until: Instant, reply: (vote: Vote) => void): void {
    this.#debts.undo(request, until, reply);
  }

  inspect(keys: readonly string[], reply: (sighting: Sighting | Faulted) => void): void {
    if (!this.#connection.isReady) return soon(() => reply(this.#unreachable()));
    this.#run(
      INSPECT,
      inspectCall(keys.map((key) => this.#prefix(key))),
      (answer) => reply(decodeSighting(answer) ?? oddReply(answer)),
      (error) => reply(faultOf(error)),
    );
  }

  /** Asks the server who it is, unless that is being asked already. */
  meet(): void {
    const { session } = this.#connection;
    if (this.#introducing === session || !this.#connection.isReady) return;
    this.#introducing = session;
    if (this.#acquaintance.kind !== "admitted") this.#loadScripts();
    // What another server said of itself, whose place was taken meanwhile, counts no more.
    const isPresent = (): boolean => this.#introducing === session && this.#connection.session === session;
    introduce(this.#connection, this.#clock).then(
      (met) => isPresent() && this.#met(met),
      (error: unknown) => {
        if (!isPresent()) return;
        this.#introducing = undefined;
        // An ended connection says so itself, and knows better why.
        const detail = `it refused to introduce itself: ${messageOf(error)}`;
        if (this.#connection.isReady) this.become({ kind: "excluded", detail, met: undefined });
      },
    );
  }

  /** It cannot be used as it is, and may be replaced or let us in: dials it again, and once more for as long as it is excluded. */
  redial(reason: string): void {
    this.#connection.redial(reason);
  }

  become(acquaintance: Acquaintance): void {
    this.#acquaintance =
      "detail" in acquaintance ? { ...acquaintance, detail: withRemedy(acquaintance.detail) } : acquaintance;
    this.#wasAdmitted ||= acquaintance.kind === "admitted";
    const isAdmitted = acquaintance.kind === "admitted";
    const incarnation = isAdmitted ? acquaintance.marker.incarnation : "";
    const silenceMs = isAdmitted ? acquaintance.silenceMs : 0;
    if ("met" in acquaintance && acquaintance.met !== undefined) this.#marker = acquaintance.met.marker;
    this.#votesFrom = isAdmitted ? acquaintance.votesFrom : undefined;
    this.#votesUntil = isAdmitted ? acquaintance.votesUntil : Infinity;
    this.#callHead = callHead({ ...this.#terms, incarnation, silenceMs }, this.#terms.usualTtlMs);
    if (acquaintance.kind === "excluded") this.redial(acquaintance.detail);
    this.#events.changed(this);
  }

  admit(request: AdmitRequest): Promise<Admission | Faulted> {
    return new Promise((resolve) =>
      this.#run(
        ADMIT,
        admitCall(request, this.#terms),
        (answer) => resolve(decodeAdmission(answer) ?? oddReply(answer)),
        (error) => {
          this.redial(messageOf(error));
          resolve(faultOf(error));
        },
      ),
    );
  }

  #met(met: Introduction): void {
    this.#introducing = undefined;
    // The name has moved: notices are to be heard there, too.
    if (this.#runId !== undefined && this.#runId !== met.runId) this.#listener?.renew();
    this.#runId = met.runId;
    this.#events.met(this, met);
    this.#debts.collect();
  }

  /**
   * Brings fences that lie further in the future than the node's clock allows back to what it does, a thousand keys at a time. Nobody can raise
   * one of them meanwhile, since no larger proposal is granted (N8).
   */
  async resetFences(): Promise<void> {
    let cursor = "0";
    do {
      const page = await this.#connection.call("SCAN", cursor, "MATCH", FENCE_KEY_PATTERN, "COUNT", 1_000);
      const [next, keys] = Array.isArray(page) ? (page as [unknown, unknown]) : ["0", []];
      cursor = String(next);
      const fences = Array.isArray(keys) ? (keys as string[]).filter(isFenceKey) : [];
      if (fences.length > 0) await this.#lowerFences(fences);
    } while (cursor !== "0");
  }

  #lowerFences(keys: readonly string[]): Promise<unknown> {
    const { leadMs, fenceTtlMs } = this.#terms;
    return this.#connection.call(
      "EVAL",
      LOWER_FENCES_SCRIPT,
      keys.length,
      ...keys,
      leadMs * 1_000,
      fenceTtlMs,
    );
  }

  /** So that a first request needs one round trip and not two. Where it is not allowed, a script is sent when it is needed. */
  #loadScripts(): void {
    for (const { lua } of [VOTE, ...LONE.values()])
      this.#connection.call("SCRIPT", "LOAD", lua).catch(() => {});
  }

  #send(requests: readonly EncodedRequest[], answer: (votes: readonly Vote[]) => void): void {
    const fail = (fault: Faulted) => answer(requests.map(() => fault));
    if (!this.#connection.isReady) return soon(() => fail(this.#unreachable()));
    const [lone] = requests;
    const askedAt = this.#clock.glance();
    const { session } = this.#connection;
    this.#run(
      (requests.length === 1 && lone !== undefined && LONE.get(lone.letter)) || VOTE,
      voteCall(requests, this.#callHead),
      (reply) => {
        const at = this.#clock.glance();
        const found = decodeVotes(reply, requests.length, at - askedAt);
        if (found === undefined) return fail(oddReply(reply));
        const { votes, nowUs } = found;
        this.#events.toldTime(this, nowUs, askedAt, at);
        for (const vote of votes) {
          if (showsOtherMemory(vote)) this.meet();
          else if (vote.kind === "faulted") this.#doubt(vote.detail, session);
        }
        if (this.#terms.waitReplicas > 0 && requests.some(mustOutlive))
          this.#replicated(session, requests, votes, answer);
        else answer(votes);
      },
      (error) => {
        this.#doubt(messageOf(error), session);
        fail(faultOf(error));
      },
    );
  }

  /** A server that was demoted, or does not know us any more, tells it first to those who ask for locks. */
  #doubt(refusal: string, session: number): void {
    if (session === this.#connection.session && isMendedByRedial(refusal)) this.redial(refusal);
  }

  /**
   * Grants count once enough replicas have them: whichever is promoted then has the lock, too. The server keeps back what this connection
   * asks next until they do, so releases wait behind. It speaks of what was written on one session: another one that took its place
   * meanwhile has written nothing, and all replicas have that.
   */
  #replicated(
    session: number,
    requests: readonly EncodedRequest[],
    votes: readonly Vote[],
    answer: (votes: readonly Vote[]) => void,
  ): void {
    const { waitReplicas, nodeTimeoutMs } = this.#terms;
    const judged = (fault: Faulted): Vote[] =>
      votes.map((vote, index) => {
        const request = requests[index];
        return vote.kind === "granted" && request !== undefined && mustOutlive(request) ? fault : vote;
      });
    if (session !== this.#connection.session) return answer(judged(faultOf(new ConnectionEndedError())));
    this.#connection.call("WAIT", waitReplicas, Math.max(1, Math.round(nodeTimeoutMs))).then(
      (found) => {
        const detail = `granted, but ${Number(found)} of ${waitReplicas} replicas have it`;
        answer(
          Number(found) >= waitReplicas
            ? votes
            : judged({ kind: "faulted", reason: "replicas", detail, sent: true }),
        );
      },
      (error: unknown) => answer(judged(faultOf(error))),
    );
  }

  /** By its digest; where the server does not have it (a restart, SCRIPT FLUSH) with its text, which was then not executed before. */
  #run(
    { lua, sha }: Script,
    call: Wire,
    answered: (answer: unknown) => void,
    failed: (error: unknown) => void,
  ): void {
    this.#connection.sendScript("EVALSHA", sha, call, answered, (error) => {
      if (!messageOf(error).startsWith("NOSCRIPT") || !this.#connection.isReady) return failed(error);
      this.#connection.sendScript("EVAL", lua, call, answered, failed);
    });
  }

  /** What keeps a request from being sent at all. Releases and leaves need no admission: they only ever remove what is ours. */
  #answerBefore(request: Request): Vote | undefined {
    if (!this.#connection.isReady) return this.#unreachable();
    const { acquaintance } = this;
    if (request.op === "release" || request.op === "leave") return undefined;
    if (acquaintance.kind === "admitted")
      return this.#votesFrom === undefined ? undefined : this.#refusalOf(acquaintance);
    const isExcluded = acquaintance.kind === "excluded";
    const detail = "detail" in acquaintance ? acquaintance.detail : "still being introduced";
    const reason = isExcluded ? "excluded" : "not-admitted";
    return { kind: "faulted", reason, detail, sent: false, ...lasting(this.isLastinglyOut) };
  }

  /** N2 by this client's clock, while the script judges by the node's; and G7 for a client that did not look after the node itself. */
  #refusalOf({ marker, silenceMs }: Admitted): Vote | undefined {
    const now = this.#clock.now();
    if (now > this.#votesUntil) {
      this.meet();
      const detail = "not looked after for staleAfterMs; being introduced again";
      return { kind: "faulted", reason: "not-admitted", detail, sent: false };
    }
    const leftMs = (this.#votesFrom ?? 0) - now;
    if (leftMs > 0) {
      const untilUs = marker.sinceUs + Math.ceil(silenceMs * 1_000);
      const nowUs = untilUs - Math.ceil(leftMs * 1_000);
      return { kind: "refused", reason: "quarantined", untilUs, nowUs };
    }
    if (this.#votesUntil === Infinity) this.#votesFrom = undefined;
    return undefined;
  }

  #unreachable(): Faulted {
    const { lastError } = this.#connection;
    return {
      kind: "faulted",
      reason: "unreachable",
      detail: `not connected: ${withRemedy(lastError)}`,
      sent: false,
      ...lasting(this.#isLasting(lastError)),
    };
  }

  /** Put into words once for all nodes, unless the keys have other names here. */
  #encoded(request: Request): EncodedRequest {
    if (this.#connection.keyPrefix === "") return this.#terms.encode(request);
    const keys = request.keys.map((key) => this.#prefix(key));
    return encodeRequest({ ...request, keys }, this.#terms.usualTtlMs);
  }

  #prefix(key: string): string {
    return this.#connection.keyPrefix + key;
  }
}

function scriptOf(lua: string): Script {
  return { lua, sha: createHash("sha1").update(lua).digest("hex") };
}

/** What gives or keeps a lock; releases and leaves may be lost with a master. */
function mustOutlive({ letter }: EncodedRequest): boolean {
  return !RELEASING.has(letter);
}

const RELEASING: ReadonlySet<string> = new Set(["r", "R", "L"]);

/** N1: the node's memory is another one than we knew. */
function showsOtherMemory(vote: Vote): boolean {
  return vote.kind === "refused" && vote.reason === "unadmitted";
}

/** An error is not proof that nothing happened: a proxy between us may have made it up. */
function faultOf(error: unknown): Faulted {
  if (error instanceof ConnectionEndedError)
    return { kind: "faulted", reason: "unreachable", detail: error.message, sent: true };
  const detail = messageOf(error);
  const isLasting = remedyFor(detail) !== undefined;
  return { kind: "faulted", reason: "error", detail: withRemedy(detail), sent: true, ...lasting(isLasting) };
}

function lasting(isLasting: boolean): Pick<Faulted, "isLasting"> {
  return isLasting ? { isLasting } : {};
}

function oddReply(answer: unknown): Faulted {
  return faultOf(new Error(`unexpected reply of type ${Array.isArray(answer) ? "array" : typeof answer}`));
}
