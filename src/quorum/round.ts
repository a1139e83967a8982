/**
 * One round trip to all nodes: asks, counts, settles on the verdict and not a moment later, so that dead or hung nodes cost
 * nothing while a quorum answers. What comes after the verdict goes to `late`. Knows nothing of locks.
 */
import type { Clock, Instant, Timer } from "../clock/clock.ts";
import type { NodeTime } from "../clock/node-time.ts";
import type { Ballot, Poll } from "../electorate.ts";
import type { Faulted, LockNode, Vote } from "../node/lock-node.ts";
import { verdict } from "./tally.ts";

export interface RoundContext {
  readonly nodes: readonly LockNode[];
  readonly quorum: number;
  readonly clock: Clock;
  readonly nodeTime: NodeTime;
}

const NOT_ASKED: Faulted = {
  kind: "faulted",
  reason: "excluded",
  detail: "not asked in this round",
  sent: false,
};

export class Round {
  readonly #context: RoundContext;
  readonly #poll: Poll;
  readonly #votes: (Vote | undefined)[];
  readonly #heard: (Vote | undefined)[];
  readonly #latenciesMs: (number | undefined)[];
  readonly #asked: boolean[];
  readonly #timer: Timer;
  readonly #settle: (ballot: Ballot) => void;
  #granted = 0;
  #failed = 0;
  #over = false;
  #silent = 0;
  readonly #complete: () => void;
  readonly #completed: Promise<void>;
  readonly ballot: Promise<Ballot>;

  constructor(context: RoundContext, poll: Poll) {
    const { nodes, clock } = context;
    this.#context = context;
    this.#poll = poll;
    this.#votes = nodes.map(() => undefined);
    this.#heard = nodes.map(() => undefined);
    this.#latenciesMs = nodes.map(() => undefined);
    this.#asked = nodes.map(() => false);
    this.#timer = clock.at(clock.glance() + poll.timeoutMs, () => this.#timeOut());
    let settle: (ballot: Ballot) => void = () => {};
    this.ballot = new Promise((resolve) => (settle = resolve));
    this.#settle = settle;
    let complete: () => void = () => {};
    this.#completed = new Promise((resolve) => (complete = resolve));
    this.#complete = complete;
  }

  askAll(): void {
    this.#context.nodes.forEach((_, index) => this.ask(index));
  }

  /** Puts the question to one node, once; `heard` is told of its vote if it comes while the round is open. */
  ask(index: number, heard?: (vote: Vote) => void): void {
    const node = this.#context.nodes[index];
    if (node === undefined || this.#asked[index] === true || this.#over) return;
    const request = this.#poll.request(index);
    if (request === undefined) return this.#count(index, NOT_ASKED);
    this.#asked[index] = true;
    this.#silent++;
    const askedAt = this.#context.clock.glance();
    node.ask(request, (vote) => {
      this.#observe(index, vote, askedAt);
      this.#heard[index] = vote;
      if (--this.#silent === 0) this.#complete();
      if (this.#over) return this.#poll.late(index, vote);
      this.#count(index, vote);
      heard?.(vote);
    });
  }

  /** Ends the round without a win; nodes not asked stay unasked. */
  close(): void {
    this.#finish(false);
  }

  #observe(index: number, vote: Vote, askedAt: Instant): void {
    const at = this.#context.clock.glance();
    this.#latenciesMs[index] ??= at - askedAt;
    if (vote.kind !== "faulted") this.#context.nodeTime.observe(index, vote.nowUs, askedAt, at);
  }

  #count(index: number, vote: Vote): void {
    this.#votes[index] = vote;
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
    this.#asked.forEach((asked, index) => {
      if (asked) this.#votes[index] ??= silent;
    });
    this.#finish(false);
  }

  #finish(won: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer.cancel();
    this.#settle({
      won,
      // A copy: a late vote must not change what the verdict was based on.
      votes: [...this.#votes],
      heard: this.#heard,
      complete: this.#completed,
      latenciesMs: this.#latenciesMs,
      asked: this.#asked,
    });
  }
}
