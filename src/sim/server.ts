/**
 * A simulated Redis server: a process with a memory, a wall clock of its own and the commands this library uses. The scripts are known
 * by their text; what they do is said by node-state.ts, which a test against real servers proves to be the same.
 */
import { createHash } from "node:crypto";

import type { VirtualClock } from "../clock/virtual-clock.ts";
import { noticeChannel } from "../node/key-names.ts";
import { NodeState, type ServerFacts, type WriteRefusal } from "../node/node-state.ts";
import type { LeaveRequest, Request, Vote } from "../node/lock-node.ts";
import type { Tell } from "../node/waiting-lines.ts";
import type { Prng } from "./prng.ts";
import {
  admissionReply,
  inspectionReply,
  markerFields,
  KNOWN_SCRIPTS,
  parseCall,
  type ScriptCall,
  votesReply,
} from "./scripts.ts";

export type ServerState = "up" | "paused" | "dead";

/** What one request did to the locks of a server; a waiter that leaves its line does nothing to them. */
export interface Execution {
  readonly server: string;
  readonly request: Exclude<Request, LeaveRequest>;
  readonly vote: Vote;
  /** The holder of each key, before and after. */
  readonly before: readonly (string | undefined)[];
  readonly after: readonly (string | undefined)[];
}

/** When a node could grant something: inside the window, and with a memory so old that the least patient client asks it. */
export interface OpenTerms {
  readonly clockWindowMs: number;
  readonly silenceMs: number;
}

/** What a restart finds on the disk. */
export type Disk = "everything" | "nothing" | "old-snapshot";

/** Wall clocks start here: any time will do that is large enough to be one. */
const EPOCH_MS = 1_800_000_000_000;

/** A connection that hears what is published on a channel, as far as the server knows. */
export interface Subscriber {
  readonly isConnected: () => boolean;
  readonly hear: (message: string) => void;
}

/** What may happen to a notice between the server and the one it is for; the rest of its way is the network's affair. */
export interface NoticeWeather {
  readonly lossChance: number;
  readonly doublingChance: number;
  /** How long it may be held up before it is sent. */
  readonly delayMsMax: number;
}

/** As real servers say it. */
const REFUSALS: Record<WriteRefusal, string> = {
  growth: "OOM command not allowed when used memory > 'maxmemory'.",
  everything: "NOREPLICAS Not enough good replicas to write.",
};

const EVICTING = "maxmemory:1000000\r\nmaxmemory_policy:allkeys-lru";

const CLEAR: NoticeWeather = { lossChance: 0, doublingChance: 0, delayMsMax: 0 };

/** What the process says of itself. `calls`: how often it was told to become a replica or a master. */
class Facts implements ServerFacts {
  readonly runId: string;
  readonly replicationId: string;
  readonly wasReplica = false;
  readonly isReplica: boolean = false;
  readonly calls: number = 0;
  readonly evictedKeys: number = 0;

  constructor(prng: Prng) {
    this.runId = prng.hex(40);
    this.replicationId = prng.hex(40);
  }

  get history(): string {
    return `${this.calls}`;
  }
}

/** An answer as the client library hands it out; an error is what the server said. */
export type Reply = { readonly value: unknown } | { readonly error: string };

export class SimServer {
  readonly name: string;
  state: ServerState = "up";
  /** Called with every request of a script, right after it was executed. */
  executed: (execution: Execution) => void = () => {};
  noticeWeather: NoticeWeather = CLEAR;
  /** What its scripts cannot write now: at maxmemory, or without its replicas or its disk. */
  refuses: WriteRefusal | undefined;
  /** How many replicas acknowledge what it writes (WAIT). */
  replicas = 0;
  /** Of its memory: whether it says that it may evict locks. It does so when `evict` is called. */
  mayEvict = false;
  /** How long a request of a script keeps the process busy, in ms: what comes meanwhile waits its turn. 0: no time at all. */
  requestMs = 0;
  readonly #subscribers = new Map<string, Set<Subscriber>>();
  readonly #clock: VirtualClock;
  readonly #prng: Prng;
  readonly #scripts = new Map<string, string>();
  #memory: NodeState;
  #snapshot: NodeState;
  /** What SWAPDB brings in; nothing at first. */
  #otherDatabase: NodeState | undefined;
  /** Locks that were asked for: one of them may be evicted. */
  readonly #locks = new Set<string>();
  readonly #facts: Facts;
  #clockBase = { at: 0, wallMs: EPOCH_MS, rate: 1 };
  /** What a stopped or busy process has in its sockets. */
  #backlog: (() => void)[] = [];
  #busyUntil = 0;
  #starts = 0;

