/**
 * Nodes that decide together, and what works on them: the fleet, how it is asked as one, and who acquires there. Most lockers have one of
 * these; keys that are spread over several quorums meet here again, each on its own. The one place that knows the modes.
 */
import { Acquirer } from "./acquirer.ts";
import { type Clock, type Instant, Latch } from "./clock/clock.ts";
import type { Entropy } from "./clock/entropy.ts";
import { NodeTime } from "./clock/node-time.ts";
import { type Paced, RateWatch } from "./clock/rate-watch.ts";
import { leadMs } from "./clock/validity.ts";
import type { Electorate } from "./electorate.ts";
import { QUARANTINE_ADVICE } from "./errors.ts";
import type { Events } from "./events.ts";
import { ProtocolGrantor } from "./grant/grantor.ts";
import { Proposals } from "./grant/proposals.ts";
import { Slots } from "./grant/slots.ts";
import type { NodeInput } from "./node/connection.ts";
import { RedisFleet } from "./node/fleet.ts";
import { inspectAll, type Inspection } from "./node/inspection.ts";
import type { Fleet, FleetNodeState } from "./node/lock-node.ts";
import { type Memory, MemoryFleet } from "./node/memory-node.ts";
import { checkTtl, type Settings, type ShardSettings } from "./options/settings.ts";
import { Quorum } from "./quorum/quorum.ts";
import { quorumOf } from "./quorum/tally.ts";
import { Refusals } from "./refusals.ts";
import { Single } from "./single/single.ts";

/** What the shards of a locker share. */
export interface ShardContext {
  readonly settings: Settings;
  readonly entropy: Entropy;
  readonly clock: Clock & Paced;
  readonly events: Events;
  readonly closing: AbortSignal;
  /** Where the memory mode has its locks. */
  readonly memory: (fenceTtlMs: number) => Memory;
  readonly warnOfQuarantine: (message: string) => void;
}

export class Shard {
  /** Empty where it is the only one. */
  readonly name: string;
  readonly fleet: Fleet;
  readonly acquirer: Acquirer;
  readonly refusals: Refusals;
  readonly #context: ShardContext;
  readonly #electorate: Electorate;
  #isOpen = false;

