/**
 * Quorum mode: many independent nodes asked at once, and decided by their majority. One lost or hung node changes nothing.
 */
import type { Clock } from "../clock/clock.ts";
import type { Ballot, Electorate, Poll } from "../electorate.ts";
import type { LockNode, Vote } from "../node/lock-node.ts";
import { Promptness } from "./promptness.ts";
import { Round, type RoundContext } from "./round.ts";
import { quorumOf } from "./tally.ts";

export class Quorum implements Electorate {
  readonly #context: RoundContext;

  /** `usualMs`: how long a round trip to node `index` takes, for all that is known. */
  constructor(nodes: readonly LockNode[], clock: Clock, usualMs: (index: number) => number | undefined) {
    const promptness = new Promptness(nodes.length, usualMs);
    this.#context = { nodes, clock, quorum: quorumOf(nodes.length), promptness };
  }

  get nodes(): readonly LockNode[] {
    return this.#context.nodes;
  }

  get quorum(): number {
    return this.#context.quorum;
  }

  poll(poll: Poll): Promise<Ballot> {
    return new Promise((settle) => {
      const round = new Round(this.#context, poll, settle);
      if (poll.gated === true) askThroughGate(round, this.#gateOrder());
      else round.askAll();
    });
  }

  /** Healthy nodes that answer, in an order that all clients of these servers share, whatever order they configured. */
  #gateOrder(): number[] {
    const { nodes, promptness } = this.#context;
    const identity = (index: number) => nodes[index]?.identity ?? "";
    return nodes
      .map((_, index) => index)
      .filter((index) => nodes[index]?.isHealthy === true && !promptness.isLate(index))
      .sort((a, b) => (identity(a) < identity(b) ? -1 : 1));
  }
}

/**
 * Rule C7: after a split vote contenders meet at one node first, and only the one that wins there goes on to the others. A node
 * that cannot vote, or does not answer as soon as it should, is passed over; one that refuses the key ends the round, with the others unasked
 * and untouched.
 */
function askThroughGate(round: Round, order: readonly number[]): void {
  const [gate, ...others] = order;
  if (gate === undefined) return round.askAll();
  const next = () => askThroughGate(round, others);
  round.meet(
    gate,
    (vote) => {
      if (vote.kind === "granted") round.askAll();
      else if (isAboutTheKey(vote)) round.close();
      else next();
    },
    next,
  );
}

function isAboutTheKey(vote: Vote): boolean {
  return vote.kind === "refused" && (vote.reason === "held" || vote.reason === "stale");
}
