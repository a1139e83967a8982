/**
 * The obvious way to a fencing token, explored by the same explorer because it is wrong: every node counts its grants (`INCR`), the
 * largest count among a quorum's replies becomes the token, and is written back to the nodes that lag behind. The write-back is a
 * message like any other: it may arrive at any later moment, again, or never.
 */
import { at, type Field, read, write } from "./bit-fields.ts";
import type { Model, State, Take } from "./explore.ts";

export interface CounterScope {
  /** What each node has counted before; there are as many nodes. */
  readonly counters: readonly number[];
  /** At most four. */
  readonly attempts: number;
  /** May a node lose a lock whose holder is not over yet? */
  readonly losesLocks: boolean;
  /** Does a client wait until a quorum has confirmed the write-back before it believes in its lease? */
  readonly awaitsWriteBack: boolean;
}

/** Counts have four bits: a node that has come so far grants nothing more. */
const LARGEST_COUNT = 15;

/** What an attempt has come to. WRITING: it knows its token and waits for the write-back. */
const [UNSTARTED, TRYING, WRITING, WON, OVER] = [0, 1, 2, 3, 4] as const;

// A node's word. Holders are attempts + 1, so that 0 is nobody; so are no replies.
const HOLDER: Field = { shift: 0, bits: 4 };
const COUNTER: Field = { shift: 4, bits: 4 };
const reply = (attempt: number): Field => ({ shift: 8 + 4 * attempt, bits: 4 });
const isWrittenBack = (attempt: number): Field => ({ shift: 24 + attempt, bits: 1 });

// An attempt's word.
const STATUS: Field = { shift: 0, bits: 4 };
const TOKEN: Field = { shift: 4, bits: 4 };
const HAS_WON: Field = { shift: 8, bits: 1 };
/** The largest token among the leases won before this attempt started. */
const FLOOR: Field = { shift: 12, bits: 4 };

/** An action's code: its kind, the attempt, and the node or the token it concerns. */
const [START, ACQUIRE, DECIDE, WRITE_BACK, WIN, END, RELEASE, EXPIRE] = [0, 1, 2, 3, 4, 5, 6, 7] as const;

export class CounterProtocol implements Model {
  readonly nodes: number;
  readonly initial: State;
  readonly #scope: CounterScope;
  readonly #quorum: number;

  constructor(scope: CounterScope) {
    this.#scope = scope;
    this.nodes = scope.counters.length;
    this.#quorum = Math.floor(this.nodes / 2) + 1;
    this.initial = new Uint32Array(this.nodes + scope.attempts);
    scope.counters.forEach((count, node) => (this.initial[node] = write(0, COUNTER, count)));
  }

  steps(state: State, take: Take): void {
    for (let attempt = 0; attempt < this.#scope.attempts; attempt++) {
      const status = this.#get(state, attempt, STATUS);
      if (status === UNSTARTED) this.#start(state, attempt, take);
      if (status === TRYING) this.#decide(state, attempt, take);
      if (status === WRITING) this.#win(state, attempt, take);
      if (status >= TRYING && status <= WON) this.#end(state, attempt, take);
      if (status >= TRYING) this.#acquire(state, attempt, take);
      if (this.#get(state, attempt, TOKEN) > 0) this.#writeBack(state, attempt, take);
      if (status === OVER) this.#release(state, attempt, take);
    }
    if (this.#scope.losesLocks) this.#expire(state, take);
  }

  #start(state: State, attempt: number, take: Take): void {
    const next = this.#with(state, attempt, STATUS, TRYING);
    this.#set(next, attempt, FLOOR, Math.max(...this.#tokensWon(state)));
    take(next, code(START, attempt, 0));
  }

  /** Which quorum answers first is chance. */
  #decide(state: State, attempt: number, take: Take): void {
    for (const counts of this.#quorumsOfReplies(state, attempt)) {
      const token = Math.max(...counts);
      const next = this.#with(state, attempt, TOKEN, token);
      for (let node = 0; node < this.nodes; node++) next[node] = write(at(next, node), reply(attempt), 0);
      if (this.#scope.awaitsWriteBack) this.#set(next, attempt, STATUS, WRITING);
      else this.#believe(next, attempt);
      const broken = this.#scope.awaitsWriteBack ? undefined : this.#brokenBy(state, attempt, token);
      take(next, code(DECIDE, attempt, token), broken);
    }
  }

  #quorumsOfReplies(state: State, attempt: number): number[][] {
    const replies = [...state.subarray(0, this.nodes)].map((word) => read(word, reply(attempt)));
    return choices(
      replies.filter((count) => count > 0),
      this.#quorum,
    );
  }

