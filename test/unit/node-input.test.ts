/**
 * What is no node is refused, with what it is and what to give instead, before anything is dialled: a client library that gets options
 * without an address dials localhost:6379.
 */
import { createServer } from "node:net";

import { Cluster, Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { Redis as Valkey } from "iovalkey";
import * as redis5 from "redis";
import * as redis6 from "redis6";
import { expect, test } from "vitest";

import { ConfigError, createLocker, loadConfig, type NodeInput } from "../../src/index.ts";
import { iovalkey, type IovalkeyClient } from "../../src/iovalkey/index.ts";
import { nodeRedis, type NodeRedisClient } from "../../src/node-redis/index.ts";
import { nearest } from "../../src/options/suggestion.ts";

const URL_ = "redis://127.0.0.1:1";
const LAZY = { lazyConnect: true, host: "127.0.0.1", port: 1 };

/** What is said of it, as the first and as the second node; "accepted" where nothing is. */
function said(node: unknown): string {
  try {
    void createLocker({ mode: "single", nodes: [node as NodeInput] }).close();
    return "accepted";
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.message).toMatch(/^nodes must be URLs like redis:\/\/host:6379, .*; nodes\[0\]: /);
    return error.message.replace(/^.*?; nodes\[0\]: /s, "");
  }
}

/** As ioredis-mock makes them: the package asks for ioredis 5 and cannot be installed beside 6. */
class RedisMock {
  readonly data = new Map();
  readonly options = { host: "localhost", port: 6379, db: 0 };
  duplicate(): RedisMock {
    return new RedisMock();
  }
}

class Settings {
  get host(): string {
    return "10.0.0.1";
  }
}

