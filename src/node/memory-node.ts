/**
 * A node in this process's memory: the rules of node-state.ts without Redis. For the memory mode, where it is shared by all lockers
 * of the process, and for tests that bring their own.
 */
import type { Instant } from "../clock/clock.ts";
import { leadMs } from "../clock/validity.ts";
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

/** Expired locks and fences are forgotten every so many requests, so that keys used once do not stay for good. */
const SWEEP_EVERY_REQUESTS = 10_000;

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

  /** `nowUs`: the node's own clock, in µs, and never going back. */
  constructor(nowUs: () => number, fenceTtlMs: number) {
    this.#nowUs = nowUs;
    this.#terms = {
      incarnation: INCARNATION,
      clockWindowMs: 0,
      leadMs: leadMs(0),
      fenceTtlMs,
      silenceMs: 0,
    };
    this.#state.admit(ADMISSION, this.#terms, 0);
  }

  ask(request: Request, reply: (vote: Vote) => void): void {
    if (++this.#requests % SWEEP_EVERY_REQUESTS === 0) this.#state.sweep(this.#nowUs());
    queueMicrotask(() => reply(this.#state.apply(request, this.#terms, this.#nowUs())));
  }

  inspect(keys: readonly string[], reply: (sighting: Sighting | Faulted) => void): void {
    queueMicrotask(() => reply(this.#state.inspect(keys, this.#nowUs())));
  }

  listen(waiter: string, heard: (key: string) => void, ready: () => void): void {
    this.#listeners.set(waiter, heard);
    queueMicrotask(ready);
  }

  deafen(waiter: string): void {
    this.#listeners.delete(waiter);
  }

  #tell(waiter: string, key: string): boolean {
    const heard = this.#listeners.get(waiter);
    if (heard !== undefined) queueMicrotask(() => heard(key));
    return heard !== undefined;
  }
}

/** What one locker sees of the memory it shares: its time is learnt from every answer, as that of a server is. */
class SharedMemory implements LockNode {
  readonly name = "memory";
  readonly identity = "memory";
  readonly isHealthy = true;
  readonly isListening = true;
  readonly #node: MemoryNode;
  readonly #toldTime: (nowUs: number) => void;

  constructor(node: MemoryNode, toldTime: (nowUs: number) => void) {
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

  constructor(node: MemoryNode, toldTime: (nowUs: number) => void) {
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
    return [{ node: "memory", state: "admitted", detail: "in this process" }];
  }

  misconfigured(): undefined {
    return undefined;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
