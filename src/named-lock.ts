/// <reference lib="esnext.disposable" preserve="true" />
/**
 * A lock by its name, for code that passes locks around: one instance for a name, as long as anybody has it. And workspaces: the same
 * names for different tenants without meeting. Both only ever call the locker they come from.
 */
import type { Attempt } from "./attempt.ts";
import type { Lease } from "./lease/lease.ts";
import type { AcquireOptions, UsingOptions } from "./options/options.ts";
import { checkKey } from "./options/settings.ts";
import type { Inspection } from "./node/inspection.ts";

type Keys = string | readonly string[];

/** What a locker and its workspaces both offer. */
export interface Locks {
  acquire(keys: Keys, options?: AcquireOptions): Promise<Lease>;
  tryAcquire(keys: Keys, options?: AcquireOptions): Promise<Lease | undefined>;
  attempt(keys: Keys, options?: AcquireOptions): Promise<Attempt>;
  using<T>(keys: Keys, body: (lease: Lease) => T | Promise<T>): Promise<T>;
  using<T>(keys: Keys, options: UsingOptions, body: (lease: Lease) => T | Promise<T>): Promise<T>;
  inspect(key: string): Promise<Inspection>;
  lock(name: string): NamedLock;
  locks(): readonly NamedLock[];
  workspace(name: string): Locks;
}

/** Made by `locker.lock(name)`. */
export class NamedLock {
  /** As it was asked for. */
  readonly name: string;
  readonly #locks: Pick<Locks, "acquire" | "tryAcquire" | "attempt" | "using" | "inspect">;
  #lease: Lease | undefined;

  /** @internal */
  constructor(name: string, locks: Pick<Locks, "acquire" | "tryAcquire" | "attempt" | "using" | "inspect">) {
    this.name = name;
    this.#locks = locks;
  }

  /** Whether a lease that was taken through this instance is held. Who else may have it, `inspect` tells. */
  isHeld(): boolean {
    return this.#lease?.isHeld() === true;
  }

  /** The last lease that was taken through this instance, while it is held. */
  get lease(): Lease | undefined {
    return this.isHeld() ? this.#lease : undefined;
  }

  /** As `locker.acquire`. */
  async acquire(options?: AcquireOptions): Promise<Lease> {
    return (this.#lease = await this.#locks.acquire(this.name, options));
  }

  /** As `locker.tryAcquire`. */
  async tryAcquire(options?: AcquireOptions): Promise<Lease | undefined> {
    const lease = await this.#locks.tryAcquire(this.name, options);
    this.#lease = lease ?? this.#lease;
    return lease;
  }

  /** As `locker.attempt`. */
  async attempt(options?: AcquireOptions): Promise<Attempt> {
    const attempt = await this.#locks.attempt(this.name, options);
    if (attempt.outcome === "acquired") this.#lease = attempt.lease;
    return attempt;
  }

  /** As `locker.using`. */
  using<T>(body: (lease: Lease) => T | Promise<T>): Promise<T>;
  using<T>(options: UsingOptions, body: (lease: Lease) => T | Promise<T>): Promise<T>;
  using<T>(
    optionsOrBody: UsingOptions | ((lease: Lease) => T | Promise<T>),
    maybeBody?: (lease: Lease) => T | Promise<T>,
  ): Promise<T> {
    const options = typeof optionsOrBody === "function" ? {} : optionsOrBody;
    const body = typeof optionsOrBody === "function" ? optionsOrBody : maybeBody;
    return this.#locks.using(this.name, options, (lease) => {
      this.#lease = lease;
      // What is no function is refused by the locker, before anything is acquired.
      return (body as (lease: Lease) => T | Promise<T>)(lease);
    });
  }

  /** As `locker.inspect`. */
  inspect(): Promise<Inspection> {
    return this.#locks.inspect(this.name);
  }
}

