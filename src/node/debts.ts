/**
 * Releases a node still owes an answer to (rules C5, L5): asked again when it is back, until it has executed them for good or their
 * locks have expired by themselves. What keeps a partitioned node from holding an orphan for the rest of a ttl. Not for good is a
 * release whose proposal was too far ahead of the node's time (a client whose clock had just jumped): the tombstone it left cannot
 * stop an acquire that is still under way (found by simulation, seed 7175).
 */
import type { Clock, Instant, Timer } from "../clock/clock.ts";
import type { ReleaseRequest, Vote } from "./lock-node.ts";
import { isTombstoneBounded } from "./node-state.ts";

interface Debt {
  readonly request: ReleaseRequest;
  readonly until: Instant;
}

/** Beyond this many the oldest are left to their ttl. */
const DEBTS_MAX = 10_000;
const RETRY_MS = 250;

export class Debts {
  readonly #clock: Clock;
  readonly #ask: (request: ReleaseRequest, reply: (vote: Vote) => void) => void;
  readonly #isReachable: () => boolean;
  readonly #leadMs: number;
  #debts = new Set<Debt>();
  #timer: Timer | undefined;

  constructor(
    clock: Clock,
    ask: (request: ReleaseRequest, reply: (vote: Vote) => void) => void,
    isReachable: () => boolean,
    leadMs: number,
  ) {
    this.#clock = clock;
    this.#ask = ask;
    this.#isReachable = isReachable;
    this.#leadMs = leadMs;
  }

  get size(): number {
    return this.#debts.size;
  }

  /** Asks now, and whenever the node may be back. `reply` hears the first vote only. */
  undo(request: ReleaseRequest, until: Instant, reply: (vote: Vote) => void): void {
    this.#ask(request, (vote) => {
      if (!this.#isDone(vote, request)) this.#owe({ request, until });
      reply(vote);
    });
  }

  /** The node is back: ask for all that is owed. */
  collect(): void {
    const due = this.#debts;
    this.#debts = new Set();
    const now = this.#clock.now();
    for (const { request, until } of due) {
      if (now < until) this.undo(request, until, () => {});
    }
  }

  forget(): void {
    this.#debts.clear();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #isDone(vote: Vote, { proposal }: ReleaseRequest): boolean {
    return vote.kind !== "faulted" && !isTombstoneBounded(proposal, vote.nowUs, this.#leadMs);
  }

  #owe(debt: Debt): void {
    const [oldest] = this.#debts;
    if (this.#debts.size >= DEBTS_MAX && oldest !== undefined) this.#debts.delete(oldest);
    this.#debts.add(debt);
    this.#timer ??= this.#clock.at(this.#clock.glance() + RETRY_MS, () => {
      this.#timer = undefined;
      // While there is no connection, asking costs time and brings nothing; the next one collects all.
      if (this.#isReachable()) this.collect();
    });
  }
}
