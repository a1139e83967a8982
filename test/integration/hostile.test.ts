/** Input meant to hurt: keys, owners, foreign values where ours should be, forged and flooded notices. Typed errors, or nothing at all. */
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import type { Cluster } from "../../src/chaos/servers/cluster.ts";
import { waitFor } from "../../src/chaos/machine/wait-for.ts";
import { createLocker, type Locker } from "../../src/index.ts";
import { startFleet } from "../harness/fleet.ts";
import { failure } from "../harness/failure.ts";
import { somebodyWaits, waiterChannels } from "../harness/waiters.ts";

const TTL_MS = 1_500;
let cluster: Cluster;
const lockers: Locker[] = [];

beforeAll(async () => {
  cluster = await startFleet(3);
});
afterAll(() => cluster.stop());
afterEach(async () => {
  await Promise.all(lockers.splice(0).map((locker) => locker.close({ withinMs: 0 })));
});

async function client(keyPrefix = ""): Promise<Locker> {
  const locker = createLocker({ mode: "quorum", nodes: cluster.urls, ttlMs: TTL_MS, keyPrefix });
  lockers.push(locker);
  await locker.ready();
  return locker;
}

const ODD_KEYS = [
  "new\nline",
  "carriage\r\nreturn",
  "\r\n*1\r\n$8\r\nFLUSHALL\r\n",
  "nul\u0000byte",
  "{",
  "}",
  "{}",
  "{}{a}",
  "{a",
  "a}b{",
  "{{a}}",
  "' .. redis.call('FLUSHALL') .. '",
  '"quoted" \\ back',
  "schlüssel 鍵 🔑",
  "\u202Eright to left",
  " ",
  "__proto__",
  "constructor",
  "-1",
  "x".repeat(1_024),
];

