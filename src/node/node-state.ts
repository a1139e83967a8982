/**
 * What the scripts mean, as a pure state machine: one node's memory, and what each request does to it (rules N1–N9, R1, R2,
 * X1, E1, E2, A1, A2, Q1–Q4). The Lua in redis-scripts.ts must do the same; a test drives both with the same requests and compares them.
 * Time is an argument. Used by the memory mode and by simulated nodes.
 */
import { QUARANTINE_TTL_MS_MAX } from "../clock/validity.ts";
import type {
  AcquireRequest,
  Declaration,
  ExchangeRequest,
  ExtendRequest,
  Faulted,
  Granted,
  LeaveRequest,
  Marker,
  Refusal,
  ReleaseRequest,
  Request,
  Sighting,
  Vote,
  Waiter,
} from "./lock-node.ts";
import { LINE_TTL_MS, type Tell, WaitingLines } from "./waiting-lines.ts";

/** What every script call carries besides its requests. */
export interface NodeTerms {
  /** inc: the memory of the node that this client admitted. */
  readonly incarnation: string;
  readonly clockWindowMs: number;
  /** B of rule N8. */
  readonly leadMs: number;
  readonly fenceTtlMs: number;
  /** How old a memory must be to vote for this client (N2); 0 where it trusts restarts. */
  readonly silenceMs: number;
}

/** What a server says of itself; none of it is part of its memory. */
export interface ServerFacts {
  readonly runId: string;
  readonly replicationId: string;
  /** `master_replid2` is set: it was a replica since its backlog was made. */
  readonly wasReplica: boolean;
  /** How often it was told to become a replica or a master; empty where that is not known. */
  readonly history: string;
  readonly evictedKeys: number;
}

export interface AdmitRequest {
  /** `run_id:master_replid`, as the server introduced itself. */
  readonly incarnation: string;
  readonly tauUs: number;
  /** That no lock is outstanding. By `init` it counts for a memory that was admitted before, too. */
  readonly declared: Declaration | undefined;
  /** G6: a memory that began before this node time is taken for a new one. */
  readonly notBeforeUs: number;
  /** G8: by the client's own clock it did not begin before this node time; 0 where the client cannot tell. */
  readonly youngSinceUs: number;
  /** G7: a memory without contact for longer is taken for a new one; 0 for never. */
  readonly staleAfterMs: number;
  /** Whether keys that were evicted are no loss. */
  readonly allowEviction: boolean;
  /** Brings a floor that lies in the future back to what the node's clock allows. Fences may then be smaller than forgotten ones. */
  readonly resetsFloor: boolean;
  readonly options: string;
}

export type Admission =
  | { readonly kind: "admitted"; readonly nowUs: number; readonly marker: Marker }
  /** The node's memory is not the one named: look again. */
  | { readonly kind: "other-incarnation"; readonly nowUs: number }
  | { readonly kind: "clock"; readonly nowUs: number };

/** What a server may refuse to write: at maxmemory what needs memory, as a replica or without enough replicas or a working disk everything. */
export type WriteRefusal = "growth" | "everything";

/** What an executed release did besides: see the vote. */
type Done = Pick<Granted, "woke" | "owesTombstone">;

/** A request that changed nothing, since the server refused to write. */
const UNWRITTEN: Faulted = {
  kind: "faulted",
  reason: "error",
  detail: "the server refuses to write",
  sent: true,
};

interface Expiring<T> {
  readonly value: T;
  readonly expiresMs: number;
}

export class NodeState {
  readonly #server: ServerFacts;
  readonly #locks = new Map<string, Expiring<string>>();
  readonly #fences = new Map<string, Expiring<number>>();
  #lines: WaitingLines;
  #marker: Marker | undefined;
  /** Changes with the server, and concerns requests only: an admission is asked again anyway. */
  refuses: WriteRefusal | undefined;

  /** `server`: read with every request. `marker`: what an earlier memory left behind, where the node was restored from a snapshot. */
  constructor(server: ServerFacts, marker?: Marker, tell: Tell = () => false) {
    this.#server = server;
    this.#marker = marker;
    this.#lines = new WaitingLines(tell);
  }

