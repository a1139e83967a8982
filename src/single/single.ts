/**
 * Single mode: one node, one question, its answer. The same contract as a quorum without anything to count.
 */
import type { Clock } from "../clock/clock.ts";
import type { NodeTime } from "../clock/node-time.ts";
import type { Ballot, Electorate, Poll } from "../electorate.ts";
import type { LockNode, Vote } from "../node/lock-node.ts";

const ASKED = [true] as const;
const UNASKED: Ballot = {
  won: false,
  votes: [undefined],
  heard: [undefined],
  complete: Promise.resolve(),
  latenciesMs: [undefined],
  asked: [false],
};

export class Single implements Electorate {
  readonly nodes: readonly [LockNode];
  readonly quorum = 1;
  readonly #clock: Clock;
  readonly #nodeTime: NodeTime;

  constructor(node: LockNode, clock: Clock, nodeTime: NodeTime) {
    this.nodes = [node];
    this.#clock = clock;
    this.#nodeTime = nodeTime;
  }

  poll(poll: Poll): Promise<Ballot> {
    const request = poll.request(0);
    if (request === undefined) return Promise.resolve(UNASKED);
    return new Promise((resolve) => {
      const askedAt = this.#clock.glance();
      let isOver = false;
      const finish = (vote: Vote, latencyMs: number | undefined) => {
        isOver = true;
        timer.cancel();
        const won = vote.kind === "granted" && (poll.counts?.(0) ?? true);
        const votes = [vote];
        resolve({ ...UNASKED, won, votes, heard: votes, latenciesMs: [latencyMs], asked: ASKED });
      };
      const detail = `no answer within ${Math.round(poll.timeoutMs)} ms`;
      const timer = this.#clock.at(askedAt + poll.timeoutMs, () =>
        finish({ kind: "faulted", reason: "timeout", detail, sent: true }, undefined),
      );
      this.nodes[0].ask(request, (vote) => {
        const at = this.#clock.glance();
        if (vote.kind !== "faulted") this.#nodeTime.observe(0, vote.nowUs, askedAt, at);
        if (isOver) poll.late(0, vote);
        else finish(vote, at - askedAt);
      });
    });
  }
}
