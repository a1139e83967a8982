/**
 * The fence rule (N4–N9, R1, R2) as a model to explore: attempts, each with a holder value of its own and a proposal, and nodes that
 * decide by the table of a real one. Time is abstracted away: any lock may vanish from any node at any moment, no client believes in
 * a validity, and the proposals are given from outside, so that no clock is trusted. Every attempt may start at any moment, whatever
 * the others do: two clients with two attempts each are a part of four attempts.
 *
 * The network needs no state. What was sent may arrive at any later moment, again, or never; so may a vote, since a client may
 * count what it was granted whenever it wants, and give up although it was granted enough.
 */
import { at, copy, type Field, read, write } from "./bit-fields.ts";
import type { Model, State, Take } from "./explore.ts";
import {
  acquireColumn,
  EXPIRY_COLUMN,
  type MakeNode,
  type NodeTable,
  releaseColumn,
  tabulate,
} from "./node-table.ts";

export interface Scope {
  readonly nodes: number;
  /** One for each attempt; equal ones are two clients whose clocks agree to the microsecond. */
  readonly proposals: readonly number[];
  readonly node: MakeNode;
}

/** What an attempt has come to. TOO_LATE: as TRYING, but a lease with no smaller token was won before it started. */
const [UNSTARTED, TRYING, TOO_LATE, WON, ENDED, ENDED_WON] = [0, 1, 2, 3, 4, 5] as const;

const MOST_ATTEMPTS = 8;

// A node's word: its row in the table, which attempts it granted, and whose releases it executed.
const ROW: Field = { shift: 0, bits: 8 };
const granted = eachAttempt((attempt) => ({ shift: 8 + attempt, bits: 1 }));
const released = eachAttempt((attempt) => ({ shift: 16 + attempt, bits: 1 }));

// The last word: what the attempts have come to.
const status = eachAttempt((attempt) => ({ shift: 4 * attempt, bits: 4 }));

/** An action's code: its kind, and the attempt and the node it concerns. */
const [START, ACQUIRE, WIN, END, RELEASE, EXPIRE] = [0, 1, 2, 3, 4, 5] as const;

export class FenceProtocol implements Model {
  readonly nodes: number;
  readonly initial: State;
  readonly #quorum: number;
  readonly #proposals: readonly number[];
  readonly #table: NodeTable;
  /** The state a step leads to is written here, since millions of arrays would only be garbage. */
  readonly #next: State;

  constructor({ nodes, proposals, node }: Scope) {
    this.nodes = nodes;
    this.initial = new Uint32Array(nodes + 1);
    this.#quorum = Math.floor(nodes / 2) + 1;
    this.#proposals = proposals;
    this.#table = tabulate(node, proposals);
    this.#next = new Uint32Array(nodes + 1);
  }

  steps(state: State, take: Take): void {
    for (let attempt = 0; attempt < this.#proposals.length; attempt++) {
      const is = this.#status(state, attempt);
      if (is === UNSTARTED) this.#start(state, attempt, take);
      if (is === TRYING || is === TOO_LATE) this.#win(state, attempt, take);
      if (is === TRYING || is === TOO_LATE || is === WON) this.#end(state, attempt, take);
      if (is !== UNSTARTED) this.#acquire(state, attempt, take);
      if (is === ENDED || is === ENDED_WON) this.#release(state, attempt, take);
    }
    this.#expire(state, take);
  }

