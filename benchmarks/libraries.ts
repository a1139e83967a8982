/**
 * The libraries that are compared, each behind the same few calls and with the settings that its own documentation shows. The clients
 * are what those documents show too: ioredis with its defaults, in the major version that the library was written for.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { Redis as Redis5 } from "ioredis5";

import { createLocker } from "../src/index.ts";

export const LIBRARIES = [
  "holdfast",
  "holdfast single",
  "redlock 5",
  "redlock 4",
  "@sesamecare-oss/redlock",
  "redis-semaphore",
  "redlock-universal",
] as const;

export type LibraryName = (typeof LIBRARIES)[number];

/** What a library says of a lock it gave. */
export interface Held {
  /** Whether, by its own word, it is held now: what a careful caller can ask before a write. Where a library says nothing, it is. */
  isHeld(): boolean;
  /** Undefined where the library has no such call, or extends by itself only. */
  readonly extend: ((ttlMs: number) => Promise<unknown>) | undefined;
  release(): Promise<unknown>;
}

interface AcquireTerms {
  readonly key: string;
  readonly ttlMs: number;
  /** Extended by the library itself for as long as it is held. */
  readonly automatic: boolean;
  /** To be called when the library says that the lock is lost. Left out by those who do not ask: a signal costs something to make. */
  readonly lost?: () => void;
}

export interface Library {
  /** What its documentation asks for once, when the nodes are new. */
  prepare?(): Promise<unknown>;
  acquire(terms: AcquireTerms): Promise<Held>;
  /** The name of the lock's key on a node. */
  redisKey(key: string): string;
  /** Ends its connections. */
  close(): void;
}

const require = createRequire(import.meta.url);

export async function openLibrary(name: LibraryName, urls: readonly string[]): Promise<Library> {
  switch (name) {
    case "holdfast":
    case "holdfast single":
      return holdfast(name, urls);
    case "redlock 5":
      return redlock5((require("redlock") as { default: Redlock5Class }).default, urls);
    case "@sesamecare-oss/redlock":
      return redlock5((await import("@sesamecare-oss/redlock")).Redlock as unknown as Redlock5Class, urls);
    case "redlock 4":
      return redlock4(urls);
    case "redis-semaphore":
      return redisSemaphore(urls);
    case "redlock-universal":
      return redlockUniversal(urls);
  }
}

