/**
 * Notices of releases, for those of this process who wait: the nodes tell the longest waiting locker that a key is free (rules Q1–Q4).
 * One connection per node hears them for the whole locker, made when somebody has to wait and closed when nobody has for a while.
 * Nothing rests on a notice: lost, late, doubled or forged ones cost time or an attempt, and a timer always stands behind them.
 */
import { type Clock, type Instant, Latch, settledOrAborted, type Timer } from "../clock/clock.ts";

/** What this room needs of a node. */
export interface Herald {
  readonly isListening: boolean;
  listen(waiter: string, heard: (key: string) => void, ready: () => void): void;
  deafen(waiter: string): void;
  ask(
    request: { readonly op: "leave"; readonly keys: readonly string[]; readonly waiter: string },
    reply: () => void,
  ): void;
}

export interface WakeupTerms {
  readonly heralds: readonly Herald[];
  readonly quorum: number;
  /** This locker, for the nodes. */
  readonly waiter: string;
  /** How long the connections stay open when nobody waits any more. */
  readonly idleMs: number;
  /** Whether a lease of this locker has the key: notices of it are then late, and nobody else is kept waiting. */
  readonly isHeld: (key: string) => boolean;
  readonly clock: Clock;
}

/** Who waits, and since when by the client's clock. */
export interface Waiting {
  readonly id: string;
  readonly since: Instant;
}

export class Wakeups {
  readonly terms: WakeupTerms;
  /** Nearly always one of each key: the first in its line. */
  readonly #ears = new Map<string, Set<Ear>>();
  readonly #open = new Set<Ear>();
  #idle: Timer | undefined;

  constructor(terms: WakeupTerms) {
    this.terms = terms;
  }

  get isListening(): boolean {
    return this.terms.heralds.filter(({ isListening }) => isListening).length >= this.terms.quorum;
  }

  /** For one contender; it is silent until it is opened. */
  ear(keys: readonly string[]): Ear {
    return new Ear(keys, this);
  }

  close(): void {
    this.#idle?.cancel();
    for (const herald of this.terms.heralds) herald.deafen(this.terms.waiter);
  }

  /** @internal */
  add(ear: Ear): void {
    this.#idle?.cancel();
    this.#open.add(ear);
    for (const key of ear.keys) this.#ears.set(key, (this.#ears.get(key) ?? new Set()).add(ear));
    this.terms.heralds.forEach((herald, index) =>
      herald.listen(
        this.terms.waiter,
        (key) => this.#heard(index, key),
        () => this.#ready(),
      ),
    );
  }

  /** @internal */
  remove(ear: Ear): void {
    this.#open.delete(ear);
    for (const key of ear.keys) {
      const ears = this.#ears.get(key);
      if (ears?.delete(ear) === true && ears.size === 0) this.#ears.delete(key);
    }
    if (this.#open.size > 0) return;
    const { clock, idleMs } = this.terms;
    this.#idle = clock.at(clock.glance() + idleMs, () => this.close());
  }

  /** @internal Out of the lines in which nobody else of this locker waits. */
  leave(keys: readonly string[]): void {
    const left = keys.filter((key) => !this.#ears.has(key));
    if (left.length > 0) for (const herald of this.terms.heralds) this.#leaveAt(herald, left);
  }

  #leaveAt(herald: Herald, keys: readonly string[]): void {
    herald.ask({ op: "leave", keys, waiter: this.terms.waiter }, () => {});
  }

  #heard(index: number, key: string): void {
    const ears = this.#ears.get(key);
    if (ears !== undefined) {
      for (const ear of ears) ear.hear();
      return;
    }
    // Told of a release that it has no use for: so that the next in line need not wait for a timer.
    const herald = this.terms.heralds[index];
    if (herald !== undefined && !this.terms.isHeld(key)) this.#leaveAt(herald, [key]);
  }

  #ready(): void {
    if (this.isListening) for (const ear of this.#open) ear.listeningBegan();
  }
}

/** Of one contender: what it hears while it sleeps and while it asks. */
export class Ear {
  readonly keys: readonly string[];
  readonly #wakeups: Wakeups;
  #since: Instant | undefined;
  #hasJoined = false;
  #latch: Latch | undefined;
  #isTold = false;

  /** @internal See `Wakeups.ear`. */
  constructor(keys: readonly string[], wakeups: Wakeups) {
    this.keys = keys;
    this.#wakeups = wakeups;
  }

  /** Whether notices would be heard. */
  get canJoin(): boolean {
    return this.#since !== undefined && this.#wakeups.isListening;
  }

  /** What an attempt is put in line with, or undefined while that would be of no use. */
  join(): Waiting | undefined {
    if (this.#since === undefined || !this.#wakeups.isListening) return undefined;
    this.#hasJoined = true;
    return { id: this.#wakeups.terms.waiter, since: this.#since };
  }

  /** Begins to listen, if it does not already. */
  open(): void {
    if (this.#since !== undefined) return;
    this.#since = this.#wakeups.terms.clock.glance();
    this.#wakeups.add(this);
  }

  /** Ends it. Whoever has what it waited for is out of the line already, on the nodes that gave it. */
  close(hasGotIt: boolean): void {
    this.forget();
    if (this.#since === undefined) return;
    this.#since = undefined;
    this.#wakeups.remove(this);
    if (this.#hasJoined && !hasGotIt) this.#wakeups.leave(this.keys);
  }

  /** An attempt begins: what was heard before it is of no use after it. */
  forget(): void {
    this.#isTold = false;
  }

  /**
   * Sleeps until a node tells of a release, until listening begins, for `ms`, or until a signal aborts. True where it was told. One
   * node is enough: whoever released it told all nodes at once, so that an attempt made now comes to the others after the release.
   */
  async sleep(ms: number, signals: readonly AbortSignal[]): Promise<boolean> {
    if (this.#isTold || signals.some(({ aborted }) => aborted)) return this.#isTold;
    this.#latch = new Latch(this.#wakeups.terms.clock, ms);
    await settledOrAborted(this.#latch, signals);
    this.#latch = undefined;
    return this.#isTold;
  }

  /** @internal A node says that one of the keys is free. */
  hear(): void {
    this.#isTold = true;
    this.#latch?.settle();
  }

  /** @internal */
  listeningBegan(): void {
    if (!this.#hasJoined) this.#latch?.settle();
  }
}
