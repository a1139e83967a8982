/**
 * Requests to one node, batched: what is asked in one turn of the event loop travels in one script call. A single request is sent at
 * the end of the turn it was made in and waits for nobody. Bounded: a node that does not answer costs a full outbox, not memory.
 */
import type { Faulted, Request, Vote } from "./lock-node.ts";

interface Entry {
  readonly request: Request;
  readonly reply: (vote: Vote) => void;
}

/** A call blocks its server for about 10 µs a request; more of them at once would be felt by others. */
const REQUESTS_PER_CALL_MAX = 64;
/** Calls under way at once; a healthy node answers one in a fraction of a ms. */
const CALLS_MAX = 32;
/** Requests that wait for a call. Beyond it the node is not keeping up, and says so by a fault. */
const WAITING_MAX = 4_096;

const FULL: Faulted = {
  kind: "faulted",
  reason: "backlog",
  detail: "too many requests wait for this node",
  sent: false,
};

/** One script call for all of them; answers once, with one vote per request in their order. */
export type Send = (requests: readonly Request[], answer: (votes: readonly Vote[]) => void) => void;

export class Outbox {
  readonly #send: Send;
  #waiting: Entry[] = [];
  #calls = 0;
  #isFlushPlanned = false;

  constructor(send: Send) {
    this.#send = send;
  }

  put(request: Request, reply: (vote: Vote) => void): void {
    if (this.#waiting.length >= WAITING_MAX) return queueMicrotask(() => reply(FULL));
    this.#waiting.push({ request, reply });
    this.#planFlush();
  }

  #planFlush(): void {
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    queueMicrotask(() => {
      this.#isFlushPlanned = false;
      while (this.#waiting.length > 0 && this.#calls < CALLS_MAX)
        this.#deliver(this.#waiting.splice(0, REQUESTS_PER_CALL_MAX));
    });
  }

  #deliver(batch: readonly Entry[]): void {
    this.#calls++;
    const requests = batch.map(({ request }) => request);
    this.#send(requests, (votes) => {
      this.#calls--;
      if (this.#waiting.length > 0) this.#planFlush();
      votes.forEach((vote, index) => batch[index]?.reply(vote));
    });
  }
}