/** Of a package, as it is installed here; some of them do not let others import their package.json. */
export function versionOf(name: LibraryName): string {
  const folder = name.startsWith("holdfast") ? "" : `node_modules/${PACKAGES[name] ?? name}/`;
  const file = new URL(`../../${folder}package.json`, import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

const PACKAGES: Partial<Record<LibraryName, string>> = { "redlock 5": "redlock", "redlock 4": "redlock4" };

/** Without a listener, a connection that fails would end the process. */
function clientsOf(urls: readonly string[]): Redis5[] {
  return urls.map((url) => new Redis5(url).on("error", () => {}));
}

function disconnect(clients: readonly Redis5[]): void {
  for (const client of clients) client.disconnect();
}

/** Defaults. */
function holdfast(name: "holdfast" | "holdfast single", urls: readonly string[]): Library {
  const locker = createLocker(
    name === "holdfast" ? { mode: "quorum", nodes: [...urls] } : { mode: "single", nodes: urls.slice(0, 1) },
  );
  return {
    prepare: () => locker.init(),
    redisKey: (key) => key,
    close: () => void locker.close(),
    async acquire({ key, ttlMs, automatic, lost }) {
      const lease = await locker.acquire(key, { ttlMs, autoExtend: automatic });
      if (lost !== undefined) lease.signal.addEventListener("abort", lost);
      return {
        isHeld: () => lease.isHeld(),
        extend: (ms) => lease.extend(ms),
        release: () => lease.release(),
      };
    },
  };
}

interface Redlock5Lock {
  readonly expiration: number;
  extend(ttlMs: number): Promise<Redlock5Lock>;
  release(): Promise<unknown>;
}

interface Redlock5 {
  on(event: "error", listener: () => void): void;
  acquire(keys: string[], ttlMs: number): Promise<Redlock5Lock>;
  using<T>(keys: string[], ttlMs: number, routine: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

type Redlock5Class = new (clients: unknown[], settings: object) => Redlock5;

/** README, "Configuration". */
const REDLOCK_SETTINGS = { driftFactor: 0.01, retryCount: 10, retryDelay: 200, retryJitter: 200 };

function redlock5(Redlock: Redlock5Class, urls: readonly string[]): Library {
  const clients = clientsOf(urls);
  const redlock = new Redlock(clients, { ...REDLOCK_SETTINGS, automaticExtensionThreshold: 500 });
  redlock.on("error", () => {});
  return {
    redisKey: (key) => key,
    close: () => disconnect(clients),
    async acquire({ key, ttlMs, automatic, lost }) {
      if (automatic) return whileUsing((routine) => redlock.using([key], ttlMs, routine), lost);
      let lock = await redlock.acquire([key], ttlMs);
      return {
        isHeld: () => Date.now() < lock.expiration,
        extend: async (ms) => void (lock = await lock.extend(ms)),
        release: () => lock.release(),
      };
    },
  };
}

/** `using` holds as long as the routine runs: here until it is told to end. */
function whileUsing(
  using: (routine: (signal: AbortSignal) => Promise<void>) => Promise<unknown>,
  lost: () => void = () => {},
): Promise<Held> {
  return new Promise((resolve, reject) => {
    let end = (): void => {};
    const ended = new Promise<void>((over) => (end = over));
    let isLost = false;
    const used = using((signal) => {
      signal.addEventListener("abort", () => {
        isLost = true;
        lost();
      });
      const release = (): Promise<unknown> => {
        end();
        return used;
      };
      resolve({ isHeld: () => !isLost, extend: undefined, release });
      return ended;
    });
    used.catch(reject);
  });
}

interface Redlock4Lock {
  readonly expiration: number;
  extend(ttlMs: number): Promise<Redlock4Lock>;
  unlock(): Promise<unknown>;
}

/** README, "Configuration". It has no automatic extension. */
function redlock4(urls: readonly string[]): Library {
  const Redlock = require("redlock4") as new (
    clients: unknown[],
    settings: object,
  ) => {
    on(event: "clientError", listener: () => void): void;
    lock(key: string, ttlMs: number): Promise<Redlock4Lock>;
  };
  const clients = clientsOf(urls);
  const redlock = new Redlock(clients, REDLOCK_SETTINGS);
  redlock.on("clientError", () => {});
  return {
    redisKey: (key) => key,
    close: () => disconnect(clients),
    async acquire({ key, ttlMs }) {
      let lock = await redlock.lock(key, ttlMs);
      return {
        isHeld: () => Date.now() < lock.expiration,
        extend: async (ms) => void (lock = await lock.extend(ms)),
        release: () => lock.unlock(),
      };
    },
  };
}

/** README, "Mutex" and "RedlockMutex": `lockTimeout` for the ttl, the rest by default; refreshed by itself unless told otherwise. */
async function redisSemaphore(urls: readonly string[]): Promise<Library> {
  const { Mutex, RedlockMutex } = await import("redis-semaphore");
  const connections = clientsOf(urls);
  const clients = connections as unknown as ConstructorParameters<typeof RedlockMutex>[0];
  const [first] = clients;
  return {
    redisKey: (key) => `mutex:${key}`,
    close: () => disconnect(connections),
    async acquire({ key, ttlMs, automatic, lost }) {
      const options = {
        lockTimeout: ttlMs,
        ...(lost === undefined ? {} : { onLockLost: lost }),
        ...(automatic ? {} : { refreshInterval: 0 }),
      };
      const mutex =
        clients.length === 1 && first !== undefined
          ? new Mutex(first, key, options)
          : new RedlockMutex(clients, key, options);
      await mutex.acquire();
      return { isHeld: () => mutex.isAcquired, extend: undefined, release: () => mutex.release() };
    },
  };
}

/** README, "Distributed Lock" and "using"; the rest by default. Handles carry when they were acquired, and their ttl. */
async function redlockUniversal(urls: readonly string[]): Promise<Library> {
  const { createLock, createRedlock, IoredisAdapter } = await import("redlock-universal");
  type Client = ConstructorParameters<typeof IoredisAdapter>[0];
  const clients = clientsOf(urls);
  const adapters = clients.map((client) => new IoredisAdapter(client as unknown as Client));
  const [first] = adapters;
  const quorum = Math.floor(adapters.length / 2) + 1;
  return {
    redisKey: (key) => key,
    close: () => disconnect(clients),
    async acquire({ key, ttlMs, automatic, lost }) {
      const lock =
        adapters.length === 1 && first !== undefined
          ? createLock({ adapter: first, key, ttl: ttlMs })
          : createRedlock({ adapters, key, ttl: ttlMs, quorum });
      if (automatic)
        return whileUsing((routine) => lock.using((signal: AbortSignal) => routine(signal)), lost);
      const handle = await lock.acquire();
      let until = handle.acquiredAt + handle.ttl;
      return {
        isHeld: () => Date.now() < until,
        extend: async (ms) => {
          if (!(await lock.extend(handle, ms))) throw new Error("extend answered false");
          until = Date.now() + ms;
        },
        release: () => lock.release(handle),
      };
    },
  };
}
