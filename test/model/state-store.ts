/**
 * Millions of states do not fit into a Set of objects. Here they lie one after the other in one typed array, found again through an
 * open hash table of their positions, each with the state it was first reached from.
 */
import { at, copy } from "./bit-fields.ts";

const FIRST_CAPACITY = 1 << 12;

export class StateStore {
  readonly #width: number;
  #words: Uint32Array;
  #parents: Uint32Array;
  /** Position + 1 of the state that hashes here; 0 is free. Twice as long as there is room for states. */
  #slots: Uint32Array;
  #capacity = FIRST_CAPACITY;
  #size = 0;

  constructor(width: number) {
    this.#width = width;
    this.#words = new Uint32Array(FIRST_CAPACITY * width);
    this.#parents = new Uint32Array(FIRST_CAPACITY);
    this.#slots = new Uint32Array(FIRST_CAPACITY * 2);
  }

  get size(): number {
    return this.#size;
  }

  /** Keeps a copy, unless the state is known. */
  add(state: Uint32Array, parent: number): void {
    const slot = this.#find(state);
    if (this.#slots[slot] !== 0) return;
    copy(state, this.#words, this.#size * this.#width);
    this.#parents[this.#size] = parent;
    this.#slots[slot] = ++this.#size;
    if (this.#size === this.#capacity) this.#grow();
  }

  read(index: number, into: Uint32Array): Uint32Array {
    const start = index * this.#width;
    for (let word = 0; word < this.#width; word++) into[word] = at(this.#words, start + word);
    return into;
  }

  /** The positions from the first state to this one. */
  path(index: number): number[] {
    const path = [index];
    for (let each = index; each !== 0; path.unshift(each)) each = at(this.#parents, each);
    return path;
  }

  /** Where the state is, or would be. */
  #find(state: Uint32Array): number {
    const mask = this.#slots.length - 1;
    let slot = hash(state) & mask;
    for (let entry = at(this.#slots, slot); entry !== 0; entry = at(this.#slots, slot)) {
      if (this.#holds(entry - 1, state)) break;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #holds(index: number, state: Uint32Array): boolean {
    const start = index * this.#width;
    for (let word = 0; word < this.#width; word++) {
      if (at(this.#words, start + word) !== at(state, word)) return false;
    }
    return true;
  }

  #grow(): void {
    this.#capacity *= 2;
    this.#words = enlarged(this.#words, this.#capacity * this.#width);
    this.#parents = enlarged(this.#parents, this.#capacity);
    this.#slots = new Uint32Array(this.#capacity * 2);
    const state = new Uint32Array(this.#width);
    for (let index = 0; index < this.#size; index++) {
      this.#slots[this.#find(this.read(index, state))] = index + 1;
    }
  }
}

function enlarged(array: Uint32Array, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(length);
  larger.set(array);
  return larger;
}

/** Murmur's mixing steps: states differ in few bits, and neighbouring slots must not fill up. */
function hash(state: Uint32Array): number {
  let mixed = 0;
  for (let word = 0; word < state.length; word++) {
    mixed = Math.imul(mixed ^ at(state, word), 0x85ebca6b);
    mixed ^= mixed >>> 13;
    mixed = Math.imul(mixed, 0xc2b2ae35);
    mixed ^= mixed >>> 16;
  }
  return mixed >>> 0;
}