  constructor({ name, nodes }: ShardSettings, context: ShardContext) {
    const { settings, clock } = context;
    const nodeTime = createNodeTime(nodes.length, context);
    const proposals = new Proposals(leadMs(settings.clockWindowMs));
    this.name = name;
    this.#context = context;
    this.fleet = createFleet(context, nodes, nodeTime, proposals);
    this.#electorate = createElectorate(settings, this.fleet, clock, nodeTime);
    this.acquirer = createAcquirer(context, this.fleet, this.#electorate, nodeTime, proposals);
    this.refusals = new Refusals({ ...context, quorum: this.#electorate.quorum });
  }

  /** Its nodes have all had their first chance. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Waits for that, within the deadline, or until the signal aborts or the locker closes; a configuration that cannot work is thrown. */
  async opened(deadline: Instant = Infinity, signal?: AbortSignal): Promise<void> {
    const { clock, settings, closing } = this.#context;
    const patience = new Latch(clock, Math.max(settings.nodeTimeoutMs, deadline - clock.now()));
    const wake = () => patience.settle();
    signal?.addEventListener("abort", wake);
    closing.addEventListener("abort", wake);
    if (closing.aborted) wake();
    await Promise.race([this.fleet.opened(), patience.settled]);
    patience.settle();
    signal?.removeEventListener("abort", wake);
    closing.removeEventListener("abort", wake);
    const fault = this.fleet.misconfigured();
    if (fault !== undefined) throw fault;
    const states = this.fleet.state();
    this.#isOpen = states.every(({ state }) => state !== "connecting");
    this.#tellOfQuarantine(states);
  }

  /** Waits until a quorum of its nodes may vote, for so long, or until the signal aborts. */
  async ready(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const { clock } = this.#context;
    const deadline = clock.now() + timeoutMs;
    if (await this.fleet.ready(deadline, signal)) return;
    const isOver = clock.now() >= deadline;
    throw this.refusals.notReady(this.fleet.state(), isOver ? timeoutMs : undefined, signal);
  }

  /** Whoever waits for a lock that nobody holds should learn why without reading anything. */
  #tellOfQuarantine(states: readonly FleetNodeState[]): void {
    const count = (wanted: FleetNodeState["state"]) => states.filter(({ state }) => state === wanted).length;
    const { quorum } = this.#electorate;
    const [able, quarantined] = [count("admitted"), count("quarantined")];
    if (this.#context.settings.readOnly || able >= quorum || able + quarantined < quorum) return;
    const details = states.map(({ node, detail }) => `${node} ${detail}`).join(", ");
    this.#context.warnOfQuarantine(
      `no lock can be acquired yet, since ${quarantined} of ${states.length} nodes are in quarantine: ${details}. ${QUARANTINE_ADVICE}`,
    );
  }

  inspect(key: string, nodeKey: string): Promise<Inspection> {
    const { clock, settings } = this.#context;
    return inspectAll(key, nodeKey, this.fleet, this.#electorate.quorum, settings.nodeTimeoutMs, clock);
  }

  /** See `Acquirer.close`. */
  async close(hurry: AbortSignal): Promise<void> {
    await this.acquirer.close(hurry);
    await this.fleet.close();
  }
}

/** Memory has the clock of its users, which nothing can be learnt of the rate from. */
function createNodeTime(nodes: number, { clock, events }: ShardContext): NodeTime {
  if (nodes === 0) return new NodeTime(1);
  const changed = (rate: number) => events.emit(() => ({ type: "clock-rate", rate }));
  return new NodeTime(nodes, new RateWatch(nodes, quorumOf(nodes), clock, changed));
}

function createAcquirer(
  { settings, entropy, clock, events, closing }: ShardContext,
  fleet: Fleet,
  electorate: Electorate,
  nodeTime: NodeTime,
  proposals: Proposals,
): Acquirer {
  const slots = new Slots(clock);
  return new Acquirer({
    grantor: new ProtocolGrantor({ electorate, rules: settings, clock, entropy, nodeTime, proposals, slots }),
    heralds: fleet.nodes,
    quorum: electorate.quorum,
    notify: settings.notify,
    listeningIdleMs: settings.mode === "memory" ? 0 : LISTENING_IDLE_MS,
    queueLengthMax: settings.queueLengthMax,
    clock,
    entropy,
    events,
    closing,
    checkTtl: (ttlMs) => checkTtl(settings, ttlMs),
  });
}

function createElectorate(
  { mode }: Settings,
  { nodes }: Fleet,
  clock: Clock,
  nodeTime: NodeTime,
): Electorate {
  const [only] = nodes;
  if (mode === "quorum" || only === undefined)
    return new Quorum(nodes, clock, (index) => nodeTime.roundTripMs(index));
  return new Single(only, clock);
}

function createFleet(
  { settings, clock, entropy, events, memory }: ShardContext,
  nodes: readonly NodeInput[],
  nodeTime: NodeTime,
  proposals: Proposals,
): Fleet {
  if (settings.mode === "memory") {
    const toldTime = (nowUs: number) => nodeTime.observe(0, nowUs, clock.glance(), clock.glance());
    return new MemoryFleet(memory(settings.fenceTtlMs), toldTime);
  }
  const { nodeTimeoutMs, connectTimeoutMs } = settings;
  const silenceMs = Math.max(SILENCE_MS_MIN, 4 * nodeTimeoutMs);
  return new RedisFleet(
    nodes,
    {
      ...settings,
      quorum: quorumOf(nodes.length),
      admits: !settings.readOnly,
      times: { connectTimeoutMs, silenceMs, chance: () => entropy.random() },
      learnFloor: (floor) => proposals.learnFloor(floor),
    },
    clock,
    nodeTime,
    events,
  );
}

/** Connections on which notices are heard stay open so long after the last waiter: the next one is likely to come soon. */
const LISTENING_IDLE_MS = 5_000;

/** A connection is given up only after several requests went unanswered: until then their releases can queue behind them. */
const SILENCE_MS_MIN = 1_000;
