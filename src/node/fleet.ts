/**
 * The Redis servers of one locker, and the restart guard (rules G1–G8): who may vote, and from when. A server whose memory nobody admitted gets a
 * marker that says when it began; this client asks it for votes once it is so old that all it may have forgotten has expired. The last word is
 * the script's, which compares the memory itself with every vote.
 */
import { type Clock, type Instant, Latch, type Timer } from "../clock/clock.ts";
import type { NodeTime } from "../clock/node-time.ts";
import { leadMs, quarantineMs, type ValidityRules, unslewed } from "../clock/validity.ts";
import { ConfigError } from "../errors.ts";
import type { Events } from "../events.ts";
import type { ConnectionTimes, NodeInput } from "./connection.ts";
import { incarnationOf, type Introduction, isLasting, objection } from "./introduction.ts";
import type { Declaration, Fleet, FleetNodeState, Marker, Request } from "./lock-node.ts";
import { MemoryWatch, outstandingTtlMs } from "./memory-watch.ts";
import type { Admission, AdmitRequest } from "./node-state.ts";
import { reachOf } from "./reach.ts";
import { RedisNode, type RedisNodeEvents } from "./redis-node.ts";
import { type EncodedRequest, encodeRequest } from "./script-calls.ts";

/** What a node does that lost its memory; see the locker's option. */
export type RestartGuard = "strict" | "first-use" | "trust";

export interface FleetTerms extends ValidityRules {
  readonly quorum: number;
  readonly ttlMs: number;
  /** What a node that lost its memory may have granted at least, whatever the others know of. */
  readonly quarantineTtlMs: number;
  readonly maxTtlMs: number;
  readonly fenceTtlMs: number;
  readonly restartGuard: RestartGuard;
  /** G7; 0 for never. */
  readonly staleAfterMs: number;
  /** False for those who only look: they admit nobody. */
  readonly admits: boolean;
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
/** A beginning so far in the future was noted before the clock was set back; less may be the answer's way. */
const FUTURE_US = 1_000_000;

export class RedisFleet implements Fleet {
  readonly nodes: readonly RedisNode[];
  readonly #terms: FleetTerms;
  readonly #clock: Clock;
  readonly #nodeTime: NodeTime;
  readonly #events: Events;
  readonly #waiters = new Set<() => void>();
  readonly #watches: readonly MemoryWatch[];
  readonly #admitting = new Set<RedisNode>();
  /** G2: nodes that were another node's server when they were first met: a configuration that cannot work. */
  readonly #bornTwins = new Set<RedisNode>();
  /** G4: the incarnations of a fleet that was never used; undefined until all nodes have had their first chance. */
  #unused: Set<string> | undefined;
  /** By node: the options of others that were told of. */
  readonly #toldOptions = new Map<string, string>();
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
      toldTime: (node, nowUs, askedAt, answeredAt) => {
        const index = this.nodes.indexOf(node);
        this.#watches[index]?.heard(answeredAt);
        nodeTime.observe(index, nowUs, askedAt, answeredAt);
      },
      met: this.#met.bind(this),
      changed: () => this.#changed(),
    };
    this.#watches = inputs.map(() => new MemoryWatch());
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

