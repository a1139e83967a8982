/**
 * One round trip to all nodes: asks, counts, settles on the verdict and not a moment later, so that dead or hung nodes cost
 * nothing while a quorum answers. What comes after the verdict goes to `late`. Knows nothing of locks.
 */
import { type Clock, deadline, type Instant, type Timer } from "../clock/clock.ts";
import type { Ballot, Poll } from "../electorate.ts";
import type { Faulted, LockNode, Vote } from "../node/lock-node.ts";
import type { Promptness } from "./promptness.ts";
import { canDecideWithoutTheSilent, isAboutTheAttempt, verdict } from "./tally.ts";

export interface RoundContext {
  readonly nodes: readonly LockNode[];
  readonly quorum: number;
  readonly clock: Clock;
  readonly promptness: Promptness;
}

const NOT_ASKED: Faulted = {
  kind: "faulted",
  reason: "excluded",
  detail: "not asked in this round",
  sent: false,
};

const TWIN: Faulted = {
  kind: "faulted",
  reason: "excluded",
  detail: "its server was asked under another name in this round",
  sent: false,
};

export class Round implements Ballot {
  readonly votes: (Vote | undefined)[];
  readonly asked: boolean[];
  /** What the verdict is, once it has fallen. */
  won = false;
  readonly #context: RoundContext;
  readonly #poll: Poll;
  #timer: Timer;
  /** When it ends without a verdict. */
  #endsAt: Instant;
  /** When the nodes were asked; the one that was met first (C7), a little earlier. */
  #askedAt: Instant;
  /** How long it took until a quorum of nodes had spoken that can decide by themselves. */
  #tookMs: number | undefined;
  readonly #settle: (ballot: Ballot) => void;
  /** The servers that were met at, each under the name it had then. */
  readonly #met: string[] = [];
  #granted = 0;
  #failed = 0;
  /** Of those that failed to grant, how many may grant another attempt. */
  #contested = 0;
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
    this.#askedAt = clock.glance();
    this.#endsAt = this.#askedAt + poll.timeoutMs;
    this.#timer = deadline(clock, this.#endsAt, () => this.#timeOut());
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

  /** Rule C7: puts the question to one node, and goes on to `next` if it does not answer as soon as it should. */
  meet(index: number, heard: (vote: Vote) => void, next: () => void): void {
    if (this.asked[index] === true) return;
    const server = this.#context.nodes[index]?.identity;
    if (server !== undefined) this.#met.push(server);
    const { clock, promptness } = this.#context;
    const patienceMs = Math.min(promptness.patienceMs(index), this.#poll.timeoutMs);
    const patience = deadline(clock, clock.glance() + patienceMs, () => {
      if (this.#over || this.votes[index] !== undefined) return;
      promptness.missed(index);
      next();
    });
    this.ask(index, (vote) => {
      patience.cancel();
      heard(vote);
    });
  }

  /** Those who were not asked yet. */
  askAll(): void {
    if (this.#silent > 0 || this.#granted > 0) this.#askedAt = this.#context.clock.glance();
    for (let index = 0; index < this.#context.nodes.length; index++) this.ask(index);
  }

  /** Puts the question to one node, once; `heard` is told of its vote if it comes while the round is open. */
  ask(index: number, heard?: (vote: Vote) => void): void {
    const node = this.#context.nodes[index];
    if (node === undefined || this.asked[index] === true || this.#over) return;
    const request = this.#poll.request(index);
    if (request === undefined) return this.#count(index, NOT_ASKED);
    // G2: between the meeting and this a name may have come to lead to the server that was met.
    if (heard === undefined && this.#met.includes(node.identity ?? "")) return this.#count(index, TWIN);
    this.asked[index] = true;
    this.#silent++;
    node.ask(request, (vote) => {
      if (--this.#silent === 0) this.#complete?.();
      this.#context.promptness.heard(index);
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
    if (isAboutTheAttempt(vote)) this.#contested++;
    const { nodes, quorum } = this.#context;
    const outcome = verdict(this.#granted, this.#failed, nodes.length, quorum);
    if (outcome === "won") return this.#finish(true);
    if (canDecideWithoutTheSilent(this.#granted, this.#contested, quorum)) this.#noteTook();
    if (outcome === "lost") this.#finish(false);
    else if (this.#tookMs !== undefined && this.#poll.isAttempt === true)
      this.#waitForTheSilent(this.#tookMs);
  }

  #noteTook(): void {
    if (this.#tookMs !== undefined) return;
    const { clock, promptness } = this.#context;
    this.#tookMs = clock.glance() - this.#askedAt;
    promptness.took(this.#tookMs);
  }

  /** C3: a quorum has spoken and nothing is decided; the others have as long as they usually take, and some more. */
  #waitForTheSilent(tookMs: number): void {
    const { clock, promptness } = this.#context;
    const patiences = this.#silentOnes().map((index) => promptness.patienceMs(index, tookMs));
    const endsAt = this.#askedAt + Math.max(0, ...patiences);
    if (endsAt === this.#askedAt) return this.#giveUpOnTheSilent();
    if (endsAt >= this.#endsAt) return;
    this.#endsAt = endsAt;
    this.#timer.cancel();
    this.#timer = deadline(clock, endsAt, () => this.#giveUpOnTheSilent());
  }

  /** What they may still grant is undone like all of a failed attempt (C5). */
  #giveUpOnTheSilent(): void {
    for (const index of this.#silentOnes()) this.#context.promptness.missed(index);
    this.#finish(false);
  }

  #silentOnes(): number[] {
    return this.asked.flatMap((asked, index) => (asked && this.votes[index] === undefined ? [index] : []));
  }

  #timeOut(): void {
    const { timeoutMs } = this.#poll;
    const silent: Faulted = {
      kind: "faulted",
      reason: "timeout",
      detail: `no answer within ${Math.round(timeoutMs)} ms`,
      sent: true,
    };
    for (const index of this.#silentOnes()) {
      this.votes[index] = silent;
      this.#context.promptness.missed(index);
    }
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