  constructor(name: string, clock: VirtualClock, prng: Prng) {
    this.name = name;
    this.#clock = clock;
    this.#prng = prng;
    this.#facts = new Facts(prng);
    this.#memory = this.#emptyMemory();
    this.#snapshot = this.#memory.copy();
  }

  /** What it says of itself beside its memory. */
  get facts(): ServerFacts {
    return this.#facts;
  }

  /** How often it was started: connections to an earlier start are gone. */
  get starts(): number {
    return this.#starts;
  }

  nowUs(): number {
    const { at, wallMs, rate } = this.#clockBase;
    return Math.floor((wallMs + (this.#clock.now() - at) * rate) * 1_000);
  }

  /** How far its wall clock is ahead of the true time, in ms. */
  get skewMs(): number {
    return this.nowUs() / 1_000 - EPOCH_MS - this.#clock.now();
  }

  /** Who has the key here now. */
  holderOf(key: string): string | undefined {
    return this.#memory.holders([key], this.nowUs())[0];
  }

  /** Could it grant one of these keys to somebody who is not `holder`, for all it remembers, and has a clock that allows it? */
  isOpenTo(keys: readonly string[], holder: string, { clockWindowMs, silenceMs }: OpenTerms): boolean {
    const { isAdmitted, marker } = this.#memory;
    if (this.state === "dead" || !isAdmitted || marker === undefined) return false;
    const isOld = marker.declared === "init" || this.nowUs() >= marker.sinceUs + silenceMs * 1_000;
    const isInTime = clockWindowMs === 0 || Math.abs(this.skewMs) <= clockWindowMs;
    return isOld && isInTime && keys.some((key) => this.holderOf(key) !== holder);
  }

  forgetScripts(): void {
    this.#scripts.clear();
  }

  kill(): void {
    this.state = "dead";
    this.#backlog = [];
    this.#subscribers.clear();
  }

  /** Back with what its disk has; a new process is another incarnation, whatever it remembers. */
  start(disk: Disk): void {
    this.#starts++;
    Object.assign(this.#facts, new Facts(this.#prng));
    this.#otherDatabase = undefined;
    this.#remember(disk);
    this.forgetScripts();
    this.state = "up";
  }

  pause(): void {
    if (this.state === "up") this.state = "paused";
  }

  resume(): void {
    if (this.state !== "paused") return;
    this.state = "up";
    this.#work();
  }

  /** FLUSHALL: the process and its incarnation stay, all data and the marker go. */
  flush(): void {
    this.#memory = this.#emptyMemory();
    this.#otherDatabase = undefined;
  }

  /** SWAPDB: another database is in the place of the one with the locks, which comes back, marker and all, when it is called again. */
  swapDatabases(): void {
    [this.#memory, this.#otherDatabase] = [this.#otherDatabase ?? this.#emptyMemory(), this.#memory];
  }

  /** Takes one lock away that is held, as a policy does that may evict them. */
  evict(): void {
    const held = [...this.#locks].filter((key) => this.holderOf(key) !== undefined);
    const victim = held[this.#prng.int(0, held.length - 1)];
    if (victim === undefined) return;
    const terms = { incarnation: "", clockWindowMs: 0, leadMs: 0, fenceTtlMs: 0, silenceMs: 0 };
    const holder = this.holderOf(victim) ?? "";
    // To the lock, a release is the same; without a proposal it leaves no tombstone.
    const release = { op: "release", keys: [victim], holder, proposal: 0, wakes: false } as const;
    this.#memory.apply(release, terms, this.nowUs());
    Object.assign(this.#facts, { evictedKeys: this.#facts.evictedKeys + 1 });
  }

  /** How many connections hear some channel here. */
  get subscriptions(): number {
    return [...this.#subscribers.values()].flatMap((some) => [...some].filter((each) => each.isConnected()))
      .length;
  }

  subscribe(channel: string, subscriber: Subscriber): void {
    const known = this.#subscribers.get(channel) ?? new Set();
    this.#subscribers.set(channel, known.add(subscriber));
  }

  /** A replica that lacks the last writes takes over under the same address and on living connections (REPLICAOF … NO ONE). */
  failOver(disk: Disk): void {
    this.promote();
    this.#remember(disk);
  }

  /** REPLICAOF: it has its master's data and replication id from now on, or its own data where none is named, and writes nothing. */
  demote(master?: SimServer): void {
    const replicationId = master?.facts.replicationId ?? this.#prng.hex(40);
    const calls = this.#facts.calls + 1;
    Object.assign(this.#facts, { replicationId, wasReplica: false, isReplica: true, calls });
    this.refuses = "everything";
    if (master !== undefined) this.#memory = master.#memory.copyFor(this.#facts, this.#tell);
  }

  /** REPLICAOF NO ONE. */
  promote(): void {
    const calls = this.#facts.calls + 1;
    const replicationId = this.#prng.hex(40);
    if (this.#facts.isReplica) this.refuses = undefined;
    Object.assign(this.#facts, { replicationId, wasReplica: true, isReplica: false, calls });
  }

  /** A first replica attaches (any backup does that), or an idle backlog is freed: another replication id, and nothing is lost. */
  renewReplicationId(): void {
    Object.assign(this.#facts, { replicationId: this.#prng.hex(40), wasReplica: false });
  }

  /** For a later start from an old snapshot. */
  takeSnapshot(): void {
    this.#snapshot = this.#memory.copy();
  }

  stepClock(ms: number): void {
    this.#clockBase = { ...this.#clockBase, at: this.#clock.now(), wallMs: this.nowUs() / 1_000 + ms };
  }

  setClockRate(rate: number): void {
    this.#clockBase = { at: this.#clock.now(), wallMs: this.nowUs() / 1_000, rate };
  }

  /** Right again, to the microsecond. */
  setClockRight(): void {
    this.#clockBase = { at: this.#clock.now(), wallMs: EPOCH_MS + this.#clock.now(), rate: 1 };
  }

  /** Redis's own cycle, which drops what has expired by now even if its clock is set back later. */
  expire(): void {
    this.#memory.sweep(this.nowUs());
  }

  /** Something has arrived: done now, or when the process runs again. */
  perform(execute: () => void): void {
    if (this.state === "dead") return;
    this.#backlog.push(execute);
    this.#work();
  }

  #work(): void {
    while (this.state === "up" && this.#busyUntil <= this.#clock.now()) {
      const execute = this.#backlog.shift();
      if (execute === undefined) return;
      const wasFree = this.#busyUntil;
      execute();
      if (this.#busyUntil > wasFree) this.#clock.at(this.#busyUntil, () => this.#work());
    }
  }

  execute(command: string, args: readonly (string | number)[]): Reply {
    switch (command) {
      case "TIME":
        return { value: [String(Math.floor(this.nowUs() / 1e6)), String(this.nowUs() % 1e6)] };
      case "INFO":
        return { value: this.#info(String(args[0])) };
      case "WAIT":
        return { value: this.replicas };
      case "HMGET":
        return { value: markerFields(this.#memory.marker) };
      case "SCRIPT":
        return { value: this.#load(String(args[1])) };
      case "EVAL":
        this.#load(String(args[0]));
        return this.#runScript(String(args[0]), args.slice(1));
      case "EVALSHA":
        return this.#runKnownScript(String(args[0]), args.slice(1));
      default:
        return { error: `ERR unknown command '${command}'` };
    }
  }

  #remember(disk: Disk): void {
    const kept = disk === "old-snapshot" ? this.#snapshot : this.#memory;
    this.#memory = disk === "nothing" ? this.#emptyMemory() : kept.copy();
  }

  #emptyMemory(): NodeState {
    return new NodeState(this.#facts, undefined, this.#tell);
  }

  readonly #tell: Tell = (waiter, key) => this.#publish(noticeChannel(waiter), key);

  /** Whether any connection was there to hear it, for all the server knows. */
  #publish(channel: string, message: string): boolean {
    const subscribers = [...(this.#subscribers.get(channel) ?? [])].filter((each) => each.isConnected());
    this.#subscribers.set(channel, new Set(subscribers));
    for (const { hear } of subscribers) this.#send(() => hear(message));
    return subscribers.length > 0;
  }

  #send(notice: () => void): void {
    const { lossChance, doublingChance, delayMsMax } = this.noticeWeather;
    if (lossChance > 0 && this.#prng.chance(lossChance)) return;
    const copies = doublingChance > 0 && this.#prng.chance(doublingChance) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (delayMsMax === 0) notice();
      else this.#clock.at(this.#clock.now() + this.#prng.between(0, delayMsMax), notice);
    }
  }

  #load(text: string): string {
    const sha = shaOf(text);
    this.#scripts.set(sha, text);
    return sha;
  }

  #runKnownScript(sha: string, args: readonly (string | number)[]): Reply {
    const text = this.#scripts.get(sha);
    if (text === undefined) return { error: "NOSCRIPT No matching script. Please use EVAL." };
    return this.#runScript(text, args);
  }

  #runScript(text: string, args: readonly (string | number)[]): Reply {
    const script = KNOWN_SCRIPTS.get(text);
    if (script === undefined)
      return { error: "ERR this simulated server knows the scripts of this library only" };
    const call = parseCall(script, args);
    if (call.kind === "admit" && this.refuses !== undefined) return { error: REFUSALS[this.refuses] };
    return { value: this.#apply(call) };
  }

  #apply(call: ScriptCall): unknown {
    const nowUs = this.nowUs();
    switch (call.kind) {
      case "vote":
        this.#busyUntil = this.#clock.now() + this.requestMs * call.requests.length;
        return votesReply(
          nowUs,
          call.requests.map((request) => this.#vote(request, call, nowUs)),
        );
      case "admit":
        return admissionReply(this.#memory.admit(call.request, call.terms, nowUs));
      case "inspect":
        return inspectionReply(this.#memory.inspect(call.keys, nowUs));
    }
  }

  #vote(request: Request, { terms }: ScriptCall & { kind: "vote" }, nowUs: number): Vote {
    const holders = () => this.#memory.holders(request.keys, nowUs);
    const before = holders();
    for (const key of request.keys) this.#locks.add(key);
    this.#memory.refuses = this.refuses;
    const vote = this.#memory.apply(request, terms, nowUs);
    if (request.op === "leave") return vote;
    const after = vote.kind === "granted" ? holders() : before;
    this.executed({ server: this.name, request, vote, before, after });
    return vote;
  }

  #info(section: string): string {
    const facts = {
      server: `run_id:${this.#facts.runId}`,
      replication: `role:${this.#facts.isReplica ? "slave" : "master"}\r\nmaster_replid:${this.#facts.replicationId}`,
      stats: `evicted_keys:${this.#facts.evictedKeys}`,
      memory: this.mayEvict ? EVICTING : "maxmemory:0\r\nmaxmemory_policy:noeviction",
    };
    return `${facts[section as keyof typeof facts] ?? ""}\r\n`;
  }
}

const shas = new Map<string, string>();

/** Every server of every simulation is given the same few scripts. */
function shaOf(text: string): string {
  const known = shas.get(text);
  if (known !== undefined) return known;
  const sha = createHash("sha1").update(text).digest("hex");
  if (KNOWN_SCRIPTS.has(text)) shas.set(text, sha);
  return sha;
}