  async ready(deadline: Instant, signal?: AbortSignal): Promise<boolean> {
    for (;;) {
      const fault = this.misconfigured();
      if (fault !== undefined) throw fault;
      const mayVote = this.state().filter(({ state }) => state === "admitted").length;
      if (this.#closed || mayVote >= this.#terms.quorum) {
        await this.#allDecided(LAGGARDS_MS);
        return true;
      }
      const leftMs = deadline - this.#clock.now();
      if (leftMs <= 0 || signal?.aborted === true || this.#isOutOfReach()) return false;
      const quarantines = this.nodes.map((node) => this.#quarantineLeftMs(node) || Infinity);
      await this.#nextChange(Math.min(leftMs, ...quarantines), signal);
    }
  }

  async init(resetsFences = false): Promise<readonly FleetNodeState[]> {
    await this.#allDecided(2 * this.#terms.times.connectTimeoutMs);
    await Promise.all(this.nodes.map((node) => this.#declare(node, resetsFences)));
    return this.state();
  }

  state(): readonly FleetNodeState[] {
    return this.nodes.map((node) => this.#stateOf(node));
  }

  misconfigured(): ConfigError | undefined {
    for (const node of this.#bornTwins) {
      const { acquaintance } = node;
      if (acquaintance.kind === "excluded")
        return new ConfigError(
          `nodes: ${node.name}: ${acquaintance.detail}; a quorum needs independent servers`,
        );
      this.#bornTwins.delete(node);
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
    this.#learnTime(node, met);
    const twin = this.nodes.find((other) => other !== node && isVoterOf(other, met.runId));
    // G6: a server that votes under its own name stands in for nobody.
    if (twin === undefined) this.#watchOf(node).meet(met.runId, met.askedAt);
    const detail = this.#objection(node, met, twin);
    const lasts = isLasting(met, this.#terms.allowEviction, node.wasAdmitted);
    if (detail !== undefined) node.become({ kind: "excluded", detail, met, isLasting: lasts });
    else this.#judge(node, met);
    // Which of two names has moved nobody knows; the one that has the vote may be the stranger.
    twin?.redial(`${node.name} leads to the same server`);
    this.#considerAll();
  }

  #learnTime(node: RedisNode, met: Introduction): void {
    if (!Number.isSafeInteger(met.nodeUs)) return;
    const index = this.nodes.indexOf(node);
    this.#nodeTime.observe(index, met.nodeUs, met.askedAt, met.answeredAt);
    const skewMs = this.#nodeTime.skewMs(index) ?? 0;
    this.#events.emit(() => ({ type: "node-clock", node: node.name, skewMs }));
  }

  /** G2: a server has one vote, under the name under which it was met first. */
  #objection(node: RedisNode, met: Introduction, twin: RedisNode | undefined): string | undefined {
    const own = objection(met, this.#terms.allowEviction);
    if (own !== undefined || twin === undefined) return own;
    if (node.acquaintance.kind === "connecting") this.#bornTwins.add(node);
    return `it is the same server as ${twin.name} (run_id ${met.runId}), which has its vote under that name`;
  }

  /** What is to be made of the memory that its server has now. Where a doubt can be left to the script, a node that votes goes on voting. */
  #judge(node: RedisNode, met: Introduction): void {
    const { acquaintance } = node;
    const { marker } = met;
    const standing = marker === undefined ? "new" : this.#standingOf(node, met, marker);
    const isVoting =
      acquaintance.kind === "admitted" && acquaintance.marker.incarnation === marker?.incarnation;
    if (marker !== undefined && (standing === "known" || (standing === "doubtful" && isVoting)))
      this.#enter(node, met, marker);
    else node.become({ kind: "unadmitted", detail: "waits for its admission", met });
    if (standing === "doubtful" && isVoting && this.#terms.admits) void this.#admitOnce(node, met, undefined);
  }

  /**
   * `known`: the memory that its marker names, whoever admitted it. `new`: it is to be admitted before it is asked. `doubtful`: the node must look
   * once more, which changes nothing or admits it anew.
   */
  #standingOf(node: RedisNode, met: Introduction, marker: Marker): "known" | "doubtful" | "new" {
    const { allowEviction, staleAfterMs } = this.#terms;
    if (!marker.incarnation.startsWith(met.runId)) return "new";
    if (met.evictedKeys > marker.evictedKeys && !allowEviction) return "new";
    const { notBeforeUs, youngSinceUs } = this.#firstHand(node, met);
    if (marker.sinceUs < notBeforeUs || youngSinceUs > marker.sinceUs) return "new";
    const isFuture = marker.sinceUs > met.nodeUs + FUTURE_US;
    const isDoubtful = marker.replicationId !== met.replicationId || isFuture || staleAfterMs > 0;
    return isDoubtful ? "doubtful" : "known";
  }

  /** G6 and G8: what this client has seen itself. */
  #firstHand(node: RedisNode, met: Introduction): Pick<AdmitRequest, "notBeforeUs" | "youngSinceUs"> {
    const watch = this.#watchOf(node);
    const { nodeUs, askedAt, answeredAt, marker } = met;
    return {
      notBeforeUs: watch.notBeforeUs(nodeUs, askedAt),
      youngSinceUs:
        marker === undefined ? 0 : watch.youngSinceUs(marker, nodeUs, answeredAt, unslewed(this.#terms)),
    };
  }

  /** It may be asked from now on; whether it is old enough is looked at with every vote. */
  #enter(node: RedisNode, met: Introduction, marker: Marker): void {
    const watch = this.#watchOf(node);
    watch.accept(marker, met.nodeUs, met.answeredAt);
    this.#terms.learnFloor(marker.floor);
    const silenceMs = watch.silenceMs(this.#wantedSilenceMs(node, marker));
    const votesFrom =
      silenceMs === 0 || marker.declared === "init" ? -Infinity : watch.oldEnoughAt(silenceMs);
    const votesUntil = this.#votesUntil(met, marker);
    node.become({ kind: "admitted", met, marker, silenceMs, votesFrom, votesUntil });
    if (this.#quarantineLeftMs(node) === 0) watch.endSilence();
    this.#compareOptions(node, marker);
  }

  /** Options that differ weaken what each of the clients could promise alone; nobody but the operator can know whether that is meant. */
  #compareOptions({ name }: RedisNode, { options }: Marker): void {
    const own = this.#ownOptions();
    if (options === "" || options === own || this.#toldOptions.get(name) === options) return;
    this.#toldOptions.set(name, options);
    this.#events.emit(() => ({ type: "mixed-options", node: name, own, others: options }));
  }

  /** What all clients of a node should agree on. */
  #ownOptions(): string {
    const { restartGuard, clockWindowMs, quarantineTtlMs } = this.#terms;
    return `restartGuard=${restartGuard} clockWindowMs=${clockWindowMs} quarantineTtlMs=${quarantineTtlMs} nodes=${this.nodes.length}`;
  }

  /** G7: so long after the last contact that is noted, as this client measures it; any later one may have been another client's. */
  #votesUntil({ nodeUs, askedAt }: Introduction, { contactUs }: Marker): Instant {
    const { staleAfterMs } = this.#terms;
    if (staleAfterMs === 0) return Infinity;
    return askedAt - Math.max(0, nodeUs - contactUs) / 1_000 + staleAfterMs;
  }

  /** N2: this client's own guard; nobody else's counts, but for a declaration. */
  #wantedSilenceMs(node: RedisNode, { declared }: Marker): number {
    const { restartGuard, quarantineTtlMs } = this.#terms;
    if (restartGuard === "trust") return 0;
    if (restartGuard === "first-use" && declared !== undefined) return 0;
    const longest = Math.max(quarantineTtlMs, ...this.#outstandingTtls(node));
    return quarantineMs(longest, this.#terms);
  }

  /** G3: what a node that lost its memory may have granted is bounded by what the others granted. */
  #outstandingTtls(node: RedisNode): number[] {
    return this.nodes.flatMap((other, index) => {
      const { marker } = other;
      if (other === node || marker === undefined) return [];
      const nowUs = this.#nodeTime.nodeUs(index, this.#clock.now());
      return nowUs === undefined ? [] : [outstandingTtlMs(marker, nowUs)];
    });
  }

  /** One more clock is known, so others may be admitted now too (G3). */
  #considerAll(): void {
    for (const each of this.nodes) void this.#consider(each);
  }

  /** Admits a node that waits for it, if enough clocks agree with its own. */
  async #consider(node: RedisNode, declared?: Declaration, resetsFloor = false): Promise<void> {
    const { acquaintance } = node;
    const isWaiting =
      acquaintance.kind === "unadmitted" || (declared !== undefined && acquaintance.kind === "admitted");
    if (!isWaiting || this.#closed || !this.#terms.admits || !this.#knowsWhetherUsed()) return;
    const doubt = this.#clockDoubt(node);
    if (doubt !== undefined) {
      if (acquaintance.kind === "unadmitted" && acquaintance.detail !== doubt)
        node.become({ ...acquaintance, detail: doubt });
      return;
    }
    await this.#admitOnce(node, acquaintance.met, declared, resetsFloor);
  }

  async #admitOnce(
    node: RedisNode,
    met: Introduction,
    declared: Declaration | undefined,
    resetsFloor = false,
  ): Promise<void> {
    if (this.#admitting.has(node)) return;
    this.#admitting.add(node);
    try {
      await this.#admit(node, met, declared, resetsFloor);
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
    this.#unused = new Set(isUnused ? met.map(incarnationOf) : []);
    return true;
  }

  async #admit(
    node: RedisNode,
    met: Introduction,
    declared: Declaration | undefined,
    resetsFloor: boolean,
  ): Promise<void> {
    const { staleAfterMs, allowEviction } = this.#terms;
    const incarnation = incarnationOf(met);
    const askedAt = this.#clock.now();
    // Once for each: were it flushed later, its incarnation would still be the same.
    const isUnused = this.#unused?.delete(incarnation) === true;
    const admission = await node.admit({
      incarnation,
      tauUs: this.#nodeTime.estimateUs(this.#clock.now()) ?? 0,
      declared: declared ?? (isUnused ? "first-use" : undefined),
      ...this.#firstHand(node, met),
      staleAfterMs,
      allowEviction,
      resetsFloor,
      options: this.#ownOptions(),
    });
    this.#take(node, { ...met, askedAt, answeredAt: this.#clock.now() }, admission);
  }

  #take(
    node: RedisNode,
    met: Introduction,
    admission: Admission | { readonly kind: "faulted"; readonly detail: string },
  ): void {
    const { acquaintance } = node;
    // Another introduction, or the end of the connection, may have come first.
    if (!("met" in acquaintance) || acquaintance.met?.runId !== met.runId || acquaintance.kind === "excluded")
      return;
    if (admission.kind === "admitted") {
      const { nowUs: nodeUs, marker } = admission;
      this.#enter(node, { ...met, nodeUs, marker }, marker);
    } else if (acquaintance.kind !== "admitted") {
      // Looked at again at the next check-up, and no sooner: behind a balanced address every answer may come from another server.
      const detail = admission.kind === "faulted" ? admission.detail : admission.kind;
      node.become({ kind: "unadmitted", met, detail: `not admitted: ${detail}` });
    }
    // Where it is, the script goes on judging its votes.
  }

  async #declare(node: RedisNode, resetsFences: boolean): Promise<void> {
    while (this.#admitting.has(node)) await this.#nextChange();
    await this.#consider(node, "init", resetsFences);
    if (resetsFences && node.acquaintance.kind === "admitted") await node.resetFences();
  }

  #isOpen(): boolean {
    const admitted = this.nodes.filter(({ acquaintance }) => acquaintance.kind === "admitted").length;
    const isDecided = admitted >= this.#terms.quorum || !this.nodes.some((node) => this.#isUndecided(node));
    return isDecided || this.#isOutOfReach();
  }

  /** Whatever the other nodes do, no quorum can vote until an operator has mended something. */
  #isOutOfReach(): boolean {
    const { length } = this.nodes.filter((node) => node.isLastinglyOut);
    return length > this.nodes.length - this.#terms.quorum;
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

  /** By the node's clock and by this client's, whichever says longer. */
  #quarantineLeftMs(node: RedisNode): number {
    const { acquaintance } = node;
    if (acquaintance.kind !== "admitted") return 0;
    const { marker, silenceMs, votesFrom } = acquaintance;
    const nodeUs = this.#nodeTime.nodeUs(this.nodes.indexOf(node), this.#clock.now());
    if (silenceMs === 0 || marker.declared === "init" || nodeUs === undefined) return 0;
    const byNodeMs = (marker.sinceUs - nodeUs) / 1_000 + silenceMs;
    return Math.max(0, Math.ceil(Math.max(byNodeMs, votesFrom - this.#clock.now())));
  }

  #watchOf(node: RedisNode): MemoryWatch {
    const watch = this.#watches[this.nodes.indexOf(node)];
    if (watch === undefined) throw new Error("a node of another fleet");
    return watch;
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
    // As soon as it can be known, whoever waits for it: asked later, a fleet that lost everything meanwhile would seem unused.
    if (this.#unused === undefined && this.#knowsWhetherUsed() && this.#unused !== undefined)
      this.#considerAll();
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
    const { admits, staleAfterMs } = this.#terms;
    const isWaiting = admits && states.some(({ state }) => state === "unadmitted" || state === "quarantined");
    const usualMs = staleAfterMs > 0 ? Math.min(CHECKUP_MS, staleAfterMs / 3) : CHECKUP_MS;
    const at = this.#clock.glance() + (isWaiting ? CHECKUP_WAITING_MS : usualMs);
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

/** Whether a server has its vote under this name, or is about to get it. */
function isVoterOf({ acquaintance }: RedisNode, runId: string): boolean {
  return (
    (acquaintance.kind === "admitted" || acquaintance.kind === "unadmitted") &&
    acquaintance.met.runId === runId
  );
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

/** One address twice is seen at once; one server under two addresses only when it is met (G2). */
function refuseTwins(nodes: readonly RedisNode[]): void {
  nodes.forEach((node, index) => {
    if (nodes.findIndex((other) => other.name === node.name) !== index) {
      throw new ConfigError(`nodes: ${node.name} is named twice; a quorum needs independent servers`);
    }
  });
}
