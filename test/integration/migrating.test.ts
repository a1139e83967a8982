/** What docs/migrating.md says of libraries whose calls have other names here: on the same servers each keeps the other out, and lets it in. */
import { Redis } from "ioredis5";
import { Mutex, RedlockMutex } from "redis-semaphore";
import { createLock, createRedlock, IoredisAdapter } from "redlock-universal";
import { describe, expect, test } from "vitest";

import type { Cluster } from "../../src/chaos/servers/cluster.ts";
import { waitFor } from "../../src/chaos/machine/wait-for.ts";
import { createLocker, type Locker, type LockerOptions } from "../../src/index.ts";
import { afterEachTest, serversFor } from "../harness/clean-up.ts";
import { failure } from "../harness/failure.ts";

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);

/** A lock of another library in the hand. */
interface Theirs {
  take(): Promise<unknown>;
  /** True where it was taken. */
  try(): Promise<boolean>;
  give(): Promise<unknown>;
}

function clientsOf(cluster: Cluster): Redis[] {
  const clients = cluster.urls.map((url) => new Redis(url));
  for (const client of clients) client.on("error", () => {});
  cleanUp(() => clients.forEach((client) => client.disconnect()));
  return clients;
}

async function lockerOf(clients: Redis[], options: Partial<LockerOptions> = {}): Promise<Locker> {
  const mode = clients.length === 1 ? "single" : "quorum";
  const locker = createLocker({ mode, nodes: clients, ...options } as LockerOptions);
  cleanUp(() => locker.close({ withinMs: 0 }));
  await locker.init();
  return locker;
}

function mutexOf(clients: Redis[]): Theirs {
  const [client] = clients as [Redis];
  const options = { acquireAttemptsLimit: 1 };
  const mutex =
    clients.length === 1
      ? new Mutex(client as never, "k", options)
      : new RedlockMutex(clients as never, "k", options);
  cleanUp(() => mutex.stopRefresh());
  return { take: () => mutex.acquire(), try: () => mutex.tryAcquire(), give: () => mutex.release() };
}

function universalOf(clients: Redis[]): Theirs {
  const adapters = clients.map((client) => new IoredisAdapter(client as never));
  const options = { key: "k", ttl: 10_000, retryAttempts: 0 };
  const [adapter] = adapters as [IoredisAdapter];
  const lock =
    clients.length === 1 ? createLock({ adapter, ...options }) : createRedlock({ adapters, ...options });
  let handle: Awaited<ReturnType<typeof lock.acquire>> | undefined;
  const take = async () => (handle = await lock.acquire());
  const isTaken = () =>
    take().then(
      () => true,
      () => false,
    );
  return { take, try: isTaken, give: async () => handle && lock.release(handle) };
}

describe.each([
  ["redis-semaphore", mutexOf, "mutex:"],
  ["redlock-universal", universalOf, ""],
] as const)("%s", (_, theirsOf, keyPrefix) => {
  test.each([1, 3])("on %i nodes each keeps the other out, and lets it in", async (size) => {
    const cluster = await servers(size);
    const locker = await lockerOf(clientsOf(cluster), { keyPrefix });
    const theirs = theirsOf(clientsOf(cluster));
    const lease = await locker.acquire("k");
    expect(await theirs.try()).toBe(false);
    await lease.release();
    await theirs.take();
    expect(await failure(locker.acquire("k", { waitMs: 0 }))).toMatchObject({ code: "ACQUIRE_TIMEOUT" });
    // Nobody tells of its release: the nodes are asked again and again.
    const waiting = locker.acquire("k", { waitMs: 8_000 });
    await theirs.give();
    await (await waiting).release();
  });
});

test("a lock that is let go of is extended no more, and ends with its ttl (stopRefresh)", async () => {
  const locker = await lockerOf(clientsOf(await servers(1)), { ttlMs: 500 });
  const lease = await locker.acquire("k", { autoExtend: true });
  await lease.detach();
  expect(await locker.tryAcquire("k")).toBeUndefined();
  await waitFor(async () => (await locker.inspect("k")).holder === undefined, { what: "its ttl is over" });
});