  #win(state: State, attempt: number, take: Take): void {
    const nodes = [...state.subarray(0, this.nodes)];
    const confirmed = nodes.filter((word) => read(word, isWrittenBack(attempt)) === 1);
    if (confirmed.length < this.#quorum) return;
    const next = state.slice();
    this.#believe(next, attempt);
    const token = this.#get(state, attempt, TOKEN);
    take(next, code(WIN, attempt, token), this.#brokenBy(state, attempt, token));
  }

  #believe(next: State, attempt: number): void {
    this.#set(next, attempt, STATUS, WON);
    this.#set(next, attempt, HAS_WON, 1);
  }

  #brokenBy(state: State, attempt: number, token: number): string | undefined {
    if (this.#tokensWon(state).includes(token)) return "S3";
    return token < this.#get(state, attempt, FLOOR) ? "S2" : undefined;
  }

  #end(state: State, attempt: number, take: Take): void {
    take(this.#with(state, attempt, STATUS, OVER), code(END, attempt, 0));
  }

  #acquire(state: State, attempt: number, take: Take): void {
    for (let node = 0; node < this.nodes; node++) {
      const word = at(state, node);
      const count = read(word, COUNTER) + 1;
      if (read(word, HOLDER) !== 0 || count > LARGEST_COUNT) continue;
      const isHeard = this.#get(state, attempt, STATUS) === TRYING;
      const granted = write(write(word, HOLDER, attempt + 1), COUNTER, count);
      const next = state.slice();
      next[node] = isHeard ? write(granted, reply(attempt), count) : granted;
      take(next, code(ACQUIRE, attempt, node));
    }
  }

  #writeBack(state: State, attempt: number, take: Take): void {
    const token = this.#get(state, attempt, TOKEN);
    for (let node = 0; node < this.nodes; node++) {
      const next = state.slice();
      const count = Math.max(read(at(state, node), COUNTER), token);
      next[node] = write(write(at(state, node), COUNTER, count), isWrittenBack(attempt), 1);
      take(next, code(WRITE_BACK, attempt, node));
    }
  }

  #release(state: State, attempt: number, take: Take): void {
    for (let node = 0; node < this.nodes; node++) {
      if (read(at(state, node), HOLDER) === attempt + 1)
        this.#free(state, node, take, code(RELEASE, attempt, node));
    }
  }

  #expire(state: State, take: Take): void {
    for (let node = 0; node < this.nodes; node++) {
      if (read(at(state, node), HOLDER) !== 0) this.#free(state, node, take, code(EXPIRE, 0, node));
    }
  }

  #free(state: State, node: number, take: Take, action: number): void {
    const next = state.slice();
    next[node] = write(at(state, node), HOLDER, 0);
    take(next, action);
  }

  #tokensWon(state: State): number[] {
    const won = [...state.subarray(this.nodes)].filter((word) => read(word, HAS_WON) === 1);
    return [0, ...won.map((word) => read(word, TOKEN))];
  }

  #get(state: State, attempt: number, field: Field): number {
    return read(at(state, this.nodes + attempt), field);
  }

  #set(state: State, attempt: number, field: Field, value: number): void {
    state[this.nodes + attempt] = write(at(state, this.nodes + attempt), field, value);
  }

  #with(state: State, attempt: number, field: Field, value: number): State {
    const next = state.slice();
    this.#set(next, attempt, field, value);
    return next;
  }

  describe(action: number): string {
    const attempt = String.fromCharCode(65 + ((action >>> 4) & 15));
    const token = action & 15;
    const node = `n${token + 1}`;
    switch (action >>> 8) {
      case START:
        return `${attempt} starts`;
      case ACQUIRE:
        return `${node} gets ${attempt}'s acquire`;
      case DECIDE:
        return `${attempt} ${this.#scope.awaitsWriteBack ? "writes back" : "wins with"} token ${token}`;
      case WRITE_BACK:
        return `${node} gets ${attempt}'s write-back`;
      case WIN:
        return `${attempt} wins with token ${token}`;
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
      const holder = read(word, HOLDER);
      return `${holder === 0 ? "free" : String.fromCharCode(64 + holder).padEnd(4)} ${read(word, COUNTER)}`;
    });
    return nodes.join(" | ");
  }
}

function code(kind: number, attempt: number, detail: number): number {
  return (kind << 8) | (attempt << 4) | detail;
}

/** All ways to take `size` of them. */
function choices(values: readonly number[], size: number): number[][] {
  if (size === 0) return [[]];
  return values.flatMap((value, index) =>
    choices(values.slice(index + 1), size - 1).map((rest) => [value, ...rest]),
  );
}
