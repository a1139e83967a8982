/**
 * Releases a node still owes an answer to (rules C5, L5): asked again when it is back, until it has executed them for good or their
 * locks have expired by themselves. What keeps a partitioned node from holding an orphan for the rest of a ttl. Not for good is a
 * release that left no whole tombstone, which cannot stop an acquire that is still under way: its proposal was too far ahead of the
 * node's time (a client whose clock had just jumped; found by simulation, seed 7175), or the node could not write it (R2).
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
/** So many are asked again at a time: a node at maxmemory owes for every attempt, and must not be kept busy by that. */
const RETRIES_MAX = 500;

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
      if (!isDone(vote)) this.#owe({ request, until });
      reply(vote);
    });
  }

  /** The node is back: ask for all that is owed, or for the oldest of it. */
  collect(most: number = Infinity): void {
    const now = this.#clock.now();
    let asked = 0;
    for (const debt of this.#debts) {
      if (asked >= most) break;
      this.#debts.delete(debt);
      if (now >= debt.until) continue;
      asked++;
      this.undo(debt.request, debt.until, () => {});
    }
    if (this.#debts.size > 0) this.#planRetry();
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
    this.#planRetry();
  }

  #planRetry(): void {
    this.#timer ??= this.#clock.at(this.#clock.glance() + RETRY_MS, () => {
      this.#timer = undefined;
      // While there is no connection, asking costs time and brings nothing; the next one collects all.
      if (this.#isReachable()) this.collect(RETRIES_MAX);
    });
  }
}

function isDone(vote: Vote): boolean {
  return vote.kind === "granted" && vote.owesTombstone !== true;
}
