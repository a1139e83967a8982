/** Bad input gets a typed error that names option, rule and value, before anything is connected. */
import { expect, test } from "vitest";

import { failure } from "../harness/failure.ts";
import type { LockerOptions } from "../../src/options/options.ts";
import { type AcquireOptions, ConfigError, createLocker } from "../../src/index.ts";
import { quarantineMs } from "../../src/clock/validity.ts";
import { checkKeys, resolveOptions } from "../../src/options/settings.ts";

const QUORUM = { mode: "quorum", nodes: ["redis://a:1", "redis://b:1", "redis://c:1"] } as const;

function message(options: unknown): string {
  try {
    resolveOptions(options as LockerOptions);
    return "accepted";
  } catch (error) {
    return `${(error as Error & { code: string }).code}: ${(error as Error).message}`;
  }
}

test("defaults", () => {
  expect(resolveOptions(QUORUM)).toMatchObject({
    ttlMs: 10_000,
    maxTtlMs: 10_000,
    nodeTimeoutMs: 250,
    clockWindowMs: 100,
    driftFactor: 0.085,
    waitMs: 12_800,
    fenceTtlMs: 86_400_000,
    restartGuard: "strict",
  });
  expect(resolveOptions({ mode: "single", nodes: ["redis://a:1"], ttlMs: 1_000 })).toMatchObject({
    nodeTimeoutMs: 50,
    clockWindowMs: 0,
    restartGuard: "trust",
  });
});

test.each([500, 1_000, 7_000, 10_000, 60_000, 86_400_000])(
  "who waits by default waits longer than the quarantine that a ttl of %i ms imposes",
  (ttlMs) => {
    for (const restartGuard of ["strict", "first-use"] as const) {
      const settings = resolveOptions({ ...QUORUM, clockWindowMs: 20, ttlMs, restartGuard });
      expect(settings.waitMs).toBeGreaterThan(quarantineMs(settings.quarantineTtlMs, settings));
    }
    expect(resolveOptions({ ...QUORUM, clockWindowMs: 20, ttlMs, restartGuard: "trust" }).waitMs).toBe(
      10_000,
    );
  },
);

test.each([
  [undefined, "CONFIG_INVALID: options must be an object, got undefined"],
  [{}, "CONFIG_INVALID: mode must be one of quorum, single, memory, got undefined"],
  [{ mode: "cluster" }, 'CONFIG_INVALID: mode must be one of quorum, single, memory, got "cluster"'],
  [
    { mode: "quorum" },
    "CONFIG_INVALID: nodes must be an array of URLs, ioredis options or clients, got undefined",
  ],
  [{ mode: "quorum", nodes: [] }, "OPTION_RANGE: nodes must be 1 to 15, got 0"],
  [
    { mode: "single", nodes: ["redis://a:1", "redis://b:1"] },
    "OPTION_RANGE: nodes must be exactly one in single mode, got 2",
  ],
  [{ mode: "memory", nodes: ["redis://a:1"] }, "CONFIG_INVALID: nodes must be absent in memory mode"],
  [{ mode: "memory", shards: {} }, "CONFIG_INVALID: shards must be absent in memory mode"],
  [
    { ...QUORUM, shards: { a: ["redis://a:1"] } },
    "CONFIG_INVALID: nodes and shards exclude each other; give one of them",
  ],
  [{ mode: "quorum", shards: {} }, "OPTION_RANGE: shards must be 1 to 64, got 0"],
  [
    { mode: "quorum", shards: ["redis://a:1"] },
    "CONFIG_INVALID: shards must be an object of name: nodes, got an array",
  ],
  [
    { mode: "quorum", shards: { "": ["redis://a:1"] } },
    'OPTION_RANGE: shards must have names of 1 to 64 characters, got ""',
  ],
  [{ mode: "quorum", shards: { a: [] } }, "OPTION_RANGE: shards.a must be 1 to 15, got 0"],
  [
    { mode: "single", shards: { a: ["redis://a:1", "redis://b:1"] } },
    "OPTION_RANGE: shards.a must be exactly one in single mode, got 2",
  ],
  [{ ...QUORUM, ttlMs: 499 }, "OPTION_RANGE: ttlMs must be an integer from 500 to 86400000, got 499"],
  [{ ...QUORUM, ttlMs: Number.NaN }, "OPTION_RANGE: ttlMs must be an integer from 500 to 86400000, got NaN"],
  [{ ...QUORUM, ttlMs: "10000" }, 'OPTION_RANGE: ttlMs must be an integer from 500 to 86400000, got "10000"'],
  [
    { ...QUORUM, maxTtlMs: 9_999 },
    "OPTION_RANGE: maxTtlMs must be an integer from ttlMs (10000) to 4503599627370496, got 9999",
  ],
  [
    { ...QUORUM, nodeTimeoutMs: 12_000 },
    "OPTION_RANGE: nodeTimeoutMs must be less than ttlMs (10000), got 12000",
  ],
  [{ ...QUORUM, driftFactor: 0.5 }, "OPTION_RANGE: driftFactor must be a number from 0 to 0.25, got 0.5"],
  [
    { ...QUORUM, owner: "a#b" },
    'OPTION_RANGE: owner must be 1 to 128 printable characters without #, got "a#b"',
  ],
  [{ ...QUORUM, notify: "no" }, 'CONFIG_INVALID: notify must be true or false, got "no"'],
  [
    { ...QUORUM, queueLengthMax: -1 },
    /^OPTION_RANGE: queueLengthMax must be an integer from 0 to \d+, got -1$/,
  ],
  [{ ...QUORUM, retry: 50 }, /^CONFIG_INVALID: retry must be a function, .*got 50$/],
  [{ ...QUORUM, retry: { retryDelay: "1" } }, /^OPTION_RANGE: retryDelay must be a number .*got "1"$/],
  [{ ...QUORUM, tllMs: 1 }, /^CONFIG_INVALID: unknown option "tllMs"; known are mode, nodes/],
  [{ ...QUORUM, TTL: 1 }, /^CONFIG_INVALID: unknown option "TTL"; known are .*; did you mean ttlMs\?$/],
  [{ ...QUORUM, xyzzy: 1 }, /^CONFIG_INVALID: unknown option "xyzzy"; known are [a-zA-Z, ]+$/],
  [
    { ...QUORUM, ttlMs: 800 },
    /^OPTION_RANGE: ttlMs must leave at least half of itself as validity with clockWindowMs 100 .*got 800$/,
  ],
])("%j", (options, expected) => {
  if (typeof expected === "string") expect(message(options)).toBe(expected);
  else expect(message(options)).toMatch(expected);
});

