/** What locks are called on a server, whatever stands before their keys: never as something of the library's own. */
import { Redis } from "ioredis";
import { createClient } from "redis";
import { expect, test } from "vitest";

import { waitFor } from "../../src/chaos/machine/wait-for.ts";
import type { ServerNode } from "../../src/chaos/servers/server-node.ts";
import { ConfigError, createLocker, type Locker, type QuorumOptions } from "../../src/index.ts";
import { nodeRedis } from "../../src/node-redis/index.ts";
import { Redlock } from "../../src/redlock/index.ts";
import { afterEachTest, serversFor } from "../harness/clean-up.ts";
import { failure } from "../harness/failure.ts";

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);
const PREFIX = "holdfast:";

type Node = QuorumOptions["nodes"][number];

async function server(): Promise<ServerNode> {
  const [node] = (await servers(1)).nodes;
  if (node === undefined) throw new Error("no server");
  return node;
}

async function namesOn(node: ServerNode): Promise<string[]> {
  return ((await node.cli("KEYS", "*")) as string[]).sort();
}

function lockerOn(node: Node): Locker {
  const locker = createLocker({ mode: "single", nodes: [node], ttlMs: 5_000 });
  cleanUp(() => locker.close({ withinMs: 0 }));
  return locker;
}

function clientOf(port: number): Redis {
  const client = new Redis({ port, host: "127.0.0.1", keyPrefix: PREFIX });
  cleanUp(() => client.disconnect());
  return client;
}

test.each<[string, (port: number) => Node]>([
  ["ioredis options", (port) => ({ host: "127.0.0.1", port, keyPrefix: PREFIX })],
  ["an ioredis client", clientOf],
  ["a URL", (port) => `redis://127.0.0.1:${port}?keyPrefix=${PREFIX}`],
  [
    "an adapter",
    (port) => ({ ...nodeRedis(createClient({ url: `redis://127.0.0.1:${port}` })), keyPrefix: PREFIX }),
  ],
])("a prefix of %s counts: names of the library are refused, others are locks", async (_, nodeOf) => {
  const node = await server();
  const locker = lockerOn(nodeOf(node.port));
  for (const key of ["node", "waiting", "key:{x}", "x:fence"]) {
    const error = await failure(locker.acquire(key));
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.message).toContain(`got "${key}", which is "holdfast:${key}" on the nodes`);
    expect(() => locker.lock(key)).toThrow(ConfigError);
  }
  const lease = await locker.acquire(["orders", "{orders}"]);
  expect(await node.cli("GET", "holdfast:orders")).toBe(lease.holder);
  expect(await namesOn(node)).toEqual([
    "holdfast:node",
    "holdfast:orders",
    "holdfast:{orders}",
    "holdfast:{orders}:fence",
    "{holdfast:orders}:fence",
  ]);
  expect(await node.cli("TYPE", "holdfast:node")).toBe("hash");
  await lease.extend();
  expect(await lease.release()).toMatchObject({ outcome: "released" });
});

test("options in the query of a URL do not undo what keeps a request from being sent twice", async () => {
  const node = await server();
  const query = "enableOfflineQueue=true&autoResendUnfulfilledCommands=true&maxRetriesPerRequest=9&db=2";
  const locker = lockerOn(`${node.url}?${query}`);
  await locker.ready();
  node.pause();
  await failure(locker.acquire("late", { waitMs: 0 }));
  await node.kill();
  await node.restartEmpty();
  await locker.ready();
  await locker.acquire("now");
  expect(await node.cli("DBSIZE")).toBe(0);
  await node.cli("SELECT", 2);
  expect(await node.cli("EXISTS", "late")).toBe(0);
});

test("x and {x} share neither fence nor line; the names of all else are as they were", async () => {
  const node = await server();
  const [holder, waiter] = [lockerOn(node.url), lockerOn(node.url)];
  const keys = ["x", "{x}", "{x}:a", "b{x}"];
  const leases = await Promise.all(keys.map((key) => holder.acquire(key, { autoExtend: true })));
  const waiting = keys.map((key) => waiter.acquire(key, { waitMs: 10_000 }));
  const lines = async () => (await namesOn(node)).filter((name) => name.endsWith(":line")).length;
  await waitFor(async () => (await lines()) === keys.length, { what: "each has its line" });
  const plain = ["b{x}", "b{x}:fence", "b{x}:line", "x", "{x}:fence", "{x}:line"];
  const braced = ["{x}", "holdfast:key:{x}:fence", "holdfast:key:{x}:line"];
  const tagged = ["{x}:a", "{x}:a:fence", "{x}:a:line"];
  const ours = ["holdfast:node", "holdfast:waiting"];
  expect(await namesOn(node)).toEqual([...plain, ...braced, ...tagged, ...ours].sort());
  await Promise.all(leases.map((lease) => lease.release()));
  for (const lease of await Promise.all(waiting)) await lease.release();
});

test("the redlock facade refuses them, too", async () => {
  const node = await server();
  const redlock = new Redlock([clientOf(node.port)]);
  cleanUp(() => redlock.quit());
  expect(await failure(redlock.acquire(["node"], 1_000))).toBeInstanceOf(ConfigError);
  expect(await failure(redlock.using(["waiting"], 1_000, () => Promise.resolve()))).toBeInstanceOf(
    ConfigError,
  );
  const lock = await redlock.acquire(["orders"], 1_000);
  expect(await node.cli("GET", "holdfast:orders")).toBe(lock.value);
  await lock.release();
});