/** One instance for a name, as long as somebody has it: names that nobody holds on to are forgotten. */
export class NamedLocks {
  readonly #locks: Locks;
  readonly #byName = new Map<string, WeakRef<NamedLock>>();
  readonly #forgotten = new FinalizationRegistry<string>((name) => {
    if (this.#byName.get(name)?.deref() === undefined) this.#byName.delete(name);
  });

  constructor(locks: Locks) {
    this.#locks = locks;
  }

  get(name: string): NamedLock {
    const known = this.#byName.get(name)?.deref();
    if (known !== undefined) return known;
    const lock = new NamedLock(name, this.#locks);
    this.#byName.set(name, new WeakRef(lock));
    this.#forgotten.register(lock, name);
    return lock;
  }

  all(): readonly NamedLock[] {
    return [...this.#byName.values()].flatMap((reference) => reference.deref() ?? []);
  }
}

/** Names of one tenant: `<workspace>:` before each, on the nodes and in what leases tell. */
export class Workspace implements Locks {
  readonly #locks: Locks;
  readonly #path: string;
  readonly #named = new NamedLocks(this);

  /** @internal `path`: see `pathOf`. */
  constructor(locks: Locks, path: string) {
    this.#locks = locks;
    this.#path = path;
  }

  acquire(keys: Keys, options?: AcquireOptions): Promise<Lease> {
    return this.#locks.acquire(this.#prefixed(keys), options);
  }

  tryAcquire(keys: Keys, options?: AcquireOptions): Promise<Lease | undefined> {
    return this.#locks.tryAcquire(this.#prefixed(keys), options);
  }

  attempt(keys: Keys, options?: AcquireOptions): Promise<Attempt> {
    return this.#locks.attempt(this.#prefixed(keys), options);
  }

  using<T>(keys: Keys, body: (lease: Lease) => T | Promise<T>): Promise<T>;
  using<T>(keys: Keys, options: UsingOptions, body: (lease: Lease) => T | Promise<T>): Promise<T>;
  using<T>(
    keys: Keys,
    optionsOrBody: UsingOptions | ((lease: Lease) => T | Promise<T>),
    maybeBody?: (lease: Lease) => T | Promise<T>,
  ): Promise<T> {
    const prefixed = this.#prefixed(keys);
    // What is no function is refused by the locker.
    return typeof optionsOrBody === "function"
      ? this.#locks.using(prefixed, optionsOrBody)
      : this.#locks.using(prefixed, optionsOrBody, maybeBody as (lease: Lease) => T | Promise<T>);
  }

  inspect(key: string): Promise<Inspection> {
    return this.#locks.inspect(this.#prefixed(key));
  }

  lock(name: string): NamedLock {
    checkKey(name, NO_PREFIXES);
    return this.#named.get(name);
  }

  locks(): readonly NamedLock[] {
    return this.#named.all();
  }

  workspace(name: string): Locks {
    return new Workspace(this.#locks, `${this.#path}%/${pathOf(name)}`);
  }

  #prefixed(key: string): string;
  #prefixed(keys: Keys): Keys;
  #prefixed(keys: Keys): Keys {
    return Array.isArray(keys) ? keys.map((key: string) => this.#keyOf(key)) : this.#keyOf(keys as string);
  }

  /** What is no key is refused by the locker, as it is. */
  #keyOf(key: string): string {
    return typeof key === "string" && key !== "" ? `${this.#path}:${key}` : key;
  }
}

const NO_PREFIXES: readonly string[] = [];

/**
 * A workspace's name as it stands before its keys: the first `:` ends it, so a `:` of its own is written `%3A`, and `%` is `%25`. Between
 * the names of a workspace in a workspace stands `%/`. So `b:c` in the workspace `a`, `c` in `a:b`, and `c` in `b` in `a` are three locks.
 */
export function pathOf(name: string): string {
  checkKey(name, NO_PREFIXES);
  return name.replaceAll("%", "%25").replaceAll(":", "%3A");
}
