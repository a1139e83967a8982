/**
 * One locker for all instances of redlock over the same clients: some programs make an instance for every request, which costs nothing in
 * redlock and would cost connections here. It lives as long as any of the clients does.
 *
 * When all of them have ended, by the user's hand, so does the locker, since the program is to exit. Clients whose retry strategy gave up
 * during an outage end as well: then locks that are held are still kept, and calls that come dial anew, but nothing is dialled for nobody.
 */
import { LockerClosedError } from "../errors.ts";
import type { Locker } from "../locker.ts";
import type { RedlockClient } from "./errors.ts";

/** By the first client. */
const known = new WeakMap<RedlockClient, SharedLocker[]>();

export class SharedLocker {
  readonly #clients: readonly RedlockClient[];
  readonly #options: string;
  readonly #make: () => Locker;
  readonly #routines = new Set<Promise<unknown>>();
  #locker: Locker | undefined;
  #calls = 0;

  /** Makes the locker at once, and throws what is wrong with it. `options`: equal where `make` makes the same; undefined to share with nobody. */
  static over(
    clients: readonly RedlockClient[],
    options: string | undefined,
    make: () => Locker,
  ): SharedLocker {
    const [first] = clients;
    if (options === undefined || first === undefined) return new SharedLocker(clients, "", make);
    const others = known.get(first) ?? [];
    const same = others.find((each) => each.#isOver(clients, options));
    if (same !== undefined) return same.#opened();
    const made = new SharedLocker(clients, options, make);
    known.set(first, [...others, made]);
    return made;
  }

  private constructor(clients: readonly RedlockClient[], options: string, make: () => Locker) {
    this.#clients = clients;
    this.#options = options;
    this.#make = make;
    this.#opened();
    for (const client of clients) client.on?.("end", () => this.#afterAnEnd());
  }

  /** Throws where all clients have ended. */
  get locker(): Locker {
    if (this.#areEnded() && this.#wereEndedByHand()) throw new LockerClosedError();
    return (this.#locker ??= this.#make());
  }

  /** Of the nodes, in the order of the clients. */
  get names(): readonly string[] {
    return this.#locker?.nodes().map(({ node }) => node) ?? [];
  }

  /** One call of a user, which keeps the locker open until it has settled. */
  async during<T>(call: () => Promise<T>): Promise<T> {
    this.#calls++;
    try {
      return await call();
    } finally {
      this.#calls--;
      this.#closeIfIdle();
    }
  }

  /** The work of a routine, which is waited for when all ends. */
  async working<T>(work: Promise<T>): Promise<T> {
    this.#routines.add(work);
    try {
      return await work;
    } finally {
      this.#routines.delete(work);
    }
  }

  /** Waits for routines, whose signals abort at once. Locks of others stay until they expire. */
  async close(): Promise<void> {
    const locker = this.#locker;
    this.#locker = undefined;
    if (locker === undefined) return;
    await Promise.race([locker.close(), Promise.allSettled(this.#routines)]);
    await locker.close({ withinMs: 0 });
  }

  #opened(): this {
    if (!this.#areEnded()) this.#locker ??= this.#make();
    return this;
  }

  #isOver(clients: readonly RedlockClient[], options: string): boolean {
    return (
      options === this.#options &&
      clients.length === this.#clients.length &&
      clients.every((client, index) => client === this.#clients[index])
    );
  }

  #areEnded(): boolean {
    return this.#clients.every(({ status }) => status === "end");
  }

  /** A client counts its attempts to connect again until it is connected; the user's `quit` and `disconnect` are none. */
  #wereEndedByHand(): boolean {
    return !this.#clients.some((client) => "retryAttempts" in client && client.retryAttempts !== 0);
  }

  #afterAnEnd(): void {
    if (!this.#areEnded()) return;
    if (this.#wereEndedByHand()) void this.close();
    else this.#closeIfIdle();
  }

  /** Where nobody has anything to do with it any more: no call, no lease, and no client. */
  #closeIfIdle(): void {
    if (this.#locker === undefined || this.#calls > 0 || !this.#areEnded()) return;
    const leases = this.#locker.leases();
    if (leases.length === 0) return void this.close();
    for (const { signal } of leases) signal.addEventListener("abort", this.#leaseLost);
  }

  /** One and the same, so that a signal never has it twice. */
  readonly #leaseLost = (): void => this.#closeIfIdle();
}
