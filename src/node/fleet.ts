/**
 * The Redis servers of one locker, and the restart guard (rules G1–G5): who may vote, and from when. A server whose memory this
 * client does not know is admitted only after all it may have forgotten has expired. Whoever is admitted is asked; the last word
 * is the script's, which compares the memory itself with every vote.
 */
import { type Clock, type Instant, Latch, type Timer } from "../clock/clock.ts";
import type { NodeTime } from "../clock/node-time.ts";
import { leadMs, quarantineMs, type ValidityRules } from "../clock/validity.ts";
import { ConfigError } from "../errors.ts";
import type { Events } from "../events.ts";
import type { ConnectionTimes, NodeInput } from "./connection.ts";
import { type Introduction, objection } from "./introduction.ts";
import type { Fleet, FleetNodeState, Request } from "./lock-node.ts";
import type { Admission } from "./node-state.ts";
import { reachOf } from "./reach.ts";
import { RedisNode, type RedisNodeEvents } from "./redis-node.ts";
import { type EncodedRequest, encodeRequest } from "./script-calls.ts";

/** What a node does that lost its memory; see the locker's option. */
export type RestartGuard = "strict" | "first-use" | "trust";

export interface FleetTerms extends ValidityRules {
  readonly quorum: number;
  readonly ttlMs: number;
  readonly maxTtlMs: number;
  readonly fenceTtlMs: number;
  readonly restartGuard: RestartGuard;
  readonly allowEviction: boolean;
  readonly waitReplicas: number;
  readonly nodeTimeoutMs: number;
  readonly times: ConnectionTimes;
  /** Called with the floor of every admission: no fence below it will be granted there. */
  readonly learnFloor: (floor: number) => void;
}

/** Servers are asked again who they are: a demotion or a new memory policy shows only there. */
const CHECKUP_MS = 5_000;
/** While a server waits for its admission or for the end of a quarantine, which somebody else may declare, this often. */
const CHECKUP_WAITING_MS = 250;
/** How long the first attempts wait for nodes that are slower than the first quorum: a lock on all nodes outlives more of them. */
const LAGGARDS_MS = 50;
/** An earlier admission may ask for longer quarantines a few times in a row, when others raise it meanwhile. */
const ADMISSIONS_MAX = 3;

export class RedisFleet implements Fleet {
  readonly nodes: readonly RedisNode[];
  readonly #terms: FleetTerms;
  readonly #clock: Clock;
  readonly #nodeTime: NodeTime;
  readonly #events: Events;
  readonly #waiters = new Set<() => void>();
  readonly #admitting = new Set<RedisNode>();
  /** G4: the incarnations of a fleet that was never used; undefined until all nodes have had their first chance. */
  #unused: Set<string> | undefined;
  #lastStates: readonly string[] = [];
  #checkup: Timer | undefined;
  #checkupAt: Instant = Infinity;
  #openedAt: Instant | undefined;
  #closed = false;

  constructor(
    inputs: readonly NodeInput[],
    terms: FleetTerms,
    clock: Clock,
    nodeTime: NodeTime,
    events: Events,
  ) {
    this.#terms = terms;
    this.#clock = clock;
    this.#nodeTime = nodeTime;
    this.#events = events;
    const nodeTerms = {
      usualTtlMs: terms.ttlMs,
      isOnly: inputs.length === 1,
      waitReplicas: terms.waitReplicas,
      nodeTimeoutMs: terms.nodeTimeoutMs,
      encode: encodingOnce(terms.ttlMs),
      clockWindowMs: terms.clockWindowMs,
      leadMs: leadMs(terms.clockWindowMs),
      fenceTtlMs: terms.fenceTtlMs,
    };
    const nodeEvents: RedisNodeEvents = {
      toldTime: (node, nowUs, askedAt, answeredAt) =>
        nodeTime.observe(this.nodes.indexOf(node), nowUs, askedAt, answeredAt),
      met: this.#met.bind(this),
      changed: () => this.#changed(),
    };
    this.nodes = inputs.map(
      (input) => new RedisNode(reachOf(input, terms.times, clock), nodeTerms, clock, nodeEvents),
    );
    refuseTwins(this.nodes);
    for (const node of this.nodes) node.open();
    this.#planCheckup();
  }