test("a node's password is never shown", () => {
  expect(message("redis://user:secret@host")).toBe(
    'CONFIG_INVALID: options must be an object, got "redis://***@host"',
  );
  expect(message({ mode: "single", nodes: ["http://user:secret@host"] })).not.toContain("secret");
});

test.each([[""], [undefined], [{}], ["x".repeat(1_025)], ["lone \ud800"]])("key %j is refused", (key) => {
  expect(() => checkKeys(key, [""])).toThrow(RangeError);
});

const RULE =
  "not be holdfast:node nor end in :fence or :line, nor be holdfast:waiting or begin with holdfast:key:, which hold this library's own data";

test.each([
  ["", "holdfast:node"],
  ["", "holdfast:waiting"],
  ["", "holdfast:key:{x}"],
  ["", "key:fence"],
  ["", "key:line"],
  ["holdfast:", "node"],
  ["hold", "fast:waiting"],
  ["holdfast:k", "ey:x"],
  ["{x}:", "fence"],
  ["{x}:li", "ne"],
])("with the prefix %j the key %j is refused, since its name is the library's", (prefix, key) => {
  const name = prefix === "" ? "" : `, which is "${prefix}${key}" on the nodes`;
  const message = `key must ${RULE}, got "${key}"${name}`;
  for (const keys of [key, ["fine", key]]) {
    expect(() => checkKeys(keys, ["other-", prefix])).toThrow(ConfigError);
    expect(() => checkKeys(keys, ["other-", prefix])).toThrow(message);
  }
});

test.each([
  ["", "holdfast:orders"],
  ["holdfast:", "orders"],
  ["lock:", "holdfast:node"],
  ["", "waiting"],
])("with the prefix %j the key %j is fine", (prefix, key) => {
  expect(checkKeys(key, [prefix])).toEqual([key]);
});

test.each<[string, unknown, string | RegExp]>([
  ["no object", 5, "CONFIG_INVALID: options must be an object, got 5"],
  ["nothing", null, "CONFIG_INVALID: options must be an object, got null"],
  [
    "a wrong name",
    { ttl: 5 },
    /^CONFIG_INVALID: unknown option "ttl"; known are ttlMs, waitMs.*; did you mean ttlMs\?$/,
  ],
  ["signal", { signal: {} }, "CONFIG_INVALID: signal must be an AbortSignal, got an object"],
  ["autoExtend", { autoExtend: "no" }, 'CONFIG_INVALID: autoExtend must be true or false, got "no"'],
  ["reentrant", { reentrant: 0 }, "CONFIG_INVALID: reentrant must be true or false, got 0"],
  ["waitMs", { waitMs: "5" }, 'OPTION_RANGE: waitMs must be a number of at least 0, got "5"'],
  ["maxHoldMs", { maxHoldMs: Number.NaN }, "OPTION_RANGE: maxHoldMs must be a number of at least 1, got NaN"],
  ["ttlMs", { ttlMs: 20_000 }, "OPTION_RANGE: ttlMs must be at most maxTtlMs (10000), got 20000"],
  [
    "minValidityMs",
    { minValidityMs: 9_999 },
    /^OPTION_RANGE: minValidityMs must be at most what a ttlMs of 10000 leaves as validity \(98\d\d\), .*got 9999$/,
  ],
  ["owner", { owner: 5 }, "CONFIG_INVALID: owner must be well-formed text, got 5"],
])("of a call: %s", async (_, given, expected) => {
  await using locker = createLocker({ mode: "memory" });
  const options = given as AcquireOptions;
  for (const call of [
    () => locker.acquire("k", options),
    () => locker.tryAcquire("k", options),
    () => locker.attempt("k", options),
    () => locker.using("k", options, () => {}),
    () => locker.adopt({ keys: ["k"], holder: "a", fence: 1, proposal: 1, ttlMs: 10_000 }, options),
  ]) {
    const error = (await failure(call())) as Error & { code: string };
    expect(`${error.code}: ${error.message}`).toMatch(
      typeof expected === "string" ? exactly(expected) : expected,
    );
  }
  expect(locker.leases()).toEqual([]);
});

test("whose lock is asked for by one key", async () => {
  await using locker = createLocker({ mode: "memory" });
  const two = ["a", "b"] as unknown as string;
  expect(await failure(locker.inspect(two))).toMatchObject({ code: "OPTION_RANGE" });
  for (const call of [
    () => locker.depth(two),
    () => locker.shardOf(two),
    () => locker.lock(two),
    () => locker.workspace(two),
  ])
    expect(call).toThrow("key must be a non-empty string, got an array");
});

function exactly(text: string): RegExp {
  return new RegExp(`^${text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`);
}

test("keys are counted once", () => {
  expect(checkKeys(["a", "b", "a"], [""])).toEqual(["a", "b"]);
  expect(() => checkKeys([], [""])).toThrow("keys must be 1 to 64 keys, got 0");
});
