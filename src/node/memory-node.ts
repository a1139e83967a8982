/**
 * A node in this process's memory: the rules of node-state.ts without Redis. For the memory mode, where it is shared by all lockers
 * of the process, and for tests that bring their own.
 */
import { type Instant, soon } from "../clock/clock.ts";
import { leadMs } from "../clock/validity.ts";
import { ConfigError, shown } from "../errors.ts";
import type {
  Faulted,
  Fleet,
  FleetNodeState,
  LockNode,
  ReleaseRequest,
  Request,
  Sighting,
  Vote,
} from "./lock-node.ts";
import { type AdmitRequest, NodeState, type NodeTerms, type ServerFacts } from "./node-state.ts";

/**
 * What is over is forgotten every so many requests, or every so many as there are entries, so that a sweep costs a few ns a request however
 * much is held.
 */
const SWEEP_EVERY_REQUESTS = 10_000;
/**
 * So many fences of keys that nobody holds are remembered, some 2 MB. A floor stands in for the others, which costs nothing: fences are times,
 * and that of an old one is long past when the key is asked for again.
 */
const FENCES_MAX = 10_000;

/** One memory for the life of the process: it is lost with everybody who used it. */
const SERVER: ServerFacts = {
  runId: "memory",
  replicationId: "1",
  wasReplica: false,
  history: "",
  evictedKeys: 0,
};
const INCARNATION = `${SERVER.runId}:${SERVER.replicationId}`;

const ADMISSION: AdmitRequest = {
  incarnation: INCARNATION,
  tauUs: 0,
  declared: undefined,
  notBeforeUs: 0,
  youngSinceUs: 0,
  staleAfterMs: 0,
  allowEviction: true,
  resetsFloor: false,
  options: "memory",
};

export class MemoryNode {
  readonly #listeners = new Map<string, (key: string) => void>();
  readonly #state = new NodeState(SERVER, undefined, (waiter, key) => this.#tell(waiter, key));
  readonly #nowUs: () => number;
  readonly #terms: NodeTerms;
  #requests = 0;
  #sweepAt = SWEEP_EVERY_REQUESTS;

  /** `nowUs`: the node's own clock, in µs, and never going back. */
  constructor(nowUs: () => number, fenceTtlMs: number) {
    this.#nowUs = nowUs;
    const terms = { incarnation: "", clockWindowMs: 0, leadMs: leadMs(0), fenceTtlMs, silenceMs: 0 };
    this.#state.admit(ADMISSION, terms, 0);
    this.#terms = { ...terms, incarnation: this.#state.marker?.incarnation ?? "" };
  }

  ask(request: Request, reply: (vote: Vote) => void): void {
    if (++this.#requests >= this.#sweepAt) this.#sweep();
    soon(() => reply(this.#state.apply(request, this.#terms, this.#nowUs())));
  }

  /** How many entries it has, those that are over and were not forgotten yet included. */
  get size(): number {
    return this.#state.size;
  }

  inspect(keys: readonly string[], reply: (sighting: Sighting | Faulted) => void): void {
    soon(() => reply(this.#state.inspect(keys, this.#nowUs())));
  }

  listen(waiter: string, heard: (key: string) => void, ready: () => void): void {
    this.#listeners.set(waiter, heard);
    soon(ready);
  }

  deafen(waiter: string): void {
    this.#listeners.delete(waiter);
  }

  #sweep(): void {
    this.#state.sweep(this.#nowUs(), FENCES_MAX);
    this.#sweepAt = this.#requests + Math.max(SWEEP_EVERY_REQUESTS, this.#state.size);
  }

  #tell(waiter: string, key: string): boolean {
    const heard = this.#listeners.get(waiter);
    if (heard !== undefined) soon(() => heard(key));
    return heard !== undefined;
  }
}

/** What a memory is to a locker, whichever copy of this module either of them is from. */
export type Memory = Pick<MemoryNode, "ask" | "inspect" | "listen" | "deafen">;

/** Changes with `Memory` and with the requests and votes that go through it: copies of different versions must not talk past each other. */
const MEMORY_VERSION = 1;
const REGISTRY = Symbol.for("holdfast.memory");

interface Registry {
  readonly version: number;
  readonly memory: Memory;
}

/**
 * The one memory of this process, or of this worker thread: found by a name that every copy of this module knows (a bundler makes some, and
 * so do two versions side by side), since locks of two memories would not exclude each other. Throws where a copy of another version has
 * made one that this one cannot use.
 */
export function sharedMemory(make: () => Memory): Memory {
  const holder = globalThis as { [REGISTRY]?: Registry };
  const { version, memory } = (holder[REGISTRY] ??= { version: MEMORY_VERSION, memory: make() });
  if (version === MEMORY_VERSION) return memory;
  throw new ConfigError(
    `mode: another version of holdfast in this process has locks in its memory already (version ${shown(version)} of it, here ${MEMORY_VERSION}), ` +
      "and would not see those of this one; let the process have one version of holdfast",
  );
}

/** What one locker sees of the memory it shares: its time is learnt from every answer, as that of a server is. */
class SharedMemory implements LockNode {
  readonly name = "memory";
  readonly identity = "memory";
  readonly isHealthy = true;
  readonly isListening = true;
  readonly #node: Memory;
  readonly #toldTime: (nowUs: number) => void;

  constructor(node: Memory, toldTime: (nowUs: number) => void) {
    this.#node = node;
    this.#toldTime = toldTime;
  }

  ask(request: Request, reply: (vote: Vote) => void): void {
    this.#node.ask(request, (vote) => {
      if (vote.kind !== "faulted") this.#toldTime(vote.nowUs);
      reply(vote);
    });
  }

  undo(request: ReleaseRequest, _until: Instant, reply: (vote: Vote) => void): void {
    this.ask(request, reply);
  }

  inspect(keys: readonly string[], reply: (sighting: Sighting | Faulted) => void): void {
    this.#node.inspect(keys, reply);
  }

  listen(waiter: string, heard: (key: string) => void, ready: () => void): void {
    this.#node.listen(waiter, heard, ready);
  }

  deafen(waiter: string): void {
    this.#node.deafen(waiter);
  }
}

/** A fleet of one memory node: always open, never in quarantine. */
export class MemoryFleet implements Fleet {
  readonly nodes: readonly LockNode[];

  constructor(node: Memory, toldTime: (nowUs: number) => void) {
    this.nodes = [new SharedMemory(node, toldTime)];
  }

  opened(): Promise<void> {
    return Promise.resolve();
  }

  ready(): Promise<boolean> {
    return Promise.resolve(true);
  }

  init(): Promise<readonly FleetNodeState[]> {
    return Promise.resolve(this.state());
  }

  state(): readonly FleetNodeState[] {
    return [{ node: "memory", state: "admitted", detail: "in this thread of this process" }];
  }

  misconfigured(): undefined {
    return undefined;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
