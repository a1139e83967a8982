/**
 * Which fencing token to propose (rules C2, C6): the nodes' time in µs, or more where a key's last fence is ahead of it. Two
 * proposals of one client are never equal. A proposal that is too small costs a round trip and no more: safety comes from the nodes.
 */

/** Fences ahead of the nodes' time are rare and at most B ahead, so this many keys are remembered only in a storm. */
const REMEMBERED_KEYS_MAX = 10_000;

export class Proposals {
  readonly #ahead = new Map<string, number>();
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
    const fences = [this.#floor, ...keys.map((key) => this.#lastFence(key))];
    // One node with a wild clock must not make all others refuse.
    const last = Math.max(0, ...fences.filter((fence) => fence < most));
    return Math.max(this.#tick, last + 1);
  }

  /** A node spoke of `fence` for these keys. */
  learn(keys: readonly string[], fence: number): void {
    if (fence < this.#tick) return;
    if (this.#ahead.size >= REMEMBERED_KEYS_MAX) this.#ahead.clear();
    for (const key of keys) this.#ahead.set(key, Math.max(fence, this.#ahead.get(key) ?? 0));
  }

  /** A node was admitted with this floor: nothing below it will be granted for any key. */
  learnFloor(floor: number): void {
    this.#floor = Math.max(this.#floor, floor);
  }

  #lastFence(key: string): number {
    const fence = this.#ahead.get(key) ?? 0;
    if (fence < this.#tick) this.#ahead.delete(key);
    return fence;
  }
}
