/**
 * One round trip to all nodes: asks, counts, settles on the verdict and not a moment later, so that dead or hung nodes cost
 * nothing while a quorum answers. What comes after the verdict goes to `late`. Knows nothing of locks.
 */
import { type Clock, deadline, type Timer } from "../clock/clock.ts";
import type { Ballot, Poll } from "../electorate.ts";
import type { Faulted, LockNode, Vote } from "../node/lock-node.ts";
import { verdict } from "./tally.ts";

export interface RoundContext {
  readonly nodes: readonly LockNode[];
  readonly quorum: number;
  readonly clock: Clock;
}

const NOT_ASKED: Faulted = {
  kind: "faulted",
  reason: "excluded",
  detail: "not asked in this round",
  sent: false,
};

export class Round implements Ballot {
  readonly votes: (Vote | undefined)[];
  readonly asked: boolean[];
  /** What the verdict is, once it has fallen. */
  won = false;
  readonly #context: RoundContext;
  readonly #poll: Poll;
  readonly #timer: Timer;
  readonly #settle: (ballot: Ballot) => void;
  #granted = 0;
  #failed = 0;
  #over = false;
  /** How many were asked and have not voted. */
  #silent = 0;
  #complete: (() => void) | undefined;

  constructor(context: RoundContext, poll: Poll, settle: (ballot: Ballot) => void) {
    const { nodes, clock } = context;
    this.#context = context;
    this.#poll = poll;
    this.#settle = settle;
    this.votes = nodes.map(() => undefined);
    this.asked = nodes.map(() => false);
    this.#timer = deadline(clock, clock.glance() + poll.timeoutMs, () => this.#timeOut());
  }

  complete(): Promise<void> {
    if (this.#silent === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const earlier = this.#complete;
      this.#complete = () => {
        earlier?.();
        resolve();
      };
    });
  }

  askAll(): void {
    for (let index = 0; index < this.#context.nodes.length; index++) this.ask(index);
  }

  /** Puts the question to one node, once; `heard` is told of its vote if it comes while the round is open. */
  ask(index: number, heard?: (vote: Vote) => void): void {
    const node = this.#context.nodes[index];
    if (node === undefined || this.asked[index] === true || this.#over) return;
    const request = this.#poll.request(index);
    if (request === undefined) return this.#count(index, NOT_ASKED);
    this.asked[index] = true;
    this.#silent++;
    node.ask(request, (vote) => {
      if (--this.#silent === 0) this.#complete?.();
      if (!this.#over) {
        this.#count(index, vote);
        heard?.(vote);
      } else {
        this.votes[index] = vote;
        this.#poll.late(index, vote);
      }
    });
  }

  /** Ends the round without a win; nodes not asked stay unasked. */
  close(): void {
    this.#finish(false);
  }

  #count(index: number, vote: Vote): void {
    this.votes[index] = vote;
    const isGrant = vote.kind === "granted" && (this.#poll.counts?.(index) ?? true);
    if (isGrant) this.#granted++;
    else this.#failed++;
    const { nodes, quorum } = this.#context;
    const outcome = verdict(this.#granted, this.#failed, nodes.length, quorum);
    if (outcome !== "open") this.#finish(outcome === "won");
  }

  #timeOut(): void {
    const { timeoutMs } = this.#poll;
    const silent: Faulted = {
      kind: "faulted",
      reason: "timeout",
      detail: `no answer within ${Math.round(timeoutMs)} ms`,
      sent: true,
    };
    this.asked.forEach((asked, index) => {
      if (asked) this.votes[index] ??= silent;
    });
    this.#finish(false);
  }

  #finish(won: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer.cancel();
    this.won = won;
    this.#settle(this);
  }
}
