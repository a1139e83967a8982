/**
 * Servers as they are found in the wild, and clients with wrong clocks: TLS, Sentinel, access rules that change, servers that load, and
 * a wall clock that is stepped under a holder.
 */
import { randomUUID } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { Redis } from "ioredis";
import { describe, expect, test } from "vitest";

import { createLocker, type LockerOptions, QuorumUnreachableError } from "../../src/index.ts";
import { afterEachTest, serversFor } from "../harness/clean-up.ts";
import { clientTls, tlsArguments } from "../harness/certificates.ts";
import type { Cluster } from "../../src/chaos/servers/cluster.ts";
import { failure } from "../harness/failure.ts";
import type { LeaseState } from "../harness/lock-client.ts";
import { clockShimEnv, clockShimUnavailable, NodeClock } from "../../src/chaos/servers/node-clock.ts";
import { freePort } from "../../src/chaos/machine/ports.ts";
import { type ClientProcess, spawnClient } from "../../src/chaos/machine/processes.ts";
import { replicates, startSentinel } from "../harness/sentinel.ts";
import type { ServerNode } from "../../src/chaos/servers/server-node.ts";
import { sleep, waitFor } from "../../src/chaos/machine/wait-for.ts";

const TTL_MS = 1_500;
const KEY = "wild";

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);

async function pioneer(options: LockerOptions) {
  const locker = createLocker({ ttlMs: TTL_MS, ...options });
  cleanUp(() => locker.close({ withinMs: 0 }));
  await locker.init();
  await locker.ready();
  return locker;
}

describe("TLS with client certificates", () => {
  test("by options, by URL with options, and by a client handed in", async () => {
    const ports = await Promise.all([freePort(), freePort(), freePort()]);
    for (const port of ports) await servers(1, { args: tlsArguments(port) });
    const tls = clientTls();
    const theirs = new Redis(ports[2] ?? 0, "127.0.0.1", { tls, lazyConnect: true });
    cleanUp(() => theirs.disconnect());
    const locker = await pioneer({
      mode: "quorum",
      nodes: [
        { host: "127.0.0.1", port: ports[0] ?? 0, tls },
        { host: "localhost", family: 4, port: ports[1] ?? 0, tls },
        theirs,
      ],
    });
    await waitFor(() => locker.nodes().every(({ state }) => state === "admitted"), { what: "all may vote" });
    await using lease = await locker.acquire(KEY);
    expect(await lease.verify()).toBe("held");
  });

  test("without a certificate: an error that says so, by the deadline", async () => {
    const port = await freePort();
    await servers(1, { args: tlsArguments(port) });
    const locker = createLocker({ mode: "single", nodes: [`rediss://127.0.0.1:${port}`], ttlMs: TTL_MS });
    cleanUp(() => locker.close({ withinMs: 0 }));
    const error = await failure(locker.acquire(KEY, { waitMs: 300 }));
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    expect(error.nodes?.[0]?.detail).toMatch(/certificate|SSL|TLS/i);
  });
});

describe("a master behind a Sentinel", () => {
  test("is found by its name, and found again after a failover, with a larger fence", async () => {
    const cluster = await servers(2);
    const [master, replica] = cluster.nodes;
    if (master === undefined || replica === undefined) throw new Error("two servers were asked for");
    await replica.cli("REPLICAOF", "127.0.0.1", master.port);
    await waitFor(() => replicates(replica, "master_link_status:up"), {
      what: "the replica has its master's data",
    });
    const sentinel = await startSentinel("locks", master);
    cleanUp(() => sentinel.stop());
    const locker = await pioneer({
      mode: "single",
      nodes: [{ sentinels: [{ host: "127.0.0.1", port: sentinel.port }], name: "locks" }],
    });
    expect(locker.nodes()[0]?.node).toBe("sentinel:locks");
    const before = await locker.acquire(KEY);
    await before.release();
    await waitFor(async () => (await slavesOf(sentinel.port)) === 1, {
      what: "the sentinel knows the replica",
    });
    await master.kill();
    await waitFor(() => replicates(replica, "role:master"), {
      what: "the replica was promoted",
      timeoutMs: 20_000,
    });
    const after = await locker.acquire(KEY, { waitMs: 10_000 });
    expect(after.fence).toBeGreaterThan(before.fence);
  });
});

async function slavesOf(port: number): Promise<number> {
  const redis = new Redis(port, "127.0.0.1", { enableReadyCheck: false });
  try {
    const masters = await redis.call("SENTINEL", "replicas", "locks");
    return Array.isArray(masters) ? masters.length : 0;
  } finally {
    redis.disconnect();
  }
}

describe("access rules that change mid-hold", () => {
  test("NOPERM: said so, the lease stands until its end, and is told in time", async () => {
    const cluster = await servers(3);
    const locker = await pioneer({ mode: "quorum", nodes: cluster.urls });
    const lease = await locker.acquire(KEY);
    const aborted = new Promise<number>((resolve) =>
      lease.signal.addEventListener("abort", () => resolve(lease.remainingMs())),
    );
    for (const node of cluster.nodes) await node.cli("ACL", "SETUSER", "default", "-@scripting");
    const error = await failure(lease.extend());
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    expect(error.nodes?.map(({ detail }) => detail).join()).toContain("NOPERM");
    expect(lease.isHeld()).toBe(true);
    expect(await aborted).toBeGreaterThan(0);
    const refused = await failure(locker.acquire("other", { waitMs: 200 }));
    expect(refused.message).toContain("NOPERM");
    expect(await commandsWithin(cluster, 1_000)).toBeLessThan(100);
    for (const node of cluster.nodes) await node.cli("ACL", "SETUSER", "default", "+@all");
    await using again = await locker.acquire(KEY, { waitMs: 5_000 });
    expect(again.fence).toBeGreaterThan(lease.fence);
  });
});

