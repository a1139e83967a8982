/**
 * Who waits for a key in this process: in the order in which they came, and only the first in line goes to the nodes. Its place is
 * kept until the lease has ended, so that the next one neither asks in vain nor gets past it; whoever gives up leaves at once. Several
 * keys are several lines, joined at the same moment, so that no two can wait for each other. Knows no nodes and no leases.
 */
import { type Clock, type Instant, Latch, settledOrAborted } from "../clock/clock.ts";

/** `first`: go and ask the nodes. A hand-over: the one before gave it on. `late`: the deadline, or the end of the locker. */
export type Turn<G> = "first" | "late" | { readonly handed: G };

export interface Patience {
  readonly deadline: Instant;
  /** The caller's; its reason is thrown. */
  readonly signal: AbortSignal | undefined;
  readonly closing: AbortSignal;
}

/** `J`: what is wanted there. `G`: what may be handed on. */
export class Turnstile<J, G> {
  readonly #lines = new Map<string, Place<J, G>[]>();
  #waiting = 0;

  /** How many are in line and not the first. */
  get waiting(): number {
    return this.#waiting;
  }

  isFree(keys: readonly string[]): boolean {
    return keys.every((key) => !this.#lines.has(key));
  }

  join(keys: readonly string[], job: J): Place<J, G> {
    const place = new Place<J, G>(keys, job, this);
    for (const key of keys) {
      const line = this.#lines.get(key);
      if (line === undefined) this.#lines.set(key, [place]);
      else line.push(place);
    }
    if (!this.isFirst(place)) this.#waiting++;
    return place;
  }

  /** @internal */
  isFirst(place: Place<J, G>): boolean {
    return place.keys.every((key) => this.#lines.get(key)?.[0] === place);
  }

  /** @internal Those who have to leave before it is the first; each once. */
  before(place: Place<J, G>): Place<J, G>[] {
    const before = place.keys.flatMap((key) => {
      const line = this.#lines.get(key) ?? [];
      return line.slice(0, line.indexOf(place));
    });
    return [...new Set(before)];
  }

  /** @internal Who comes next and wants exactly the same keys. */
  after(place: Place<J, G>): Place<J, G> | undefined {
    const [first = ""] = place.keys;
    const next = this.#lines.get(first)?.[1];
    const isNextEverywhere = place.keys.every((key) => this.#lines.get(key)?.[1] === next);
    return isNextEverywhere && next?.keys.length === place.keys.length ? next : undefined;
  }

  /** @internal */
  leave(place: Place<J, G>): void {
    if (!this.isFirst(place)) this.#waiting--;
    for (const key of place.keys) this.#remove(place, key);
    for (const key of place.keys) this.#call(this.#lines.get(key)?.[0]);
  }

  #remove(place: Place<J, G>, key: string): void {
    const line = this.#lines.get(key);
    if (line === undefined) return;
    if (line.length === 1) this.#lines.delete(key);
    else if (line[0] === place) line.shift();
    else line.splice(line.indexOf(place), 1);
  }

  #call(place: Place<J, G> | undefined): void {
    if (place === undefined || place.isCalled || !this.isFirst(place)) return;
    this.#waiting--;
    place.call();
  }
}

export class Place<J, G> {
  readonly keys: readonly string[];
  readonly job: J;
  readonly #turnstile: Turnstile<J, G>;
  /** It was the first, or was told that it is now. */
  isCalled: boolean = false;
  #handed: { readonly handed: G } | undefined;
  #hasLeft = false;
  /** Its turn has come or has been given up: what was decided then is on its way to who waits. */
  #isDecided = false;
  #latch: Latch | undefined;

  /** @internal See `Turnstile.join`. */
  constructor(keys: readonly string[], job: J, turnstile: Turnstile<J, G>) {
    this.keys = keys;
    this.job = job;
    this.#turnstile = turnstile;
  }

  /** Whether it need not wait. */
  get isFirst(): boolean {
    this.isCalled ||= this.#turnstile.isFirst(this);
    return this.isCalled;
  }

  /** Settles when it is the first, was handed what it waits for, or its patience is over. Rejects with the reason of the signal. */
  async turn({ deadline, signal, closing }: Patience, clock: Clock): Promise<Turn<G>> {
    if (this.isFirst) return "first";
    this.#latch = new Latch(clock, Math.max(0, deadline - clock.now()));
    await settledOrAborted(this.#latch, signal === undefined ? [closing] : [signal, closing]);
    this.#isDecided = true;
    if (this.#handed !== undefined) return this.#handed;
    signal?.throwIfAborted();
    return this.isCalled && !closing.aborted ? "first" : "late";
  }

  /** Those it has to wait for, the first of the line among them. */
  before(): readonly Place<J, G>[] {
    return this.#turnstile.before(this);
  }

  /** Who is next and wants the same keys, if anybody. */
  after(): Place<J, G> | undefined {
    return this.#hasLeft ? undefined : this.#turnstile.after(this);
  }

  /** Gives it what it waits for; false where it has left meanwhile. */
  hand(granted: G): boolean {
    if (this.#hasLeft || this.#isDecided || this.isCalled) return false;
    this.#handed = { handed: granted };
    this.#latch?.settle();
    return true;
  }

  /** @internal */
  call(): void {
    this.isCalled = true;
    this.#latch?.settle();
  }

  /** Makes room for the next; safe to call twice. */
  leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#turnstile.leave(this);
  }
}
