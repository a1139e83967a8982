/** The process a locker runs in: its clock is slewed, its /proc fails, its code is minified, its nodes are down when it ends. */
import { createRequire } from "node:module";
import { createServer, type Socket } from "node:net";

import { describe, expect, test } from "vitest";

import { clockShimUnavailable } from "../../src/chaos/servers/node-clock.ts";
import type { Cluster } from "../../src/chaos/servers/cluster.ts";
import { waitFor } from "../../src/chaos/machine/wait-for.ts";
import {
  createLocker,
  type HoldfastEvent,
  type Locker,
  type LockerOptions,
  type QuorumUnreachableError,
} from "../../src/index.ts";
import { afterEachTest, serversFor } from "../harness/clean-up.ts";
import { failure } from "../harness/failure.ts";
import { runProgram } from "../harness/program.ts";

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);

async function client(options: LockerOptions): Promise<Locker> {
  const locker = createLocker(options);
  cleanUp(() => locker.close({ withinMs: 0 }));
  await locker.init();
  await locker.ready();
  return locker;
}

/** chrony slows this process's clocks at its default limit: to it, all nodes' clocks are as much faster. */
const SLEWED = 1 / (1 - 0.083333);

async function fastServers(size: number): Promise<Cluster> {
  const cluster = await servers(size, { clockShim: true });
  for (const { clock } of cluster.nodes) clock?.rate(SLEWED);
  return cluster;
}

describe.skipIf(clockShimUnavailable())("a client whose clock is slewed", () => {
  const modes: readonly [string, number, (nodes: readonly string[]) => LockerOptions][] = [
    ["single", 1, (nodes) => ({ mode: "single", nodes, ttlMs: 2_000 })],
    // So small a window that its margin alone would not do.
    ["quorum", 3, (nodes) => ({ mode: "quorum", nodes, ttlMs: 2_000, clockWindowMs: 20 })],
  ];

  test.each(modes)("has lost its very first lease when another is granted (%s)", async (_, size, options) => {
    const { urls } = await fastServers(size);
    const [holder, other] = [await client(options(urls)), await client(options(urls))];
    const lease = await holder.acquire("k");
    const next = await other.acquire("k");
    expect([lease.isHeld(), lease.remainingMs(), next.isHeld()]).toEqual([false, 0, true]);
  });

  test("sees its rate in the nodes' replies, tells it, and counts its leases at theirs", async () => {
    const cluster = await fastServers(3);
    const rates: number[] = [];
    const heard = (event: HoldfastEvent) => void (event.type === "clock-rate" && rates.push(event.rate));
    // Nothing but what is measured: neither the margin nor the allowance would do.
    const terms = { mode: "quorum", nodes: cluster.urls, ttlMs: 3_000, waitMs: 10_000 } as const;
    const options = { ...terms, clockWindowMs: 10, driftFactor: 0.01 };
    const [holder, other] = [await client({ ...options, observer: heard }), await client(options)];
    const becomes = (what: string, isIt: () => boolean) =>
      waitFor(() => holder.tryAcquire(`k:${Math.random()}`).then(isIt, isIt), { what });
    await becomes("the rate is known", () => rates.length > 0);
    expect(rates[0]).toBeGreaterThan(1.08);
    expect(rates[0]).toBeLessThan(1.1);
    const lease = await holder.acquire("k");
    const next = await other.acquire("k");
    expect([lease.isHeld(), next.isHeld()]).toEqual([false, true]);
    for (const { clock } of cluster.nodes) clock?.rate(1);
    await becomes("the rate is the machine's", () => rates.at(-1) === 1);
  });
});

test("a /proc/uptime that fails is dropped and told, and costs no lease, no call and no close", async () => {
  const output = await runProgram(`
    import fs from "node:fs";
    import { syncBuiltinESMExports } from "node:module";
    const { readSync } = fs;
    let isDead = false;
    fs.readSync = (...terms) => {
      if (isDead) throw Object.assign(new Error("ENOTCONN: socket is not connected, read"), { code: "ENOTCONN" });
      return readSync(...terms);
    };
    syncBuiltinESMExports();
    const { createLocker } = await import("holdfast");
    const told = [];
    const observer = (event) => event.type.startsWith("clock") && told.push(event.type + ": " + event.detail);
    const locker = createLocker({ mode: "memory", observer });
    const lease = await locker.acquire("k", { ttlMs: 600, autoExtend: true });
    isDead = true;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const second = await locker.acquire("k2");
    console.log([lease.isHeld(), lease.signal.aborted, second.isHeld(), told.join()].join(" "));
    await locker.close();
  `);
  expect(output.trim()).toBe(
    "true false true clock-dropped: it cannot be read: ENOTCONN: socket is not connected, read",
  );
});

test("a request whose connection ends is unreachable, whatever a minifier calls the client's errors", async () => {
  const ioredis = createRequire(import.meta.url);
  const { MaxRetriesPerRequestError: error } = ioredis("ioredis/built/errors/index.js") as {
    MaxRetriesPerRequestError: object;
  };
  const name = Object.getOwnPropertyDescriptor(error, "name");
  Object.defineProperty(error, "name", { value: "a", configurable: true });
  cleanUp(() => name && Object.defineProperty(error, "name", name));
  const cluster = await servers(1);
  const locker = await client({ mode: "single", nodes: cluster.urls, nodeTimeoutMs: 5_000 });
  cluster.nodes[0]?.pause();
  const refused = failure(locker.tryAcquire("k")) as Promise<QuorumUnreachableError>;
  await cluster.nodes[0]?.kill();
  expect((await refused).nodes).toMatchObject([
    { reason: "unreachable", detail: "the connection ended before its answer" },
  ]);
});

describe("a process whose nodes are down or hung ends when its locker is closed", () => {
  const ends = (nodes: string) => `
    import { createLocker } from "holdfast";
    const locker = createLocker({ mode: "single", nodes: [${nodes}] });
    await locker.acquire("k", { waitMs: 400 }).catch((error) => console.log(error.code));
    await locker.close();
    const closedAt = performance.now();
    process.on("exit", () => console.log(performance.now() - closedAt < 1_000 ? "ends" : "lives on"));
  `;

  async function hungPort(): Promise<number> {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => sockets.add(socket.on("error", () => {})));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    cleanUp(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return (server.address() as { port: number }).port;
  }

  const sentinel = (port: number) => `{ sentinels: [{ host: "127.0.0.1", port: ${port} }], name: "none" }`;

  test.each<[string, () => Promise<string> | string]>([
    ["nobody listens", () => `"redis://127.0.0.1:1"`],
    ["a name nobody knows", () => `"redis://nobody.invalid:6379"`],
    ["a server that hangs", async () => `"redis://127.0.0.1:${await hungPort()}"`],
    ["no Sentinel listens", () => sentinel(1)],
    ["a Sentinel that hangs", async () => sentinel(await hungPort())],
  ])("%s", async (_, nodes) => {
    expect((await runProgram(ends(await nodes()))).trim().split("\n")).toEqual([
      "QUORUM_UNREACHABLE",
      "ends",
    ]);
  });
});