  /** S2 is about the leases won before this moment. */
  #start(state: State, attempt: number, take: Take): void {
    const mine = at(this.#proposals, attempt);
    const isTooLate = this.#hasWon(state, (proposal) => proposal >= mine);
    take(this.#decided(state, attempt, isTooLate ? TOO_LATE : TRYING), code(START, attempt));
  }

  #win(state: State, attempt: number, take: Take): void {
    if (this.#grants(state, attempt) < this.#quorum) return;
    const broken = this.#brokenBy(state, attempt);
    take(this.#decided(state, attempt, WON), code(WIN, attempt), broken);
  }

  #brokenBy(state: State, attempt: number): string | undefined {
    const mine = at(this.#proposals, attempt);
    if (this.#hasWon(state, (proposal) => proposal === mine)) return "S3";
    return this.#status(state, attempt) === TOO_LATE ? "S2" : undefined;
  }

  /** With a lease or without: from here on its release may arrive, and a later grant counts for nothing. */
  #end(state: State, attempt: number, take: Take): void {
    const end = this.#status(state, attempt) === WON ? ENDED_WON : ENDED;
    take(this.#decided(state, attempt, end), code(END, attempt));
  }

  #acquire(state: State, attempt: number, take: Take): void {
    const is = this.#status(state, attempt);
    const counts = is === TRYING || is === TOO_LATE;
    const column = acquireColumn(attempt);
    for (let node = 0; node < this.nodes; node++) {
      const isGranted = at(at(this.#table.granted, read(at(state, node), ROW)), column);
      this.#arrive(state, node, column);
      if (counts && isGranted) this.#note(node, at(granted, attempt));
      take(this.#next, code(ACQUIRE, attempt, node), this.#leftover(node, attempt));
    }
  }

  #release(state: State, attempt: number, take: Take): void {
    for (let node = 0; node < this.nodes; node++) {
      this.#arrive(state, node, releaseColumn(attempt));
      this.#note(node, at(released, attempt));
      take(this.#next, code(RELEASE, attempt, node), this.#leftover(node, attempt));
    }
  }

  #expire(state: State, take: Take): void {
    for (let node = 0; node < this.nodes; node++) {
      if (this.#holder(at(state, node)) === undefined) continue;
      this.#arrive(state, node, EXPIRY_COLUMN);
      take(this.#next, code(EXPIRE, 0, node));
    }
  }

  #arrive(state: State, node: number, column: number): void {
    const word = at(state, node);
    copy(state, this.#next);
    this.#next[node] = write(word, ROW, at(at(this.#table.next, read(word, ROW)), column));
  }

  #note(node: number, field: Field): void {
    this.#next[node] = write(at(this.#next, node), field, 1);
  }

  #leftover(node: number, attempt: number): string | undefined {
    const word = at(this.#next, node);
    return this.#holder(word) === attempt && read(word, at(released, attempt)) === 1 ? "S9" : undefined;
  }

  #holder(word: number): number | undefined {
    return at(this.#table.memories, read(word, ROW)).holder;
  }

  #status(state: State, attempt: number): number {
    return read(at(state, this.nodes), at(status, attempt));
  }

  /** Its grants are never looked at again, so that states which differ in them alone become one. */
  #decided(state: State, attempt: number, to: number): State {
    copy(state, this.#next);
    this.#next[this.nodes] = write(at(state, this.nodes), at(status, attempt), to);
    for (let node = 0; node < this.nodes; node++) {
      this.#next[node] = write(at(state, node), at(granted, attempt), 0);
    }
    return this.#next;
  }

  #grants(state: State, attempt: number): number {
    let count = 0;
    for (let node = 0; node < this.nodes; node++) count += read(at(state, node), at(granted, attempt));
    return count;
  }

  #hasWon(state: State, isIt: (proposal: number) => boolean): boolean {
    return this.#proposals.some((proposal, attempt) => {
      const is = this.#status(state, attempt);
      return (is === WON || is === ENDED_WON) && isIt(proposal);
    });
  }

  describe(action: number): string {
    const attempt = letter((action >>> 4) & 15);
    const node = `n${(action & 15) + 1}`;
    switch (action >>> 8) {
      case START:
        return `${attempt} starts, proposing ${this.#proposals[(action >>> 4) & 15]}`;
      case ACQUIRE:
        return `${node} gets ${attempt}'s acquire`;
      case WIN:
        return `${attempt} wins with fence ${this.#proposals[(action >>> 4) & 15]}`;
      case END:
        return `${attempt} is over`;
      case RELEASE:
        return `${node} gets ${attempt}'s release`;
      default:
        return `${node}'s lock expires`;
    }
  }

  show(state: State): string {
    const nodes = [...state.subarray(0, this.nodes)].map((word) => {
      const { holder, fence } = at(this.#table.memories, read(word, ROW));
      return `${holder === undefined ? "free" : letter(holder).padEnd(4)} ${fence}`;
    });
    return nodes.join(" | ");
  }
}

function code(kind: number, attempt: number, node = 0): number {
  return (kind << 8) | (attempt << 4) | node;
}

function letter(attempt: number): string {
  return String.fromCharCode(65 + attempt);
}

function eachAttempt(field: (attempt: number) => Field): Field[] {
  return Array.from({ length: MOST_ATTEMPTS }, (_, attempt) => field(attempt));
}
