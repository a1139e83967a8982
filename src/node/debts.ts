/**
 * Releases a node still owes an answer to (rules C5, L5): asked again when it is back, until it has executed them or their locks
 * have expired by themselves. What keeps a partitioned node from holding an orphan for the rest of a ttl.
 */
import type { Clock, Instant, Timer } from "../clock/clock.ts";
import type { ReleaseRequest, Vote } from "./lock-node.ts";

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
  #debts = new Set<Debt>();
  #timer: Timer | undefined;

  constructor(
    clock: Clock,
    ask: (request: ReleaseRequest, reply: (vote: Vote) => void) => void,
    isReachable: () => boolean,
  ) {
    this.#clock = clock;
    this.#ask = ask;
    this.#isReachable = isReachable;
  }

  get size(): number {
    return this.#debts.size;
  }

  /** Asks now, and whenever the node may be back. `reply` hears the first vote only. */
  undo(request: ReleaseRequest, until: Instant, reply: (vote: Vote) => void): void {
    this.#ask(request, (vote) => {
      if (vote.kind === "faulted") this.#owe({ request, until });
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
