/** `restartGuard: "first-use"` (rule G4): a new fleet votes at once, and a node that lost its memory later does not. */
import { describe, expect, test } from "vitest";

import { Simulation, type SimLockerOptions } from "../../../src/sim/index.ts";

const TTL_MS = 2_000;
const OPTIONS: SimLockerOptions = { ttlMs: TTL_MS, restartGuard: "first-use" };

function states(client: ReturnType<Simulation["start"]>): Record<string, string> {
  return Object.fromEntries(client.locker.nodes().map(({ node, state }) => [node, state]));
}

describe("a fleet none of whose nodes was ever admitted", () => {
  test("is taken for a new one: it votes at once, without init", async () => {
    const simulation = new Simulation({ seed: "new", nodes: 3 });
    const client = simulation.start("a", OPTIONS);
    const lease = await simulation.run(client.locker.acquire("k", { waitMs: 100 }));
    expect(lease.isHeld()).toBe(true);
    expect(states(client)).toEqual({ n1: "admitted", n2: "admitted", n3: "admitted" });
  });

  test("by several clients at once, whoever comes first to which node", async () => {
    for (let seed = 0; seed < 50; seed++) {
      const simulation = new Simulation({ seed: `together ${seed}`, nodes: 5 });
      const clients = ["a", "b", "c"].map((name) => simulation.start(name, OPTIONS));
      await simulation.run(Promise.all(clients.map(({ locker }) => locker.ready())), 2 * TTL_MS);
      await simulation.pass(100);
      for (const client of clients) await simulation.run(client.locker.using(client.process.name, () => {}));
    }
  });

  test("but waits for its nodes' first chance, and where one cannot be met, nothing is taken for granted", async () => {
    const simulation = new Simulation({ seed: "one dead", nodes: 3 });
    simulation.servers[2]?.kill();
    const client = simulation.start("a", OPTIONS);
    await expect(simulation.run(client.locker.acquire("k", { waitMs: 100 }))).rejects.toMatchObject({
      code: "QUORUM_UNREACHABLE",
    });
    expect(states(client)).toMatchObject({ n1: "quarantined", n2: "quarantined" });
    const began = simulation.clock.now();
    await simulation.run(client.locker.ready());
    expect(simulation.clock.now() - began).toBeGreaterThan(TTL_MS - 200);
  });
});

describe("a fleet that is in use", () => {
  async function inUse(seed: string, nodes = 3) {
    const simulation = new Simulation({ seed, nodes });
    const client = simulation.start("a", OPTIONS);
    await simulation.run(client.locker.acquire("k", { autoExtend: true }));
    return { simulation, client };
  }

  test("is in use for a client that found it so, whatever is lost later", async () => {
    const { simulation } = await inUse("found in use", 1);
    const late = simulation.start("late", OPTIONS);
    await simulation.run(late.locker.acquire("another"));
    simulation.servers[0]?.flush();
    expect((await simulation.run(late.locker.attempt("k"))).outcome).toBe("unknown");
    await simulation.pass(100);
    expect(states(late)).toEqual({ n1: "quarantined" });
  });

  test("quarantines a node that restarts empty, for clients old and new", async () => {
    const { simulation, client } = await inUse("restart");
    simulation.servers[0]?.kill();
    simulation.servers[0]?.start("nothing");
    const other = simulation.start("b", OPTIONS);
    await simulation.pass(500);
    expect(states(client)["n1"]).toBe("quarantined");
    expect(states(other)["n1"]).toBe("quarantined");
    expect(await simulation.run(other.locker.tryAcquire("k"))).toBeUndefined();
  });

  test("quarantines a node that was flushed, though its process is the same", async () => {
    const { simulation, client } = await inUse("flush");
    simulation.servers[0]?.flush();
    await simulation.run(client.locker.tryAcquire("other"));
    await simulation.pass(500);
    expect(states(client)["n1"]).toBe("quarantined");
  });

  test("is not taken for a new one by a client that meets only its forgetful nodes", async () => {
    const { simulation } = await inUse("majority");
    for (const server of simulation.servers.slice(0, 2)) server.flush();
    const other = simulation.start("b", OPTIONS);
    await expect(simulation.run(other.locker.acquire("k", { waitMs: 300 }))).rejects.toMatchObject({
      code: "QUORUM_UNREACHABLE",
      message: expect.stringContaining("in quarantine") as string,
    });
    expect(states(other)).toEqual({ n1: "quarantined", n2: "quarantined", n3: "admitted" });
  });
});

test("a new quorum's first lock is had with no option set: who waits by default waits longer than the quarantine it imposes", async () => {
  const simulation = new Simulation({ seed: "first minute", nodes: 3 });
  const client = simulation.start("a", {});
  const began = simulation.clock.now();
  await simulation.run(client.locker.using("a", () => {}));
  expect(simulation.clock.now() - began).toBeGreaterThan(10_000);
});
