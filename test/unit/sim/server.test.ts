/** What may happen to a simulated server, as the library sees it: events that lose nothing, and others that lose all or a part. */
import { describe, expect, test } from "vitest";

import { type Client, Simulation, type SimLockerOptions, type SimServer } from "../../../src/sim/index.ts";

const TTL_MS = 2_000;

interface Here {
  readonly simulation: Simulation;
  readonly server: SimServer;
  readonly other: SimServer;
  readonly a: Client;
}

/** A strict client of one server, which was declared new and holds `k`. */
async function holding(seed: string, options: SimLockerOptions = {}): Promise<Here> {
  const simulation = new Simulation({ seed, nodes: 2 });
  const strict = { mode: "single", knows: ["n1"], restartGuard: "strict", ttlMs: TTL_MS } as const;
  const a = simulation.start("a", { ...strict, ...options });
  const [server, other] = [simulation.server("n1"), simulation.server("n2")];
  server.replicas = 1;
  await simulation.run(a.locker.init());
  await simulation.run(a.locker.acquire("k", { autoExtend: true }));
  return { simulation, server, other, a };
}

function stateOf({ a }: Here): string | undefined {
  return a.locker.nodes()[0]?.state;
}

/** As the server has told it by now. */
async function stateSoon(here: Here): Promise<string | undefined> {
  await here.simulation.run(here.a.locker.tryAcquire("other").catch(() => undefined));
  await here.simulation.pass(100);
  return stateOf(here);
}

describe("of a server", () => {
  test("another replication id alone changes nothing, and its locks stay", async () => {
    const here = await holding("attach");
    here.server.renewReplicationId();
    expect(here.server.facts).toMatchObject({ wasReplica: false, history: "0" });
    expect(await stateSoon(here)).toBe("admitted");
    expect(here.server.holderOf("k")).toBeDefined();
  });

  test("a master's data replaces its own, and after its promotion it is a new memory", async () => {
    const here = await holding("replica");
    here.server.demote(here.other);
    expect(here.server.holderOf("k")).toBeUndefined();
    await here.simulation.pass(6_000);
    expect(stateOf(here)).toBe("excluded");
    here.server.promote();
    expect(here.server.facts).toMatchObject({ wasReplica: true, history: "2" });
    // By the next dial, a second later at most.
    await here.simulation.pass(1_500);
    expect(stateOf(here)).toBe("quarantined");
    await here.simulation.pass(2 * TTL_MS);
    expect(stateOf(here)).toBe("admitted");
  });

  test("writes nothing while it is a replica, and again after its promotion", async () => {
    const here = await holding("writes");
    here.server.demote();
    expect(await here.simulation.run(here.a.locker.tryAcquire("x").catch(() => "failed"))).toBe("failed");
    here.server.promote();
    expect(here.server.refuses).toBeUndefined();
  });

  test("a promotion ends no refusal that has another cause", async () => {
    const { server } = await holding("full");
    server.refuses = "growth";
    server.failOver("everything");
    expect(server.refuses).toBe("growth");
  });

  test("one lock that is evicted is gone and counted, and the node waits as for a new memory", async () => {
    const here = await holding("evicted");
    here.server.evict();
    expect(here.server.holderOf("k")).toBeUndefined();
    expect(here.server.facts.evictedKeys).toBe(1);
    await here.simulation.pass(6_000);
    here.server.evict();
    expect(here.server.facts.evictedKeys).toBe(1);
  });

  test("a policy that may evict shuts it out", async () => {
    const here = await holding("policy");
    here.server.mayEvict = true;
    await here.simulation.pass(6_000);
    expect(stateOf(here)).toBe("excluded");
  });

  test("another database is a new memory, and the first one comes back with its marker and its locks", async () => {
    const here = await holding("swap");
    here.server.swapDatabases();
    expect(here.server.holderOf("k")).toBeUndefined();
    here.server.swapDatabases();
    expect(here.server.holderOf("k")).toBeDefined();
    here.server.flush();
    here.server.swapDatabases();
    expect(here.server.holderOf("k")).toBeUndefined();
  });

  test("as many replicas as it has acknowledge its writes", async () => {
    const here = await holding("wait", { waitReplicas: 1 });
    here.server.replicas = 0;
    const attempt = await here.simulation.run(here.a.locker.attempt("x"));
    expect(attempt).toMatchObject({ outcome: "unknown" });
    here.server.replicas = 2;
    expect(await here.simulation.run(here.a.locker.tryAcquire("y"))).toHaveProperty("fence");
  });
});

test("an address leads elsewhere for the one process that it was redirected for", async () => {
  const { simulation, server, other, a } = await holding("redirect", { restartGuard: "trust" });
  const b = simulation.start("b", { mode: "single", knows: ["n1"], ttlMs: TTL_MS });
  await simulation.run(b.locker.ready());
  b.redirect("n1", "n2");
  await simulation.pass(200);
  await simulation.run(b.locker.acquire("x"));
  await simulation.run(a.locker.acquire("y"));
  expect([server.holderOf("x"), other.holderOf("y")]).toEqual([undefined, undefined]);
  expect([other.holderOf("x"), server.holderOf("y")]).not.toContain(undefined);
});