  async opened(): Promise<void> {
    while (!this.#closed && this.misconfigured() === undefined && !this.#isOpen()) await this.#nextChange();
    this.#openedAt ??= this.#clock.now();
    // Once in the fleet's life: later calls must not wait for a node that hangs.
    await this.#allDecided(this.#openedAt + LAGGARDS_MS - this.#clock.now());
  }

  async ready(signal?: AbortSignal): Promise<void> {
    for (;;) {
      signal?.throwIfAborted();
      const fault = this.misconfigured();
      if (fault !== undefined) throw fault;
      const mayVote = this.state().filter(({ state }) => state === "admitted").length;
      if (this.#closed || mayVote >= this.#terms.quorum) return this.#allDecided(LAGGARDS_MS);
      await this.#nextChange(
        Math.min(...this.nodes.map((node) => this.#quarantineLeftMs(node) || Infinity)),
        signal,
      );
    }
  }

  async init(): Promise<readonly FleetNodeState[]> {
    await this.#allDecided(2 * this.#terms.times.connectTimeoutMs);
    await Promise.all(this.nodes.map((node) => this.#declare(node)));
    return this.state();
  }

  state(): readonly FleetNodeState[] {
    return this.nodes.map((node) => this.#stateOf(node));
  }

  misconfigured(): ConfigError | undefined {
    const met = new Map<string, RedisNode>();
    for (const node of this.nodes) {
      const { acquaintance } = node;
      if (!("met" in acquaintance) || acquaintance.met === undefined) continue;
      const twin = met.get(acquaintance.met.runId);
      if (twin !== undefined) {
        return new ConfigError(
          `nodes: ${twin.name} and ${node.name} are the same server (run_id ${acquaintance.met.runId}); a quorum needs independent ones`,
        );
      }
      met.set(acquaintance.met.runId, node);
    }
    return undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#checkup?.cancel();
    this.#changed();
    await Promise.all(this.nodes.map((node) => node.close()));
  }

  #met(node: RedisNode, met: Introduction): void {
    if (this.#closed) return;
    if (Number.isSafeInteger(met.nodeUs)) {
      const index = this.nodes.indexOf(node);
      this.#nodeTime.observe(index, met.nodeUs, met.askedAt, met.answeredAt);
      const skewMs = this.#nodeTime.skewMs(index) ?? 0;
      this.#events.emit(() => ({ type: "node-clock", node: node.name, skewMs }));
    }
    const detail = objection(met, this.#terms.allowEviction);
    const { acquaintance } = node;
    if (detail !== undefined) {
      node.become({ kind: "excluded", detail, met });
    } else if (
      acquaintance.kind === "admitted" &&
      met.marker !== undefined &&
      isSameMemory(acquaintance.met, met)
    ) {
      node.become({ kind: "admitted", met, marker: met.marker });
    } else {
      node.become({ kind: "unadmitted", detail: "waits for its admission", met });
    }
    this.#considerAll();
  }

  /** One more clock is known, so others may be admitted now too (G3). */
  #considerAll(): void {
    for (const each of this.nodes) void this.#consider(each);
  }

  /** Admits a node that waits for it, if enough clocks agree with its own. */
  async #consider(node: RedisNode, declared = false): Promise<void> {
    const { acquaintance } = node;
    const isWaiting = acquaintance.kind === "unadmitted" || (declared && acquaintance.kind === "admitted");
    if (!isWaiting || this.#admitting.has(node) || this.#closed || !this.#knowsWhetherUsed()) return;
    const doubt = this.#clockDoubt(node);
    if (doubt !== undefined) {
      if (acquaintance.kind === "unadmitted" && acquaintance.detail !== doubt)
        node.become({ ...acquaintance, detail: doubt });
      return;
    }
    this.#admitting.add(node);
    try {
      await this.#admit(node, acquaintance.met, declared);
    } finally {
      this.#admitting.delete(node);
      this.#changed();
    }
  }

  /** G3: what is wrong with its clock, as far as the others' tell. */
  #clockDoubt(node: RedisNode): string | undefined {
    const index = this.nodes.indexOf(node);
    const { clockWindowMs, quorum } = this.#terms;
    if (clockWindowMs === 0 || this.#nodeTime.agreeing(index, clockWindowMs) >= quorum) return undefined;
    const skewMs = Math.round(this.#nodeTime.skewMs(index) ?? 0);
    return `not admitted: the clocks of ${quorum} nodes must agree with its own within ${clockWindowMs} ms (now ${skewMs} ms off)`;
  }

  /** G4: whether any node was ever admitted is asked once, of all of them: one that cannot be met may know more than the others. */
  #knowsWhetherUsed(): boolean {
    if (this.#terms.restartGuard !== "first-use" || this.#unused !== undefined) return true;
    if (this.nodes.some(({ acquaintance }) => acquaintance.kind === "connecting")) return false;
    const met = this.nodes.flatMap(({ acquaintance }) =>
      "met" in acquaintance && acquaintance.met !== undefined ? [acquaintance.met] : [],
    );
    const isUnused = met.length === this.nodes.length && met.every(({ marker }) => marker === undefined);
    this.#unused = new Set(isUnused ? met.map(({ incarnation }) => incarnation) : []);
    return true;
  }

  async #admit(node: RedisNode, met: Introduction, isDeclared: boolean): Promise<void> {
    // Once for each: were it flushed later, its incarnation would still be the same.
    const declared = this.#unused?.delete(met.incarnation) === true || isDeclared;
    let maxTtlMs = Math.max(this.#terms.maxTtlMs, ...this.#knownMaxTtls());
    for (let tries = 1; ; tries++) {
      const isPatient = this.#terms.restartGuard !== "trust" && !declared;
      const admission = await node.admit({
        incarnation: met.incarnation,
        maxTtlMs,
        quarantineMs: isPatient ? quarantineMs(maxTtlMs, this.#terms) : 0,
        tauUs: this.#nodeTime.estimateUs(this.#clock.now()) ?? 0,
        declared,
      });
      if (admission.kind !== "ttl-too-short" || tries >= ADMISSIONS_MAX)
        return this.#take(node, met, admission);
      maxTtlMs = admission.maxTtlMs;
    }
  }

  #take(
    node: RedisNode,
    met: Introduction,
    admission: Admission | { readonly kind: "faulted"; readonly detail: string },
  ): void {
    const { acquaintance } = node;
    // Another introduction, or the end of the connection, may have come first.
    if (
      !("met" in acquaintance) ||
      acquaintance.met?.incarnation !== met.incarnation ||
      acquaintance.kind === "excluded"
    )
      return;
    if (admission.kind === "admitted") {
      this.#terms.learnFloor(admission.marker.floor);
      node.become({ kind: "admitted", met, marker: admission.marker });
    } else {
      if (admission.kind === "other-incarnation") node.meet();
      const detail = admission.kind === "faulted" ? admission.detail : admission.kind;
      node.become({ kind: "unadmitted", met, detail: `not admitted: ${detail}` });
    }
  }

  async #declare(node: RedisNode): Promise<void> {
    while (this.#admitting.has(node)) await this.#nextChange();
    await this.#consider(node, true);
  }

  /** G3: what a node that lost its marker may have granted is bounded by what the others were admitted for. */
  #knownMaxTtls(): number[] {
    return this.nodes.flatMap(({ acquaintance }) => {
      const marker =
        acquaintance.kind === "admitted"
          ? acquaintance.marker
          : "met" in acquaintance
            ? acquaintance.met?.marker
            : undefined;
      return marker === undefined ? [] : [marker.maxTtlMs];
    });
  }

  #isOpen(): boolean {
    const admitted = this.nodes.filter(({ acquaintance }) => acquaintance.kind === "admitted").length;
    return admitted >= this.#terms.quorum || !this.nodes.some((node) => this.#isUndecided(node));
  }

  #isUndecided(node: RedisNode): boolean {
    return node.acquaintance.kind === "connecting" || this.#admitting.has(node);
  }

  /** Until every node has had its first chance, or the time is over. */
  async #allDecided(withinMs: number): Promise<void> {
    const deadline = this.#clock.now() + withinMs;
    while (!this.#closed && this.nodes.some((node) => this.#isUndecided(node))) {
      const leftMs = deadline - this.#clock.now();
      if (leftMs <= 0) return;
      await this.#nextChange(leftMs);
    }
  }

  #quarantineLeftMs(node: RedisNode): number {
    const { acquaintance } = node;
    if (acquaintance.kind !== "admitted") return 0;
    const nodeUs = this.#nodeTime.nodeUs(this.nodes.indexOf(node), this.#clock.now());
    return nodeUs === undefined ? 0 : Math.max(0, Math.ceil((acquaintance.marker.untilUs - nodeUs) / 1_000));
  }

  #stateOf(node: RedisNode): FleetNodeState {
    const { acquaintance, name } = node;
    const leftMs = this.#quarantineLeftMs(node);
    if (leftMs > 0) return { node: name, state: "quarantined", detail: `may vote in ${leftMs} ms` };
    if (acquaintance.kind === "admitted") return { node: name, state: "admitted", detail: "may vote" };
    return {
      node: name,
      state: acquaintance.kind,
      detail: "detail" in acquaintance ? acquaintance.detail : "connecting",
    };
  }

  #changed(): void {
    if (this.#terms.restartGuard === "first-use" && this.#unused === undefined) this.#considerAll();
    for (const wake of this.#waiters) wake();
    const states = this.state();
    states.forEach(({ node, state, detail }, index) => {
      if (this.#lastStates[index] !== state) this.#events.emit(() => ({ type: "node", node, state, detail }));
    });
    this.#lastStates = states.map(({ state }) => state);
    this.#planCheckup(states);
  }

  /** Settles at the next change, after `withinMs`, or when the signal aborts. */
  async #nextChange(withinMs: number = CHECKUP_MS, signal?: AbortSignal): Promise<void> {
    const latch = new Latch(this.#clock, Math.min(withinMs, CHECKUP_MS));
    const wake = () => latch.settle();
    this.#waiters.add(wake);
    signal?.addEventListener("abort", wake);
    await latch.settled;
    this.#waiters.delete(wake);
    signal?.removeEventListener("abort", wake);
  }

  #planCheckup(states: readonly FleetNodeState[] = this.state()): void {
    const isWaiting = states.some(({ state }) => state === "unadmitted" || state === "quarantined");
    const at = this.#clock.glance() + (isWaiting ? CHECKUP_WAITING_MS : CHECKUP_MS);
    if (this.#closed || at >= this.#checkupAt) return;
    this.#checkup?.cancel();
    this.#checkupAt = at;
    this.#checkup = this.#clock.at(at, () => {
      this.#checkupAt = Infinity;
      for (const node of this.nodes) node.meet();
      this.#planCheckup();
    });
  }
}

function isSameMemory(before: Introduction, now: Introduction): boolean {
  return before.incarnation === now.incarnation && now.marker?.incarnation === now.incarnation;
}

/** A request goes to all nodes one after the other, in the same words. */
function encodingOnce(usualTtlMs: number): (request: Request) => EncodedRequest {
  let last: Request | undefined;
  let words: EncodedRequest | undefined;
  return (request) => {
    if (words === undefined || request !== last) words = encodeRequest(request, usualTtlMs);
    last = request;
    return words;
  };
}

/** One address twice is seen at once; one server under two addresses only when it is met (`misconfigured`). */
function refuseTwins(nodes: readonly RedisNode[]): void {
  nodes.forEach((node, index) => {
    if (nodes.findIndex((other) => other.name === node.name) !== index) {
      throw new ConfigError(`nodes: ${node.name} is named twice; a quorum needs independent servers`);
    }
  });
}
