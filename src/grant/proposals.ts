/**
 * Which fencing token to propose (rules C2, C6): the nodes' time in µs, or more where a key's last fence is ahead of it. Two
 * proposals of one client are never equal. A proposal that is too small costs a round trip and no more: safety comes from the nodes.
 */

/** Fences ahead of the nodes' time are rare and at most B ahead, so this many keys are remembered only in a storm. */
const REMEMBERED_KEYS_MAX = 10_000;

export class Proposals {
  /** By key, of what is ahead of the nodes' time: fences that nodes spoke of, and proposals of this client. */
  readonly #learnt = new Map<string, number>();
  readonly #made = new Map<string, number>();
  readonly #leadUs: number;
  #tick = 0;
  #floor = 0;

  /** `leadMs`: B of rule N8. Whatever is further ahead of the nodes' time would be refused, so it is not worth proposing. */
  constructor(leadMs: number) {
    this.#leadUs = 1_000 * leadMs;
  }

  /** The proposal for an attempt on all of `keys`, made at `tauUs`. */
  next(keys: readonly string[], tauUs: number): number {
    const most = tauUs + this.#leadUs;
    // The estimate was once further ahead: a client's clock had jumped, and no node had been heard since.
    if (this.#tick >= most) this.#tick = 0;
    this.#tick = Math.max(this.#tick + 1, tauUs);
    // One node with a wild clock must not make all others refuse.
    let fence = this.#floor < most ? this.#floor : 0;
    let made = 0;
    for (const key of keys) {
      const learnt = this.#last(this.#learnt, key);
      if (learnt < most) fence = Math.max(fence, learnt);
      made = Math.max(made, this.#last(this.#made, key));
    }
    const least = Math.max(this.#tick, fence + 1);
    const proposal = made >= least && made < most ? made + 1 : least;
    if (proposal > this.#tick) remember(this.#made, keys, proposal);
    return proposal;
  }

  /** A node spoke of `fence` for these keys. */
  learn(keys: readonly string[], fence: number): void {
    if (fence >= this.#tick) remember(this.#learnt, keys, fence);
  }

  /** A node was admitted with this floor: nothing below it will be granted for any key. */
  learnFloor(floor: number): void {
    this.#floor = Math.max(this.#floor, floor);
  }

  #last(ahead: Map<string, number>, key: string): number {
    const last = (ahead.size > 0 ? ahead.get(key) : undefined) ?? 0;
    if (last < this.#tick) ahead.delete(key);
    return last;
  }
}

function remember(ahead: Map<string, number>, keys: readonly string[], value: number): void {
  if (ahead.size >= REMEMBERED_KEYS_MAX) ahead.clear();
  for (const key of keys) ahead.set(key, Math.max(value, ahead.get(key) ?? 0));
}