/** All that the servers are asked meanwhile, our own two questions each included. */
async function commandsWithin(cluster: Cluster, ms: number): Promise<number> {
  const count = async () => {
    const infos = await Promise.all(cluster.nodes.map((node) => node.cli("INFO", "stats")));
    return infos.reduce<number>(
      (sum, info) => sum + Number(/total_commands_processed:(\d+)/.exec(String(info))?.[1]),
      0,
    );
  };
  const before = await count();
  await sleep(ms);
  return (await count()) - before;
}

describe("servers that load their data", () => {
  test("LOADING on one: no vote and no delay; on all: unreachable, with the reason, and held again afterwards", async () => {
    const cluster = await servers(3, { args: ["--save", "3600 1"] });
    const locker = await pioneer({ mode: "quorum", nodes: cluster.urls, ttlMs: 10_000 });
    await Promise.all(cluster.nodes.map((node) => node.cli("DEBUG", "POPULATE", 600, "filler", 2_000)));
    for (const node of cluster.nodes) {
      await node.cli("CONFIG", "SET", "key-load-delay", 2_000, "rdbcompression", "no");
      // Between two events a loading server answers nobody: let every key be one.
      await node.cli("CONFIG", "SET", "loading-process-events-interval-bytes", 1_024);
    }
    const [first, ...others] = cluster.nodes;
    const reload = (node?: ServerNode) => Promise.resolve(node?.cli("DEBUG", "RELOAD"));
    let isLoading = true;
    const firstLoading = reload(first).finally(() => (isLoading = false));
    await sleep(100);
    const lease = await locker.acquire(KEY, { autoExtend: true });
    expect(isLoading).toBe(true);
    await firstLoading;

    const allLoading = Promise.all([first, ...others].map(reload));
    await sleep(100);
    const error = await failure(locker.acquire("other", { waitMs: 100 }));
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    expect(error.nodes?.map(({ detail }) => detail).join()).toContain("LOADING");
    await allLoading;
    expect(await lease.verify()).toBe("held");
    expect((await lease.release()).outcome).toBe("released");
  });
});

describe.skipIf(clockShimUnavailable())("a client whose wall clock is stepped", () => {
  /** A client process with a wall clock of its own. */
  async function holder(cluster: Cluster): Promise<{ client: ClientProcess; clock: NodeClock }> {
    const clock = new NodeClock(join(mkdtempSync(join(tmpdir(), "holdfast-clock-")), randomUUID()));
    cleanUp(() => clock.close());
    const script = fileURLToPath(new URL("../../build/test/harness/lock-client.js", import.meta.url));
    const options = { mode: "quorum", nodes: cluster.urls, ttlMs: TTL_MS };
    const client = spawnClient(script, [JSON.stringify(options)], clockShimEnv(clock.controlFile));
    cleanUp(() => client.kill());
    await client.call("ready");
    return { client, clock };
  }

  test.each([
    ["an hour back: no effect", -3_600_000],
    ["half a ttl back: no effect", -TTL_MS / 2],
  ])("%s", async (_, stepMs) => {
    const cluster = await servers(3);
    await pioneer({ mode: "quorum", nodes: cluster.urls });
    const { client, clock } = await holder(cluster);
    const fence = Number(await client.call("acquire", KEY, { autoExtend: true }));
    clock.step(stepMs);
    expect(Math.abs(Number(await client.call("wallMs")) - Date.now() - stepMs)).toBeLessThan(200);
    await sleep(2 * TTL_MS);
    const state = (await client.call("state")) as LeaseState;
    expect(state).toMatchObject({ isHeld: true });
    expect(state.remainingMs).toBeLessThan(TTL_MS);
    expect(await client.call("release")).toBe("released");
    expect(Number(await client.call("acquire", KEY))).toBeGreaterThan(fence);
  });

  test("an hour forward: the lease ends early, said as such, and the next one is sound", async () => {
    const cluster = await servers(3);
    await pioneer({ mode: "quorum", nodes: cluster.urls });
    const { client, clock } = await holder(cluster);
    const fence = Number(await client.call("acquire", KEY, { autoExtend: true }));
    clock.step(3_600_000);
    await waitFor(async () => ((await client.call("state")) as LeaseState).loss !== undefined, {
      what: "the loss is told",
    });
    expect(await client.call("state")).toMatchObject({ isHeld: false, loss: { cause: "expired" } });
    expect(Number(await client.call("jumpsMs"))).toBeGreaterThan(3_500_000);
    await client.call("release");
    expect(Number(await client.call("acquire", KEY))).toBeGreaterThan(fence);
    expect(await client.call("state")).toMatchObject({ isHeld: true });
  });
});
