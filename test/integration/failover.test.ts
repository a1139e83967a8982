/** A master behind a real Sentinel dies before its replica has the lock: what single mode loses without a guard, and what keeps it. */
import { describe, expect, test } from "vitest";

import { afterEachTest } from "../harness/clean-up.ts";
import { type Proxy, startProxy } from "../../src/chaos/network/proxy.ts";
import { waitFor } from "../../src/chaos/machine/wait-for.ts";
import { type Cluster, startCluster } from "../../src/chaos/servers/cluster.ts";
import type { ServerNode } from "../../src/chaos/servers/server-node.ts";
import { createLocker, type Locker, QuorumUnreachableError, type SingleOptions } from "../../src/index.ts";
import { failure } from "../harness/failure.ts";
import { replicates, startSentinel } from "../harness/sentinel.ts";

const TTL_MS = 20_000;

const cleanUp = afterEachTest();

interface Site {
  readonly cluster: Cluster;
  readonly master: ServerNode;
  readonly replica: ServerNode;
  /** The way of the replication. */
  readonly way: Proxy;
  readonly client: (options?: Partial<SingleOptions>) => Promise<Locker>;
  /** The master dies, and the Sentinel promotes the replica. */
  readonly failOver: () => Promise<void>;
}

async function site(): Promise<Site> {
  const cluster = await startCluster(2);
  cleanUp(() => cluster.stop());
  const [master, replica] = cluster.nodes;
  if (master === undefined || replica === undefined) throw new Error("two servers were asked for");
  const way = await startProxy(master.port);
  cleanUp(() => way.close());
  await replica.cli("REPLICAOF", "127.0.0.1", way.port);
  await waitFor(() => replicates(replica, "master_link_status:up"), {
    what: "the replica has its master's data",
  });
  const sentinel = await startSentinel("locks", master);
  cleanUp(() => sentinel.stop());
  await waitFor(() => replicates(master, "connected_slaves:1"), { what: "the master knows its replica" });
  return {
    cluster,
    master,
    replica,
    way,
    async client(options = {}) {
      const node = { sentinels: [{ host: "127.0.0.1", port: sentinel.port }], name: "locks" };
      const locker = createLocker({
        mode: "single",
        nodes: [node],
        ttlMs: TTL_MS,
        nodeTimeoutMs: 400,
        ...options,
      });
      cleanUp(() => locker.close({ withinMs: 0 }));
      await locker.init();
      await locker.ready();
      return locker;
    },
    async failOver() {
      await master.kill();
      await waitFor(() => replicates(replica, "role:master"), {
        what: "the replica is promoted",
        timeoutMs: 20_000,
      });
    },
  };
}

/** What a second client gets as soon as it reaches the new master. */
async function contend(locker: Locker): Promise<"acquired" | "refused" | "quarantined"> {
  let outcome = await locker.attempt("account");
  const isThere = (): boolean => ["admitted", "quarantined"].includes(locker.nodes()[0]?.state ?? "");
  await waitFor(async () => isThere() && (outcome = await locker.attempt("account")) !== undefined, {
    what: "it reaches the new master",
    timeoutMs: 15_000,
  });
  if (outcome.outcome === "acquired") return "acquired";
  return outcome.outcome === "held" ? "refused" : "quarantined";
}

describe("a failover that loses the lock", () => {
  test("trust, the default of single mode: a second holder gets in, with a larger fence", async () => {
    const { way, client, failOver } = await site();
    const [mine, theirs] = [await client(), await client()];
    way.hold("down");
    const lease = await mine.acquire("account");
    await failOver();
    expect(await contend(theirs)).toBe("acquired");
    expect(lease.isHeld()).toBe(true);
    const [second] = theirs.leases();
    expect(second?.fence).toBeGreaterThan(lease.fence);
  }, 60_000);

  test("strict: the new master is in quarantine, and nobody gets in while the first holder may work", async () => {
    const { way, client, failOver } = await site();
    const [mine, theirs] = [
      await client({ restartGuard: "strict" }),
      await client({ restartGuard: "strict" }),
    ];
    way.hold("down");
    const lease = await mine.acquire("account");
    await failOver();
    expect(await contend(theirs)).toBe("quarantined");
    expect(lease.isHeld()).toBe(true);
  }, 60_000);
});

describe("waitReplicas: 1", () => {
  test("a lock that the replica does not have is none, and leaves nothing", async () => {
    const { master, way, client } = await site();
    const locker = await client({ waitReplicas: 1 });
    await (await locker.acquire("account")).release();
    way.hold("down");
    const error = await failure(locker.acquire("account", { waitMs: 0 }));
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    expect(error.message).toMatch(/0 of 1 replicas have it|no answer within/);
    await waitFor(async () => (await master.cli("EXISTS", "account")) === 0, { what: "nothing is left" });
    way.pass();
    await waitFor(async () => (await locker.attempt("account")).outcome === "acquired", {
      what: "it is acquired when the replica follows again",
      timeoutMs: 15_000,
    });
  }, 60_000);

  test("a failover keeps the lock: the others are refused, and its holder goes on", async () => {
    const { client, failOver } = await site();
    const [mine, theirs] = [await client({ waitReplicas: 1 }), await client()];
    const lease = await mine.acquire("account");
    await failOver();
    expect(await contend(theirs)).toBe("refused");
    expect(lease.isHeld()).toBe(true);
  }, 60_000);
});
