/**
 * Requests to one node, batched: what is asked in one turn of the event loop travels in one script call. A single request is sent at
 * the end of the turn it was made in and waits for nobody. Bounded: a node that does not answer costs a full outbox, not memory.
 */
import type { Faulted, Vote } from "./lock-node.ts";
import type { EncodedRequest } from "./script-calls.ts";

/** A call blocks its server for a few µs a request; more of them at once would be felt by others. */
const REQUESTS_PER_CALL_MAX = 64;
/** The script hands all keys of a call to one command, and Lua passes at most 8,000 values at once. A request has at most 128. */
const KEYS_PER_CALL_MAX = 2_000;
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
export type Send = (requests: readonly EncodedRequest[], answer: (votes: readonly Vote[]) => void) => void;

export class Outbox {
  readonly #send: Send;
  /** What waits for a call, and who waits for its vote: two lists of one length. */
  #requests: EncodedRequest[] = [];
  #replies: ((vote: Vote) => void)[] = [];
  #calls = 0;
  #isFlushPlanned = false;
  readonly #flush: () => void;

  constructor(send: Send) {
    this.#send = send;
    this.#flush = () => {
      this.#isFlushPlanned = false;
      while (this.#requests.length > 0 && this.#calls < CALLS_MAX) this.#deliver();
    };
  }

  put(request: EncodedRequest, reply: (vote: Vote) => void): void {
    if (this.#requests.length >= WAITING_MAX) return queueMicrotask(() => reply(FULL));
    this.#requests.push(request);
    this.#replies.push(reply);
    this.#planFlush();
  }

  #planFlush(): void {
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    queueMicrotask(this.#flush);
  }

  #deliver(): void {
    const requests = this.#requests;
    const replies = this.#replies;
    const count = countForOneCall(requests);
    this.#requests = requests.length > count ? requests.splice(count) : [];
    this.#replies = replies.length > count ? replies.splice(count) : [];
    this.#calls++;
    this.#send(requests, (votes) => {
      this.#calls--;
      if (this.#requests.length > 0) this.#planFlush();
      votes.forEach((vote, index) => replies[index]?.(vote));
    });
  }
}

/** At least one. */
function countForOneCall(requests: readonly EncodedRequest[]): number {
  const most = Math.min(requests.length, REQUESTS_PER_CALL_MAX);
  let keys = 0;
  for (let count = 0; count < most; count++) {
    keys += requests[count]?.keyCount ?? 0;
    if (keys > KEYS_PER_CALL_MAX) return Math.max(1, count);
  }
  return most;
}
