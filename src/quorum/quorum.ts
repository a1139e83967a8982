/**
 * Quorum mode: many independent nodes asked at once, and decided by their majority. One lost or hung node changes nothing.
 */
import type { Ballot, Electorate, Poll } from "../electorate.ts";
import type { LockNode, Vote } from "../node/lock-node.ts";
import { Round, type RoundContext } from "./round.ts";
import { quorumOf } from "./tally.ts";

export class Quorum implements Electorate {
  readonly #context: RoundContext;

  constructor(context: Omit<RoundContext, "quorum">) {
    this.#context = { ...context, quorum: quorumOf(context.nodes.length) };
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

  /** Healthy nodes, in an order that all clients of these servers share, whatever order they configured. */
  #gateOrder(): number[] {
    const { nodes } = this.#context;
    const identity = (index: number) => nodes[index]?.identity ?? "";
    return nodes
      .map((_, index) => index)
      .filter((index) => nodes[index]?.isHealthy === true)
      .sort((a, b) => (identity(a) < identity(b) ? -1 : 1));
  }
}

/**
 * Rule C7: after a split vote contenders meet at one node first, and only the one that wins there goes on to the others. A node
 * that does not answer properly is passed over; one that refuses ends the round, with the others unasked and untouched.
 */
function askThroughGate(round: Round, order: readonly number[]): void {
  const [gate, ...others] = order;
  if (gate === undefined) return round.askAll();
  round.ask(gate, (vote: Vote) => {
    if (vote.kind === "granted") round.askAll();
    else if (vote.kind === "refused") round.close();
    else askThroughGate(round, others);
  });
}