test.each<[string, () => unknown, string | RegExp]>([
  [
    "a client of node-redis 5",
    () => redis5.createClient({ url: URL_ }),
    /^a client of node-redis: .*nodeRedis\(/,
  ],
  [
    "a client of node-redis 6",
    () => redis6.createClient({ url: URL_ }),
    /^a client of node-redis: .*nodeRedis\(/,
  ],
  [
    "a pool of node-redis 5",
    () => redis5.createClientPool({ url: URL_ }),
    /^a pool of node-redis: .*nodeRedis\(/,
  ],
  [
    "a pool of node-redis 6",
    () => redis6.createClientPool({ url: URL_ }),
    /^a pool of node-redis: .*nodeRedis\(/,
  ],
  [
    "a cluster of node-redis 5",
    () => redis5.createCluster({ rootNodes: [{ url: URL_ }] }),
    /Cluster client is not a node/,
  ],
  [
    "a cluster of node-redis 6",
    () => redis6.createCluster({ rootNodes: [{ url: URL_ }] }),
    /Cluster client is not a node/,
  ],
  [
    "a Sentinel client of node-redis",
    () => redis6.createSentinel({ name: "m", sentinelRootNodes: [{ host: "127.0.0.1", port: 1 }] }),
    /^a Sentinel client of node-redis: .*sentinels/,
  ],
  ["a legacy client of node-redis", () => redis5.createClient({ url: URL_ }).legacy(), /legacy mode/],
  [
    "a client of node-redis 4",
    () => ({ isOpen: false, duplicate() {}, sendCommand() {}, disconnect() {} }),
    /^a client of an older node-redis/,
  ],
  [
    "a client of node-redis 3",
    () => ({ send_command() {}, connection_options: {} }),
    /^a client of an older node-redis/,
  ],
  ["ioredis's Cluster", () => new Cluster([LAZY], { lazyConnect: true }), /Cluster client is not a node/],
  ["ioredis-mock", () => new RedisMock(), /^an ioredis-mock client: .*memory/],
  ["iovalkey", () => new Valkey(LAZY), /^an iovalkey client: .*iovalkey\(client\) from holdfast\/iovalkey/],
  ["a Promise of a client", () => Promise.resolve(new Redis(LAZY)), "a Promise: await it first"],
  ["a class", () => Redis, "a function: give the client it makes"],
  ["an array", () => [URL_], "an array: give each of its entries as a node"],
  ["a URL object", () => new URL(URL_), "a URL object: give its href"],
  ["a Map", () => new Map([["host", "a"]]), 'an object of the class "Map": it has no options of ioredis'],
  [
    "a class without own names",
    () => new Settings(),
    'an object of the class "Settings": it has no options of ioredis',
  ],
  ["a String object", () => new String(URL_), /^an object of the class "String"/],
  ["a number", () => 6379, "6379"],
  ["undefined", () => undefined, "undefined"],
  ["null", () => null, "null"],
  ["true", () => true, "true"],
  ["nothing named", () => ({}), /^options without an address/],
  ["options without an address", () => ({ password: "secret" }), /^options without an address/],
  ["a host that is missing", () => ({ host: undefined, port: 6380 }), "options whose host is undefined"],
  ["a host that is empty", () => ({ host: "" }), 'options whose host is ""'],
  ["a host that is null", () => ({ host: null, port: 1 }), "options whose host is null"],
  ["a port that is NaN", () => ({ host: "a", port: Number("x") }), "options whose port is NaN"],
  ["a port that is text", () => ({ host: "a", port: "redis" }), 'options whose port is "redis"'],
  ["a path that is empty", () => ({ path: "" }), 'options whose path is ""'],
  ["no sentinel", () => ({ sentinels: [], name: "m" }), "options whose sentinels are an empty array"],
  [
    "a sentinel without host",
    () => ({ sentinels: [{ port: 1 }], name: "m" }),
    "options whose sentinels[0] has no host",
  ],
  ["sentinels for no name", () => ({ sentinels: [{ host: "a" }] }), /do not name the master/],
  [
    "{ url }",
    () => ({ url: "redis://:secret@a:1" }),
    'the unknown option "url": give the URL itself, as text: nodes: [url]',
  ],
  ["options of node-redis", () => ({ socket: { host: "a" } }), /^the unknown option "socket": .*nodeRedis/],
  ["a misspelt name", () => ({ hots: "a" }), 'the unknown option "hots"; did you mean host?'],
  [
    "another misspelt name",
    () => ({ host: "a", passwrd: "secret" }),
    'the unknown option "passwrd"; did you mean password?',
  ],
  [
    "a name of other libraries",
    () => ({ host: "a", database: 1 }),
    'the unknown option "database": did you mean db?',
  ],
  ["a name from nowhere", () => ({ host: "a", xyzzy: 1 }), 'the unknown option "xyzzy"'],
  ["an adapter without a name", () => ({ open() {} }), /^an adapter without a name/],
])("%s", (_, node, expected) => {
  const found = said(node());
  if (typeof expected === "string") expect(found).toBe(expected);
  else expect(found).toMatch(expected);
  expect(found).not.toContain("secret");
});

test.each([
  ["redis://", /names no host/],
  ["redis:///0", /names no host/],
  ["redis://:secret@", /names no host|no URL/],
  ["redis://host:0", /port is 0/],
  ["redis://:secret@host/zero", /"redis:\/\/\*\*\*@host\/zero": after the host/],
  ["redis://:se/cret@host:1", /\*\*\*@host:1/],
  ["redis://:secret@a:1,redis://:secret@b:1", /each URL as a node of its own/],
  ["http://user:secret@host", /"http:\/\/\*\*\*@host": it must begin with redis/],
  ["http://host?password=secret@x", /"http:\/\/host": it must begin with redis/],
  ["user:secret@host:6379", /"\*\*\*@host:6379": it must begin/],
  ["redis://:a?b@secret", /"\*\*\*"|no URL/],
  ["10.0.0.1:6379:secret", /"10.0.0.1:6379:\*\*\*"/],
  [" redis://host", /white space/],
  ["valkey://host", /redis:\/\/ or rediss:\/\/ for Valkey/],
  ["localhost:6379", /"localhost:6379": it must begin/],
  ["6379", /"6379"/],
  ["", /it is empty/],
])("the text %j", (text, expected) => {
  const found = said(text);
  expect(found).toMatch(expected);
  if (!text.endsWith("@secret")) expect(found).not.toMatch(/se\/?cret/);
});

test.each<[string, () => unknown]>([
  ["a URL", () => "redis://:p%40ss@127.0.0.1:1/3"],
  ["a URL of an IPv6 host", () => "redis://[::1]:1"],
  ["a TLS URL with options in it", () => "rediss://127.0.0.1:1?family=4"],
  ["a socket", () => "/nowhere/redis.sock"],
  ["a socket's URL", () => "unix:///nowhere/redis.sock"],
  ["a host", () => ({ host: "127.0.0.1" })],
  ["a port on this host", () => ({ port: 1 })],
  ["a port as text", () => ({ host: "127.0.0.1", port: "1" })],
  ["a path", () => ({ path: "/nowhere/redis.sock" })],
  ["sentinels", () => ({ sentinels: [{ host: "127.0.0.1", port: 1 }], name: "m" })],
  [
    "options without a prototype",
    () => Object.assign(Object.create(null) as object, { host: "127.0.0.1", port: 1 }),
  ],
  ["all that a client has", () => ({ ...new Redis(LAZY).options, sentinels: null })],
  ["all that a client of ioredis 5 has", () => ({ ...new Redis5(LAZY).options, sentinels: null })],
  ["ioredis 6", () => new Redis(LAZY)],
  ["ioredis 5", () => new Redis5(LAZY)],
  ["a class of one's own", () => new (class Mine extends Redis {})(LAZY)],
  ["node-redis 5, wrapped", () => nodeRedis(redis5.createClient({ url: URL_ }))],
  ["node-redis 6, wrapped", () => nodeRedis(redis6.createClient({ url: URL_ }))],
  ["iovalkey, wrapped", () => iovalkey(new Valkey(LAZY))],
])("%s is a node", (_, node) => {
  expect(said(node())).toBe("accepted");
});

test("the second of three is named by its index, and so are those of a shard and of the environment", () => {
  const nodes = ["redis://a:1", "redis://:secret@:1", "redis://c:1"];
  expect(() => createLocker({ mode: "quorum", nodes })).toThrow(/nodes\[1\]: "redis:\/\/\*\*\*@:1"/);
  expect(() => createLocker({ mode: "quorum", shards: { east: nodes } })).toThrow(
    /^shards\.east must be .*; shards\.east\[1\]: /,
  );
  const env = { HOLDFAST_MODE: "quorum", HOLDFAST_NODES: nodes.join() };
  expect(() => loadConfig({ env })).toThrow(/; nodes\[1\]: /);
  const withHole = Object.assign(Array<string>(3), { 0: URL_, 2: URL_ });
  expect(() => createLocker({ mode: "quorum", nodes: withHole })).toThrow(/nodes\[1\]: undefined$/);
});

test("a URL where an array belongs does not show its password", () => {
  const nodes = "redis://:secret@a:1" as unknown as string[];
  expect(() => createLocker({ mode: "quorum", nodes })).toThrow(
    /^nodes must be an array .*got "redis:\/\/\*\*\*@a:1"$/,
  );
});

test.each<[string, () => unknown, RegExp]>([
  ["a pool", () => redis6.createClientPool({ url: URL_ }), /got a pool of node-redis: give createClient/],
  ["a cluster", () => redis5.createCluster({ rootNodes: [{ url: URL_ }] }), /Cluster client is not a node/],
  ["a Promise", () => Promise.resolve(), /got a Promise: await it first/],
  ["options", () => ({ url: "redis://:secret@a:1" }), /got an object$/],
  ["a client of ioredis", () => new Redis(LAZY), /got a client of ioredis$/],
  ["a URL", () => "redis://:secret@a:1", /got a string$/],
  ["nothing", () => undefined, /got undefined$/],
])("nodeRedis refuses %s", (_, given, expected) => {
  expect(() => nodeRedis(given() as NodeRedisClient)).toThrow(expected);
  expect(() => nodeRedis(given() as NodeRedisClient)).toThrow(ConfigError);
});

test.each<[string, () => unknown]>([
  ["a client of ioredis", () => new Redis(LAZY)],
  ["a client of node-redis", () => redis5.createClient({ url: URL_ })],
  ["nothing", () => undefined],
])("iovalkey refuses %s", (_, given) => {
  expect(() => iovalkey(given() as IovalkeyClient)).toThrow(ConfigError);
});

test("a prefix of node-redis 6 is put before keys on that node", () => {
  expect(nodeRedis(redis6.createClient({ url: URL_, keyPrefix: "app:" })).keyPrefix).toBe("app:");
  expect(nodeRedis(redis5.createClient({ url: URL_ })).keyPrefix).toBeUndefined();
});

test("nobody dials localhost:6379 meanwhile", async () => {
  let dialled = 0;
  const server = createServer(() => dialled++);
  const isOurs = await new Promise<boolean>((resolve) => {
    server.once("error", () => resolve(false)); // Somebody's Redis: then the other tests must do.
    server.listen(6379, "127.0.0.1", () => resolve(true));
  });
  for (const node of [{}, { url: URL_ }, "redis://", redis5.createClient({ url: URL_ }), Promise.resolve()])
    said(node);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(dialled).toBe(0);
  if (isOurs) await new Promise((resolve) => server.close(resolve));
});

const NAMES = ["ttlMs", "waitMs", "retry", "restartGuard", "nodeTimeoutMs", "maxTtlMs", "owner"];

test.each([
  ["ttl", "ttlMs"],
  ["TTL", "ttlMs"],
  ["ttl_ms", "ttlMs"],
  ["tllMs", "ttlMs"],
  ["tltMs", "ttlMs"],
  ["ttlMillis", "ttlMs"],
  ["wait", "waitMs"],
  ["retryCount", "retry"],
  ["restartGaurd", "restartGuard"],
  ["nodeTimeout", "nodeTimeoutMs"],
  ["xyzzy", undefined],
  ["", undefined],
  ["a", undefined],
])("%j: did you mean %j", (given, expected) => {
  expect(nearest(given, NAMES)).toBe(expected);
});