  get marker(): Marker | undefined {
    return this.#marker;
  }

  /** Whether it is the memory that its marker names (N1). */
  get isAdmitted(): boolean {
    return this.#marker !== undefined && isSameMemory(this.#marker, this.#server);
  }

  /** What a later memory of the same server is that was read from a disk, or a master, that had all of this. */
  copy(): NodeState {
    return this.copyFor(this.#server);
  }

  /** The same of another server. */
  copyFor(server: ServerFacts, tell?: Tell): NodeState {
    const copy = new NodeState(server, this.#marker);
    for (const [key, lock] of this.#locks) copy.#locks.set(key, lock);
    for (const [key, fence] of this.#fences) copy.#fences.set(key, fence);
    copy.#lines = this.#lines.copy(tell);
    return copy;
  }

  /** How many locks, fences and lines are stored, expired ones included until the next sweep. */
  get size(): number {
    return this.#locks.size + this.#fences.size + this.#lines.size;
  }

  /** Forgets what has expired, and fences of keys that nobody holds until there are no more than `fencesMax`. */
  sweep(nowUs: number, fencesMax: number = Infinity): void {
    for (const map of [this.#locks, this.#fences]) {
      for (const [key, entry] of map) if (isExpired(entry, nowUs)) map.delete(key);
    }
    if (this.#fences.size > fencesMax) this.#forgetFences(fencesMax);
    this.#lines.sweep((expiresMs) => hasPassed(expiresMs, nowUs));
  }

  /** Those that have stood longest first. The floor takes the place of all that are forgotten, so that no key is granted a smaller one. */
  #forgetFences(fencesMax: number): void {
    const marker = this.#marker;
    if (marker === undefined) return;
    let { floor } = marker;
    for (const [key, fence] of this.#fences) {
      if (this.#fences.size <= fencesMax) break;
      if (this.#locks.has(key)) continue;
      floor = Math.max(floor, fence.value);
      this.#fences.delete(key);
    }
    this.#marker = { ...marker, floor };
  }

  apply(request: Request, terms: NodeTerms, nowUs: number): Vote {
    for (const key of request.keys) this.#forgetExpired(key, nowUs);
    const outcome = this.#decide(request, terms, nowUs);
    if (outcome === undefined) return { kind: "granted", nowUs };
    if ("kind" in outcome) return outcome;
    return "reason" in outcome
      ? { kind: "refused", nowUs, ...outcome }
      : { kind: "granted", nowUs, ...outcome };
  }

  admit(request: AdmitRequest, terms: NodeTerms, nowUs: number): Admission {
    const { runId, replicationId, history, evictedKeys } = this.#server;
    if (request.incarnation !== `${runId}:${replicationId}`) return { kind: "other-incarnation", nowUs };
    if (isOutside(request.tauUs, nowUs, terms.clockWindowMs)) return { kind: "clock", nowUs };
    const old = this.#marker;
    const leadUs = nowUs + terms.leadMs * 1_000;
    const marker =
      old !== undefined && this.#isUnbroken(old, request, nowUs)
        ? continued(old, request, nowUs, leadUs, evictedKeys)
        : begun(old, request, nowUs, leadUs, evictedKeys);
    this.#marker = { ...marker, replicationId, history, contactUs: nowUs };
    return { kind: "admitted", nowUs, marker: this.#marker };
  }

  /** A1: the memory that was admitted, which has lost nothing and which nobody else stood in for. */
  #isUnbroken(
    old: Marker,
    { notBeforeUs, staleAfterMs, allowEviction }: AdmitRequest,
    nowUs: number,
  ): boolean {
    if (!isSameMemory(old, this.#server) || old.sinceUs < notBeforeUs) return false;
    if (staleAfterMs > 0 && nowUs - old.contactUs > staleAfterMs * 1_000) return false;
    return allowEviction || this.#server.evictedKeys <= old.evictedKeys;
  }

  /** Who has each key now. */
  holders(keys: readonly string[], nowUs: number): (string | undefined)[] {
    return keys.map((key) => living(this.#locks.get(key), nowUs)?.value);
  }

  inspect(keys: readonly string[], nowUs: number): Sighting {
    const seen = keys.map((key) => {
      const lock = living(this.#locks.get(key), nowUs);
      return {
        holder: lock?.value,
        remainingMs: lock ? remaining(lock, nowUs) : 0,
        fence: this.#fence(key, nowUs),
      };
    });
    return { nowUs, keys: seen, marker: this.#marker };
  }

  /** Undefined where it is granted, and nothing is to be said of it. */
  #decide(request: Request, terms: NodeTerms, nowUs: number): Refusal | Faulted | Done | undefined {
    switch (request.op) {
      case "acquire":
        return this.#acquire(request, terms, nowUs, undefined, request.waiter);
      case "exchange":
        return this.#acquire(request, terms, nowUs, request.from, undefined);
      case "extend":
        return this.#extend(request, terms, nowUs);
      case "release":
        return this.#release(request, terms, nowUs);
      case "leave":
        return this.#leave(request, nowUs);
    }
  }

  #acquire(
    request: AcquireRequest | ExchangeRequest,
    terms: NodeTerms,
    nowUs: number,
    from: string | undefined,
    waiter: Waiter | undefined,
  ): Refusal | Faulted | undefined {
    const { keys, holder, proposal, tauUs } = request;
    const refusal = this.#admission(terms, nowUs);
    if (refusal !== undefined) return refusal;
    const locks = keys.map((key) => living(this.#locks.get(key), nowUs));
    const fences = keys.map((key) => this.#fence(key, nowUs));
    const fence = Math.max(this.#marker?.floor ?? 0, ...fences); // N4
    const mine = locks.filter((lock) => lock?.value === holder).length;
    if (mine > 0) {
      const isDuplicate = mine === keys.length && fences.every((each) => each === proposal);
      return isDuplicate ? undefined : { reason: "stale", fence }; // N5
    }
    const held = locks.findIndex((lock) => lock !== undefined && lock.value !== from); // X1
    if (held >= 0) return this.#held(keys, held, fence, waiter, nowUs); // N6
    if (proposal <= fence) return { reason: "stale", fence }; // N7
    if (isOutside(tauUs, nowUs, terms.clockWindowMs) || proposal > nowUs + terms.leadMs * 1_000)
      return { reason: "clock" }; // N8
    if (this.refuses !== undefined) return UNWRITTEN;
    this.#grant(request, waiter, terms, nowUs);
    return undefined;
  }

  /** N9, and whoever waited does not any more (Q2). */
  #grant(
    { keys, holder, proposal, ttlMs }: AcquireRequest | ExchangeRequest,
    waiter: Waiter | undefined,
    terms: NodeTerms,
    nowUs: number,
  ): void {
    this.#noteTtl(ttlMs, nowUs);
    for (const key of keys) {
      this.#setFence(key, proposal, terms.fenceTtlMs + ttlMs, nowUs);
      this.#locks.set(key, { value: holder, expiresMs: expiry(nowUs, ttlMs) });
      if (waiter !== undefined) this.#lines.part(key, waiter.id);
    }
  }

  /** N6; whoever waits is put in line for the key that is held, and for no other (Q1). */
  #held(
    keys: readonly string[],
    key: number,
    fence: number,
    waiter: Waiter | undefined,
    nowUs: number,
  ): Refusal | undefined {
    const name = keys[key] ?? "";
    const lock = this.#locks.get(name);
    if (lock === undefined) return undefined;
    const refusal = {
      reason: "held",
      key,
      holder: lock.value,
      remainingMs: remaining(lock, nowUs),
      fence,
    } as const;
    if (waiter === undefined) return refusal;
    const ahead =
      this.refuses === undefined ? this.#lines.join(name, waiter, expiry(nowUs, LINE_TTL_MS)) : undefined;
    for (const other of keys) if (other !== name) this.#leaveLine(other, waiter.id, nowUs);
    return { ...refusal, ...(ahead !== undefined && { ahead }) };
  }

  #extend(request: ExtendRequest, terms: NodeTerms, nowUs: number): Refusal | Faulted | undefined {
    const refusal = this.#admission(terms, nowUs);
    if (refusal !== undefined) return refusal;
    const locks = request.keys.map((key) => living(this.#locks.get(key), nowUs));
    const key = locks.findIndex((lock) => lock?.value !== request.holder);
    if (key >= 0) return { reason: "missing", key, holder: locks[key]?.value }; // E1, E2
    if (isOutside(request.tauUs, nowUs, terms.clockWindowMs)) return { reason: "clock" };
    if (this.refuses === "everything") return UNWRITTEN;
    this.#noteTtl(request.ttlMs, nowUs);
    for (const each of request.keys) {
      this.#locks.set(each, { value: request.holder, expiresMs: expiry(nowUs, request.ttlMs) });
    }
    return undefined;
  }

  #release(
    { keys, holder, proposal, wakes }: ReleaseRequest,
    terms: NodeTerms,
    nowUs: number,
  ): Faulted | Done | undefined {
    const mine = keys.filter((key) => living(this.#locks.get(key), nowUs)?.value === holder);
    if (mine.length > 0 && this.refuses === "everything") return UNWRITTEN;
    let woke = false;
    for (const key of mine) {
      this.#locks.delete(key); // R1
      if (wakes && this.#lines.wakeFirst(key)) woke = true; // Q3
    }
    // R2. A deletion makes room for the tombstone at maxmemory.
    const tombstone = Math.min(proposal, nowUs + terms.leadMs * 1_000);
    const lower = keys.filter((key) => this.#fence(key, nowUs) < tombstone);
    const isWritten = this.refuses === undefined || mine.length > 0;
    if (isWritten) for (const key of lower) this.#setFence(key, tombstone, terms.fenceTtlMs, nowUs);
    return doneOf(woke, tombstone < proposal || (!isWritten && lower.length > 0));
  }

  #leave({ keys, waiter }: LeaveRequest, nowUs: number): Done | undefined {
    const woken = keys.filter((key) => this.#leaveLine(key, waiter, nowUs));
    return doneOf(woken.length > 0, false);
  }

  /** Q4: who is not in line any more was told, or forgotten; if the lock is free then, the next one is told. */
  #leaveLine(key: string, waiter: string, nowUs: number): boolean {
    if (this.refuses === "everything") return false;
    const wasThere = this.#lines.part(key, waiter);
    return !wasThere && living(this.#locks.get(key), nowUs) === undefined && this.#lines.wakeFirst(key);
  }

  /** Redis drops what has expired when it is looked at: a clock that is set back afterwards does not bring it back. */
  #forgetExpired(key: string, nowUs: number): void {
    for (const map of [this.#locks, this.#fences]) {
      const entry = map.get(key);
      if (entry !== undefined && isExpired(entry, nowUs)) map.delete(key);
    }
    this.#lines.sweep((expiresMs) => hasPassed(expiresMs, nowUs), [key]);
  }

  /** N1 and N2, the same for everything that would make or prolong a lock. */
  #admission(terms: NodeTerms, nowUs: number): Refusal | undefined {
    const marker = this.#marker;
    if (marker?.incarnation !== terms.incarnation || !isSameMemory(marker, this.#server))
      return { reason: "unadmitted" };
    const { replicationId } = this.#server;
    if (marker.replicationId !== replicationId && this.refuses === undefined)
      this.#marker = { ...marker, replicationId };
    const untilUs = marker.sinceUs + terms.silenceMs * 1_000;
    if (terms.silenceMs > 0 && marker.declared !== "init" && nowUs < untilUs)
      return { reason: "quarantined", untilUs };
    return undefined;
  }

  /** N3: what is granted is noted first, so that others know how long to wait should it be forgotten elsewhere. */
  #noteTtl(givenMs: number, nowUs: number): void {
    const ttlMs = Math.min(givenMs, QUARANTINE_TTL_MS_MAX);
    const marker = this.#marker;
    if (marker === undefined) return;
    if (nowUs >= marker.turnUs) {
      const turnUs = nowUs + Math.max(marker.ttlMs, ttlMs) * 1_000;
      this.#marker = { ...marker, ttlMs, earlierTtlMs: marker.ttlMs, turnUs };
    } else if (ttlMs > marker.ttlMs) {
      this.#marker = { ...marker, ttlMs };
    }
  }

  #fence(key: string, nowUs: number): number {
    return living(this.#fences.get(key), nowUs)?.value ?? 0;
  }

  #setFence(key: string, value: number, ttlMs: number, nowUs: number): void {
    this.#fences.set(key, { value, expiresMs: expiry(nowUs, ttlMs) });
  }
}

/**
 * G1: still the memory that was admitted. The replication id tells a promotion; it changes, too, where nothing is lost: when a first
 * replica attaches (any backup) and when an idle backlog is freed. The same process, which was no replica since its backlog was made and has
 * executed no command since that could have made it one, has its memory still.
 */
function isSameMemory(marker: Marker, server: ServerFacts): boolean {
  if (!marker.incarnation.startsWith(server.runId)) return false;
  if (marker.replicationId === server.replicationId) return true;
  return !server.wasReplica && server.history !== "" && server.history === marker.history;
}

/**
 * A1. A declaration is a beginning. One that lies in the future was noted before the clock was set back; one that lies longer ago than by the
 * client's own clock, before it leapt ahead (G8): what was to be waited for is waited for from then on.
 */
function continued(
  old: Marker,
  request: AdmitRequest,
  nowUs: number,
  leadUs: number,
  evictedKeys: number,
): Marker {
  const isDeclared = request.declared === "init";
  const sinceUs = isDeclared ? nowUs : Math.min(Math.max(old.sinceUs, request.youngSinceUs), nowUs);
  const floor = request.youngSinceUs > old.sinceUs ? Math.max(old.floor, leadUs) : old.floor;
  return {
    ...old,
    sinceUs,
    declared: isDeclared ? "init" : old.declared,
    floor: request.resetsFloor ? Math.min(floor, leadUs) : floor,
    // What one client allows is no less a loss to the others.
    evictedKeys: Math.min(old.evictedKeys, evictedKeys),
  };
}

/** A2. */
function begun(
  old: Marker | undefined,
  { incarnation, declared, options, resetsFloor }: AdmitRequest,
  nowUs: number,
  leadUs: number,
  evictedKeys: number,
): Omit<Marker, "replicationId" | "history" | "contactUs"> {
  const floor = resetsFloor ? leadUs : Math.max(old?.floor ?? 0, leadUs);
  // What an earlier memory granted may be outstanding on other nodes.
  const { ttlMs = 0, earlierTtlMs = 0, turnUs = 0 } = old ?? {};
  const ttls = { ttlMs, earlierTtlMs, turnUs };
  // A name of its own for every beginning: what was computed for an earlier memory of the same process says nothing of this one.
  const name = `${incarnation}:${nowUs}`;
  return { incarnation: name, sinceUs: nowUs, declared, floor, ...ttls, evictedKeys, options };
}

function doneOf(woke: boolean, owesTombstone: boolean): Done | undefined {
  if (!woke && !owesTombstone) return undefined;
  return { ...(woke && { woke }), ...(owesTombstone && { owesTombstone }) };
}

/** The window of rules N8, E1 and G3; 0 means that there is none. */
function isOutside(tauUs: number, nowUs: number, windowMs: number): boolean {
  return windowMs > 0 && Math.abs(tauUs - nowUs) > windowMs * 1_000;
}

/** Redis keeps expiries as milliseconds of its clock, and drops a key when its clock has gone past them. */
function expiry(nowUs: number, ttlMs: number): number {
  return Math.floor(nowUs / 1_000) + ttlMs;
}

function isExpired(entry: Expiring<unknown>, nowUs: number): boolean {
  return hasPassed(entry.expiresMs, nowUs);
}

function hasPassed(expiresMs: number, nowUs: number): boolean {
  return Math.floor(nowUs / 1_000) > expiresMs;
}

function living<T>(entry: Expiring<T> | undefined, nowUs: number): Expiring<T> | undefined {
  return entry === undefined || isExpired(entry, nowUs) ? undefined : entry;
}

function remaining(entry: Expiring<unknown>, nowUs: number): number {
  return entry.expiresMs - Math.floor(nowUs / 1_000);
}
