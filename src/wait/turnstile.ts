/**
 * Who waits for a key in this process: in the order in which they came, and only the first in line goes to the nodes. Its place is
 * kept until the lease has ended, so that the next one neither asks in vain nor gets past it; whoever gives up leaves at once. Several
 * keys are several lines, joined at the same moment, so that no two can wait for each other. Knows no nodes and no leases.
 *
 * Whoever wants several keys and cannot have one of them yet (it is taken here, or the nodes said so) keeps nobody from the others: those
 * behind go past. Nor do they keep it waiting for good: when it could have gone but for those who went past, its keys are closed to others
 * for a while, twice as long every time, until it has its turn.
 */
import { type Clock, type Instant, Latch, settledOrAborted, type Timer } from "../clock/clock.ts";

/** `first`: go and ask the nodes. A hand-over: the one before gave it on. `late`: the deadline, or the end of the locker. */
export type Turn<G> = "first" | "late" | { readonly handed: G };

export interface Patience {
  readonly deadline: Instant;
  /** The caller's; its reason is thrown. */
  readonly signal: AbortSignal | undefined;
  readonly closing: AbortSignal;
}

/** So many of those at the front of a line are looked at when somebody may go past somebody. */
const LOOKED_AT_MAX = 32;
/** And so many in one go: behind those everybody keeps the order. */
const FINDINGS_MAX = 1_024;
/** Keys are closed to others for so long at the first chance that was lost, if their leases take so long to end. */
const CLOSED_MS_MIN = 100;
/** Leases longer than this may come in between for ever: closing longer would keep others from a free key for longer than they usually wait. */
const CLOSED_MS_MAX = 5_000;

const NONE: readonly never[] = [];

/** What was found out in one go: who is kept from which keys. */
type Findings<J, G> = Map<Place<J, G>, readonly string[]>;

/** `J`: what is wanted there. `G`: what may be handed on. */
export class Turnstile<J, G> {
  readonly #clock: Clock;
  /** By key: who waits, in the order in which they came. */
  readonly #lines = new Map<string, Place<J, G>[]>();
  /** By key: who was called. Nearly always one; more only where one is stuck and others went past. */
  readonly #called = new Map<string, Place<J, G>[]>();
  #waiting = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many are in line and were not called. */
  get waiting(): number {
    return this.#waiting;
  }

