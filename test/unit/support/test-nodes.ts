/** Nodes of the pure model on a virtual clock, each a test can silence, slow down or empty: for the rooms above the network. */
import type { Instant } from "../../../src/clock/clock.ts";
import { NodeTime } from "../../../src/clock/node-time.ts";
import type { VirtualClock } from "../../../src/clock/virtual-clock.ts";
import { ProtocolGrantor } from "../../../src/grant/grantor.ts";
import { Proposals } from "../../../src/grant/proposals.ts";
import { Slots } from "../../../src/grant/slots.ts";
import type {
  Faulted,
  LockNode,
  ReleaseRequest,
  Request,
  Sighting,
  Vote,
} from "../../../src/node/lock-node.ts";
import { NodeState, type NodeTerms } from "../../../src/node/node-state.ts";
import { Quorum } from "../../../src/quorum/quorum.ts";
import { admissionOf, serverOf } from "./admission.ts";

const EPOCH_US = 1_800_000_000_000_000;
const INCARNATION = "test:1";
const TERMS: NodeTerms = {
  // The name that its memory gets when it is admitted at 0.
  incarnation: `${INCARNATION}:0`,
  clockWindowMs: 0,
  leadMs: 1_000,
  fenceTtlMs: 86_400_000,
  silenceMs: 0,
};

export class TestNode implements LockNode {
  readonly name: string;
  readonly identity: string;
  readonly isHealthy = true;
  readonly #clock: VirtualClock;
  state: NodeState;
  /** Each way. */
  delayMs = 1;
  /** It executes, but its answers are lost. */
  isMute = false;
  readonly isListening = false;
  asked: Request["op"][] = [];

  constructor(name: string, clock: VirtualClock) {
    this.name = this.identity = name;
    this.#clock = clock;
    this.state = this.#admitted();
  }

  get nowUs(): number {
    return EPOCH_US + Math.floor(this.#clock.now() * 1_000);
  }

  holder(key: string): string | undefined {
    return this.state.inspect([key], this.nowUs).keys[0]?.holder;
  }

  /** Its memory is lost, and whoever admits it does so without a quarantine. */
  forget(): void {
    this.state = this.#admitted();
  }

  ask(request: Request, reply: (vote: Vote) => void): void {
    this.asked.push(request.op);
    this.#later(() => {
      const vote = this.state.apply(request, TERMS, this.nowUs);
      if (!this.isMute) this.#later(() => reply(vote));
    });
  }

  undo(request: ReleaseRequest, _until: Instant, reply: (vote: Vote) => void): void {
    this.ask(request, reply);
  }

  inspect(keys: readonly string[], reply: (sighting: Sighting | Faulted) => void): void {
    this.#later(() => reply(this.state.inspect(keys, this.nowUs)));
  }

  listen(): void {}

  deafen(): void {}

  #later(run: () => void): void {
    this.#clock.at(this.#clock.now() + this.delayMs, run);
  }

  #admitted(): NodeState {
    const state = new NodeState(serverOf(INCARNATION));
    state.admit(admissionOf(INCARNATION), TERMS, 0);
    return state;
  }
}

export function testNodes(size: number, clock: VirtualClock): TestNode[] {
  return Array.from({ length: size }, (_, index) => new TestNode(`n${index}`, clock));
}

/** A client of these nodes. */
export function testGrantor(
  nodes: readonly TestNode[],
  clock: VirtualClock,
  name = "client",
): ProtocolGrantor {
  const nodeTime = new NodeTime(nodes.length);
  nodes.forEach((node, index) => nodeTime.observe(index, node.nowUs, clock.now(), clock.now()));
  let names = 0;
  return new ProtocolGrantor({
    electorate: new Quorum(nodes, clock, (index) => nodeTime.roundTripMs(index)),
    rules: { driftFactor: 0.01, clockWindowMs: 0, nodeTimeoutMs: 250, maxTtlMs: 100_000 },
    clock,
    entropy: { random: () => 0.5, unique: () => `${name}-${names++}` },
    nodeTime,
    proposals: new Proposals(1_000),
    slots: new Slots(clock),
  });
}
