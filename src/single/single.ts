/**
 * Single mode: one node, one question, its answer. The same contract as a quorum without anything to count.
 */
import { type Clock, deadline } from "../clock/clock.ts";
import type { Ballot, Electorate, Poll } from "../electorate.ts";
import type { Faulted, LockNode, Vote } from "../node/lock-node.ts";

const DONE = Promise.resolve();
const complete = (): Promise<void> => DONE;
const ASKED = [true] as const;
const UNASKED: Ballot = { won: false, votes: [undefined], asked: [false], complete };

export class Single implements Electorate {
  readonly nodes: readonly [LockNode];
  readonly quorum = 1;
  readonly #clock: Clock;

  constructor(node: LockNode, clock: Clock) {
    this.nodes = [node];
    this.#clock = clock;
  }

  poll(poll: Poll): Promise<Ballot> {
    const request = poll.request(0);
    if (request === undefined) return Promise.resolve(UNASKED);
    return new Promise((resolve) => {
      let isOver = false;
      const finish = (vote: Vote) => {
        isOver = true;
        timer.cancel();
        const won = vote.kind === "granted" && (poll.counts?.(0) ?? true);
        resolve({ won, votes: [vote], asked: ASKED, complete });
      };
      const timer = deadline(this.#clock, this.#clock.glance() + poll.timeoutMs, () =>
        finish(timeout(poll.timeoutMs)),
      );
      this.nodes[0].ask(request, (vote) => {
        if (isOver) poll.late(0, vote);
        else finish(vote);
      });
    });
  }
}

function timeout(timeoutMs: number): Faulted {
  const detail = `no answer within ${Math.round(timeoutMs)} ms`;
  return { kind: "faulted", reason: "timeout", detail, sent: true };
}