  isFree(keys: readonly string[]): boolean {
    return keys.every((key) => !this.#called.has(key) && !this.#lines.has(key));
  }

  join(keys: readonly string[], job: J): Place<J, G> {
    const place = new Place<J, G>(keys, job, this);
    if (this.isFree(keys)) {
      this.#enter(place);
      return place;
    }
    for (const key of keys) add(this.#lines, key, place);
    this.#waiting++;
    if (this.#mayGo(place)) this.#admit(place);
    return place;
  }

  /** @internal Those that are in its way now, or came before it; each once. */
  before(place: Place<J, G>): Place<J, G>[] {
    const before = place.keys.flatMap((key) => [...this.#takers(place, key), ...this.#aheadOf(place, key)]);
    return [...new Set(before)];
  }

  /** @internal Who may go when this one leaves, and wants exactly the same keys. */
  after(place: Place<J, G>): Place<J, G> | undefined {
    const [first = ""] = place.keys;
    const line = this.#lines.get(first);
    if (line === undefined) return undefined;
    const next = line.slice(0, LOOKED_AT_MAX).find((each) => wantsTheSame(each, place));
    return next !== undefined && this.#mayGo(next, place) ? next : undefined;
  }

  /** @internal It has what it waited for, from the one before. */
  handed(place: Place<J, G>): void {
    this.#admit(place);
  }

  /** @internal The nodes said that others have these of its keys. */
  stuck(place: Place<J, G>): void {
    if (place.keys.length === 1) return;
    if (place.wasPassed) this.#judgeChance(place);
    if (this.#waiting > 0) this.#callNext(place.keys);
  }

  /** @internal */
  leave(place: Place<J, G>): void {
    if (!place.isCalled) this.#waiting--;
    const rows = place.isCalled ? this.#called : this.#lines;
    for (const key of place.keys) remove(rows, key, place);
    place.forget();
    if (this.#waiting === 0) return;
    for (const key of place.keys)
      for (const each of this.#front(key)) if (each.wasPassed) this.#judgeChance(each);
    this.#callNext(place.keys);
  }

  #front(key: string): readonly Place<J, G>[] {
    return this.#lines.get(key)?.slice(0, LOOKED_AT_MAX) ?? NONE;
  }

  /** Who else was called for it. */
  #takers(place: Place<J, G>, key: string): readonly Place<J, G>[] {
    return (this.#called.get(key) ?? []).filter((each) => each !== place);
  }

  #aheadOf(place: Place<J, G>, key: string): readonly Place<J, G>[] {
    const line = this.#lines.get(key);
    const index = line?.indexOf(place) ?? -1;
    return index < 0 ? NONE : (line?.slice(0, index) ?? NONE);
  }

  /** It goes; whoever came before it and is still there was passed. */
  #admit(place: Place<J, G>): void {
    for (const key of place.keys) {
      for (const each of this.#aheadOf(place, key)) each.passed(place);
      for (const each of this.#called.get(key) ?? NONE) if (!each.holds) each.passed(place);
      remove(this.#lines, key, place);
    }
    this.#waiting--;
    this.#enter(place);
  }

  #enter(place: Place<J, G>): void {
    place.isCalled = true;
    for (const key of place.keys) add(this.#called, key, place);
  }

  /** Calls all who may go, of those whom a change of these keys may concern. */
  #callNext(keys: readonly string[]): void {
    const concerned = new Set(keys);
    // A set grows while it is gone through: who is kept from one key may be passed on its others.
    for (const key of concerned) {
      const others = this.#callOneFor(key);
      if (concerned.size < LOOKED_AT_MAX) for (const other of others) concerned.add(other);
    }
  }

  /** Answers with the keys of those that it passes over. */
  #callOneFor(key: string): readonly string[] {
    const passed: string[] = [];
    for (const place of this.#front(key)) {
      if (this.#mayGo(place)) {
        this.#admit(place);
        place.call();
        break; // Those behind it want its key.
      }
      if (place.keys.length === 1) break; // And of this one, which wants nothing else.
      passed.push(...place.keys);
    }
    return passed;
  }

  /** `without`: as if that one had left. */
  #mayGo(place: Place<J, G>, without?: Place<J, G>): boolean {
    return this.#obstacles(place, without, new Map()).length === 0;
  }

  /** The keys that others keep it from. */
  #obstacles(
    place: Place<J, G>,
    without: Place<J, G> | undefined,
    findings: Findings<J, G>,
  ): readonly string[] {
    const known = findings.get(place);
    if (known !== undefined) return known;
    findings.set(place, NONE); // Counts at once: this goes as deep as calls wait for each other.
    const isInTheWay = (other: Place<J, G>) =>
      other !== place && other !== without && !this.#mayPass(place, other, without, findings);
    const found = place.keys.filter(
      (key) => this.#called.get(key)?.some(isInTheWay) === true || this.#isBehind(place, key, isInTheWay),
    );
    findings.set(place, found);
    return found;
  }

  #isBehind(place: Place<J, G>, key: string, isInTheWay: (other: Place<J, G>) => boolean): boolean {
    const line = this.#lines.get(key) ?? NONE;
    for (let index = 0; line[index] !== place && index < line.length; index++) {
      const other = line[index];
      if (index >= LOOKED_AT_MAX || (other !== undefined && isInTheWay(other))) return true;
    }
    return false;
  }

  /** Whether `other`, which came before it or was called, could do nothing with the keys they both want. */
  #mayPass(
    place: Place<J, G>,
    other: Place<J, G>,
    without: Place<J, G> | undefined,
    findings: Findings<J, G>,
  ): boolean {
    if (other.keys.length === 1 || other.holds || this.#clock.glance() < other.closedUntil) return false;
    if (findings.size >= FINDINGS_MAX) return false;
    const obstacles = other.isCalled ? other.stuckOn : this.#obstacles(other, without, findings);
    return obstacles.some((key) => !place.keys.includes(key));
  }

  /** Where it could go but for those that went past it, it lost a chance: nobody else does until they are gone, or for a while. */
  #judgeChance(place: Place<J, G>): void {
    const keys = place.isCalled ? place.stuckOn : place.keys;
    const takers = keys.map((key) => this.#takers(place, key));
    if (place.isCalled && takers.some(({ length }) => length === 0)) return; // Others than ours have it.
    const all = takers.flat();
    const lost = all.length > 0 && place.losesChanceTo(all);
    if (!lost) return;
    const ms = Math.min(CLOSED_MS_MIN * 2 ** (place.lostChances - 1), CLOSED_MS_MAX);
    place.close(this.#clock.now() + ms, this.#clock, () => this.#callNext(place.keys));
  }
}

export class Place<J, G> {
  readonly keys: readonly string[];
  readonly job: J;
  readonly #turnstile: Turnstile<J, G>;
  /** @internal It need not wait, or was told that it need not any more. */
  isCalled: boolean = false;
  /** @internal It has what it came for: nobody goes past it. */
  holds: boolean = false;
  /** @internal Those of its keys that others have, by the nodes. */
  stuckOn: readonly string[] = NONE;
  /** @internal Nobody goes past it until then. */
  closedUntil: Instant = -Infinity;
  /** @internal */
  lostChances: number = 0;
  /** Those that went past it and are still there; true where it lost a chance to them. Made when it is needed, as the next one is. */
  #passedBy: Map<Place<J, G>, boolean> | undefined;
  #hasPassed: Set<Place<J, G>> | undefined;
  #opening: Timer | undefined;
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
    this.#turnstile.handed(this);
    this.hold();
    this.#latch?.settle();
    return true;
  }

  /** It has what it came for, until it leaves. */
  hold(): void {
    this.holds = true;
    this.#reopen();
  }

  /** It asked, and others have these of its keys. */
  stuck(keys: readonly string[]): void {
    if (this.#hasLeft || this.holds) return;
    this.stuckOn = keys;
    this.#turnstile.stuck(this);
  }

  /** In which order to ask for its keys: what others of this process have is known, and the nodes name only the first that is taken. */
  inAskingOrder(): readonly string[] {
    if (!this.wasPassed) return this.keys;
    const isTaken = (key: string) =>
      [...(this.#passedBy?.keys() ?? [])].some(({ keys }) => keys.includes(key));
    return [...this.keys.filter((key) => !isTaken(key)), ...this.keys.filter(isTaken)];
  }

  /** Makes room for the next; safe to call twice. */
  leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#turnstile.leave(this);
  }

  /** @internal */
  call(): void {
    this.#latch?.settle();
  }

  /** @internal Somebody went past it, and is still there. */
  get wasPassed(): boolean {
    return this.#passedBy !== undefined && this.#passedBy.size > 0;
  }

  /** @internal `by` was called before it. */
  passed(by: Place<J, G>): void {
    this.#passedBy ??= new Map();
    this.#passedBy.set(by, false);
    by.#hasPassed ??= new Set();
    by.#hasPassed.add(this);
  }

  /** @internal False where not all of these went past it, or all were the reason of an earlier one. */
  losesChanceTo(takers: readonly Place<J, G>[]): boolean {
    const passedBy = this.#passedBy;
    if (passedBy === undefined || !takers.every((taker) => passedBy.has(taker))) return false;
    if (takers.every((taker) => passedBy.get(taker))) return false;
    for (const taker of takers) passedBy.set(taker, true);
    this.lostChances++;
    return true;
  }

  /** @internal Nobody goes past it until then; `opened` is called when that is over. */
  close(until: Instant, clock: Clock, opened: () => void): void {
    this.#reopen();
    this.closedUntil = until;
    this.#opening = clock.at(until, () => {
      this.#reopen();
      opened();
    });
  }

  /** @internal It is gone: nobody is to remember it. */
  forget(): void {
    this.#reopen();
    if (this.#hasPassed !== undefined) for (const other of this.#hasPassed) other.#passedBy?.delete(this);
    if (this.#passedBy !== undefined)
      for (const other of this.#passedBy.keys()) other.#hasPassed?.delete(this);
  }

  #reopen(): void {
    this.closedUntil = -Infinity;
    this.#opening?.cancel();
    this.#opening = undefined;
  }
}

function wantsTheSame(
  one: { readonly keys: readonly string[] },
  other: { readonly keys: readonly string[] },
): boolean {
  return one.keys.length === other.keys.length && one.keys.every((key) => other.keys.includes(key));
}

function add<T>(rows: Map<string, T[]>, key: string, each: T): void {
  const row = rows.get(key);
  if (row === undefined) rows.set(key, [each]);
  else row.push(each);
}

function remove<T>(rows: Map<string, T[]>, key: string, each: T): void {
  const row = rows.get(key);
  if (row === undefined) return;
  if (row.length === 1 && row[0] === each) rows.delete(key);
  else if (row[0] === each) row.shift();
  else if (row.includes(each)) row.splice(row.indexOf(each), 1);
}
