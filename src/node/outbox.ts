/**
 * Requests to one node, batched: what is asked in one turn of the event loop travels in one script call. A single request is sent at
 * the end of the turn it was made in and waits for nobody. Bounded: a node that does not answer costs a full outbox, not memory.
 */
import { soon } from "../clock/clock.ts";
import type { Faulted, Vote } from "./lock-node.ts";
import type { EncodedRequest } from "./script-calls.ts";

/**
 * Where one node is asked, nothing happens here while it works, and nothing there while its answers are read. Several calls, none of them
 * small, let both work at the same time: 1.6 times the throughput at fifty at once, 1.2 times at two hundred. Several nodes overlap with each
 * other, and more calls only cost more.
 */
const OVERLAPPING_CALLS = 8;
const OVERLAPPING_REQUESTS_MIN = 8;
/** A call blocks its server for a few µs a request; more of them at once would be felt by others. */
const REQUESTS_PER_CALL_MAX = 64;
/** The script hands all keys of a call to one command, and Lua passes at most 8,000 values at once. A request has at most 128. */
const KEYS_PER_CALL_MAX = 2_000;
/** Calls under way at once; a healthy node answers one in a fraction of a ms. */
const CALLS_MAX = 32;
/**
 * Requests that wait for a call. Beyond it the node is not keeping up, and says so by a fault. Room for a burst of a program's own: ten
 * thousand releases of one turn take a healthy node some 30 ms, and for a hung one all of this is some 20 MB.
 */
const WAITING_MAX = 32_768;

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
  readonly #overlaps: boolean;
  /** What waits for a call, and who waits for its vote: two lists of one length. */
  #requests: EncodedRequest[] = [];
  #replies: ((vote: Vote) => void)[] = [];
  #calls = 0;
  #isFlushPlanned = false;
  readonly #flush: () => void;

  /** `overlaps`: whether the node is the only one. */
  constructor(send: Send, overlaps = false) {
    this.#send = send;
    this.#overlaps = overlaps;
    this.#flush = () => {
      this.#isFlushPlanned = false;
      const most = this.#share();
      while (this.#requests.length > 0 && this.#calls < CALLS_MAX) this.#deliver(most);
    };
  }

  put(request: EncodedRequest, reply: (vote: Vote) => void): void {
    if (this.#requests.length >= WAITING_MAX) return soon(() => reply(FULL));
    this.#requests.push(request);
    this.#replies.push(reply);
    this.#planFlush();
  }

  #planFlush(): void {
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    soon(this.#flush);
  }

  /** How many of those that wait go into one call. */
  #share(): number {
    if (!this.#overlaps) return REQUESTS_PER_CALL_MAX;
    const calls = Math.max(1, OVERLAPPING_CALLS - this.#calls);
    const share = Math.max(OVERLAPPING_REQUESTS_MIN, Math.ceil(this.#requests.length / calls));
    return Math.min(REQUESTS_PER_CALL_MAX, share);
  }

  #deliver(most: number): void {
    const requests = this.#requests;
    const replies = this.#replies;
    const count = countForOneCall(requests, most);
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
function countForOneCall(requests: readonly EncodedRequest[], most: number): number {
  const limit = Math.min(requests.length, most);
  let keys = 0;
  for (let count = 0; count < limit; count++) {
    keys += requests[count]?.keyCount ?? 0;
    if (keys > KEYS_PER_CALL_MAX) return Math.max(1, count);
  }
  return limit;
}