describe("keys", () => {
  test.each(ODD_KEYS)("%j is a key like any other", async (key) => {
    const [mine, theirs] = [await client(), await client()];
    const lease = await mine.acquire(key);
    expect(await cluster.nodes[0]?.cli("GET", key)).toBe(lease.holder);
    expect(await theirs.tryAcquire(key)).toBeUndefined();
    expect((await theirs.inspect(key)).holder).toBe(lease.holder);
    const waiting = theirs.acquire(key, { waitMs: 10_000 });
    await lease.extend();
    expect(await lease.release()).toMatchObject({ outcome: "released" });
    const next = await waiting;
    expect(next.fence).toBeGreaterThan(lease.fence);
    await next.release();
  });

  test("all of them at once, all or nothing", async () => {
    const [mine, theirs] = [await client(), await client()];
    const lease = await mine.acquire(ODD_KEYS);
    for (const key of ODD_KEYS) expect(await theirs.tryAcquire(key)).toBeUndefined();
    await lease.release();
    for (const key of ODD_KEYS) await (await theirs.acquire(key)).release();
  });

  test.each<[unknown, RegExp, string?]>([
    ["", /non-empty/],
    ["x".repeat(1_025), /at most 1024 bytes/],
    ["x".repeat(65_536), /at most 1024 bytes/],
    ["lone \ud800 surrogate", /well-formed/],
    ["holdfast:node", /this library's own data/, "CONFIG_INVALID"],
    ["holdfast:waiting", /this library's own data/, "CONFIG_INVALID"],
    ["a:fence", /this library's own data/, "CONFIG_INVALID"],
    ["a:line", /this library's own data/, "CONFIG_INVALID"],
    [undefined, /non-empty string/],
    [{ toString: () => "k" }, /non-empty string/],
    [42, /non-empty string/],
    [Array.from({ length: 65 }, (_, index) => `k${index}`), /1 to 64 keys/],
    [[], /1 to 64 keys/],
  ])("%j is refused, with the rule", async (key, rule, code = "OPTION_RANGE") => {
    const locker = await client();
    for (const call of [
      () => locker.acquire(key as string),
      () => locker.tryAcquire(key as string),
      () => locker.using(key as string, () => "never"),
    ]) {
      const error = await failure(call());
      expect(error).toMatchObject({ code });
      expect(error.message).toMatch(rule);
      expect(error.message.length).toBeLessThan(300);
    }
  });

  test("a prefix counts: for the length, and for what is the library's own", async () => {
    const locker = await client("holdfast:");
    expect(await failure(locker.acquire("node"))).toMatchObject({ code: "CONFIG_INVALID" });
    expect(await failure(locker.acquire("waiting"))).toMatchObject({ code: "CONFIG_INVALID" });
    expect(await failure(locker.acquire("x".repeat(1_020)))).toMatchObject({ code: "OPTION_RANGE" });
  });
});

test.each(["", "a#b", "a\nb", "\u0000", "x".repeat(129), "\ud800", 7])(
  "the owner %j is refused",
  async (owner) => {
    const locker = await client();
    expect(await failure(locker.acquire("k", { owner: owner as string }))).toMatchObject({
      code: expect.stringMatching(/OPTION_RANGE|CONFIG_INVALID/) as string,
    });
  },
);

describe("foreign values where ours should be", () => {
  const onAll = (command: string, ...args: (string | number)[]) =>
    Promise.all(cluster.nodes.map((node) => node.cli(command, ...args)));

  test.each([
    ["a list", ["RPUSH", "x"]],
    ["a hash", ["HSET", "f", "v"]],
    ["text that is no holder", ["SET", "\u0000\n"]],
  ])("%s under the lock's key: nobody acquires, and it stays", async (_, [command = "", ...args]) => {
    const locker = await client();
    const key = `foreign:${command}`;
    await onAll(command, key, ...args);
    await failure(locker.acquire(key, { waitMs: 100 }));
    const types = await onAll("EXISTS", key);
    expect(types).toEqual([1, 1, 1]);
    await onAll("DEL", key);
    await (await locker.acquire(key)).release();
  });

  test.each([
    ["a list", ["RPUSH", "x"]],
    ["text", ["SET", "not a number"]],
    ["a number that is none", ["SET", "nan"]],
    ["infinity", ["SET", "inf"]],
    ["a number beyond all fences", ["SET", "1e300"]],
  ])("%s under the fence's key: no wrong grant, and a way out", async (_, [command = "", ...args]) => {
    const locker = await client();
    const key = `fenced:${args.join("")}:${command}`;
    await onAll(command, `{${key}}:fence`, ...args);
    const error = await failure(locker.acquire(key, { waitMs: 100 }));
    expect(["ACQUIRE_TIMEOUT", "QUORUM_UNREACHABLE"]).toContain((error as { code?: string }).code);
    await onAll("DEL", `{${key}}:fence`);
    const lease = await locker.acquire(key);
    expect(Number.isSafeInteger(lease.fence)).toBe(true);
    await lease.release();
  });

  test.each([
    ["text", ["SET", "holdfast:node", "x"]],
    ["a list", ["RPUSH", "holdfast:node", "x"]],
    [
      "nonsense in its fields",
      ["HSET", "holdfast:node", "inc", "x", "until", "soon", "floor", "-", "maxttl", "{}"],
    ],
  ])(
    "%s under a node's marker: the node is kept out, the others go on",
    async (_, [command = "", ...args]) => {
      const locker = await client();
      const [node] = cluster.nodes;
      await node?.cli("DEL", "holdfast:node");
      await node?.cli(command, ...args);
      for (let i = 0; i < 3; i++) await (await locker.acquire("marked")).release();
      await node?.cli("DEL", "holdfast:node");
      await locker.init();
      await waitFor(() => locker.nodes().every(({ state }) => state === "admitted"), {
        what: "it is admitted again",
        timeoutMs: 10_000,
      });
    },
  );
});

test("forged and flooded notices cost attempts, and grant nothing", async () => {
  const [mine, theirs] = [await client(), await client()];
  const lease = await mine.acquire("noisy", { autoExtend: true });
  const waiting = theirs.acquire("noisy", { waitMs: 20_000 });
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error("there is no node");
  await somebodyWaits(cluster);
  const [channel = ""] = await waiterChannels(node);
  const forger = new Redis(cluster.urls[0] ?? "");
  let isGranted = false;
  void waiting.then(() => (isGranted = true));
  for (let i = 0; i < 2_000; i++) {
    void forger.publish(channel, i % 3 === 0 ? "noisy" : i % 3 === 1 ? "other" : "\u0000".repeat(1_000));
    if (i % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect([isGranted, lease.isHeld()]).toEqual([false, true]);
  await lease.release();
  expect((await waiting).isHeld()).toBe(true);
  forger.disconnect();
});
