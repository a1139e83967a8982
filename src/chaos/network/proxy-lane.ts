/**
 * One direction of one proxied connection: what came in goes out in the same order, as late and in as small pieces as the rules of
 * this direction say at the moment.
 */

/** Shared by all connections of a proxy, one for each direction, and changed while they run. */
export interface LaneRules {
  delayMs: number;
  jitterMs: number;
  /** Nothing goes out, everything is kept. */
  holding: boolean;
  /** What comes in disappears. */
  dropping: boolean;
  /** In pieces of this many bytes. */
  chunkBytes: number;
}

export function harmlessRules(): LaneRules {
  return { delayMs: 0, jitterMs: 0, holding: false, dropping: false, chunkBytes: Infinity };
}

/** The end of a stream queues behind its bytes: "end" is the orderly one, "gone" any other. */
export type Parcel = Buffer | "end" | "gone";

export class Lane {
  /** Something was swallowed: whatever followed would make no sense to the receiver. */
  broken = false;
  readonly #rules: LaneRules;
  readonly #deliver: (parcel: Parcel) => void;
  readonly #queue: { readonly due: number; readonly parcel: Parcel }[] = [];
  #lastDue = 0;
  #timer: NodeJS.Timeout | undefined;
  #turn: NodeJS.Immediate | undefined;

  constructor(rules: LaneRules, deliver: (parcel: Parcel) => void) {
    this.#rules = rules;
    this.#deliver = deliver;
  }

  put(parcel: Parcel): void {
    const { dropping, delayMs, jitterMs } = this.#rules;
    if (dropping) {
      this.broken = true;
      return;
    }
    // Never before what came earlier: TCP keeps the order whatever the delays are.
    const due = Math.max(this.#lastDue, performance.now() + delayMs + Math.random() * jitterMs);
    this.#lastDue = due;
    for (const piece of pieces(parcel, this.#rules.chunkBytes)) this.#queue.push({ due, parcel: piece });
    this.run();
  }

  /** Delivers what is due; called when something may have become so. */
  run(): void {
    this.#unschedule();
    for (let head = this.#queue[0]; head !== undefined && !this.#rules.holding; head = this.#queue[0]) {
      const waitMs = head.due - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.run(), waitMs);
        return;
      }
      this.#queue.shift();
      this.#deliver(head.parcel);
      if (this.#rules.chunkBytes === Infinity) continue;
      // Written in the same turn, the pieces would leave in one segment.
      this.#turn = setImmediate(() => this.run());
      return;
    }
  }

  /** Delivers everything that is queued, due or not. */
  flush(): void {
    this.#unschedule();
    this.#lastDue = 0;
    for (const { parcel } of this.#queue.splice(0)) this.#deliver(parcel);
  }

  clear(): void {
    this.#unschedule();
    this.#queue.length = 0;
  }

  #unschedule(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#turn);
  }
}

function pieces(parcel: Parcel, size: number): Parcel[] {
  if (typeof parcel === "string" || parcel.length <= size) return [parcel];
  const count = Math.ceil(parcel.length / size);
  return Array.from({ length: count }, (_, index) => parcel.subarray(index * size, (index + 1) * size));
}
