/** A lease that goes from process to process (rule H1), while nodes die, hang, come back with nothing, and others want the lock. */
import { expect, test } from "vitest";

import type { Lease, LeaseToken } from "../../../src/index.ts";
import { type Client, Simulation } from "../../../src/sim/index.ts";

const TTL_MS = 2_000;

async function world(seed: string, nodes = 3) {
  const simulation = new Simulation({ seed, nodes });
  const [a, b, c] = ["a", "b", "c"].map((name) => simulation.start(name, { ttlMs: TTL_MS })) as [
    Client,
    Client,
    Client,
  ];
  await simulation.run(a.locker.init());
  await simulation.run(Promise.all([a, b, c].map(({ locker }) => locker.ready())));
  return { simulation, a, b, c };
}

test("never is it held by the one who adopts and by another at once, and fences only grow", async () => {
  const outcomes = { adopted: 0, lost: 0, unknown: 0 };
  for (let seed = 1; seed <= 150; seed++) {
    const { simulation, a, b, c } = await world(`adopt ${seed}`, seed % 2 === 0 ? 3 : 5);
    const { prng } = simulation;
    const lease = await simulation.run(a.locker.acquire("k", { autoExtend: true }));
    await simulation.pass(prng.between(0, TTL_MS));
    const token: LeaseToken = await simulation.run(lease.detach());
    for (const server of simulation.servers) {
      const fate = prng.next();
      if (fate < 0.15) server.kill();
      else if (fate < 0.3) server.flush();
      else if (fate < 0.4) server.pause();
      if (fate < 0.1) server.start("nothing");
    }
    await simulation.pass(prng.between(0, 1.2 * TTL_MS));
    const adopting = b.locker.adopt(token, { autoExtend: prng.chance(0.5) }).catch((error: unknown) => error);
    const acquiring = c.locker.acquire("k", { waitMs: 4 * TTL_MS }).catch((error: unknown) => error);
    const adopted = await simulation.run(adopting);
    const overlap = setOfHolds(simulation, adopted, await simulation.run(acquiring));
    expect(overlap, `seed ${seed}`).toBe(false);
    outcomes[kindOf(adopted)]++;
    await simulation.run(Promise.all([a, b, c].map(({ locker }) => locker.close())));
  }
  // All three are reached, or the story says nothing.
  for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(5);
});

function kindOf(adopted: unknown): "adopted" | "lost" | "unknown" {
  if (isLease(adopted)) return "adopted";
  return (adopted as { code: string }).code === "LEASE_LOST" ? "lost" : "unknown";
}

/** Both are leases, and both held now; the fence of the one that came second must be larger. */
function setOfHolds(_: Simulation, adopted: unknown, acquired: unknown): boolean {
  if (!isLease(adopted) || !isLease(acquired)) return false;
  expect(acquired.fence).toBeGreaterThan(adopted.fence);
  return adopted.isHeld() && acquired.isHeld();
}

function isLease(value: unknown): value is Lease {
  return typeof value === "object" && value !== null && "remainingMs" in value;
}

test("needs a quorum of nodes that hold it, and puts it back on none before it is adopted", async () => {
  const { simulation, a, b } = await world("minority");
  const lease = await simulation.run(a.locker.acquire("k"));
  const token = await simulation.run(lease.detach());
  simulation.servers[0]?.flush();
  simulation.servers[1]?.flush();
  await expect(simulation.run(b.locker.adopt(token))).rejects.toMatchObject({ code: "LEASE_LOST" });
  await simulation.pass(50);
  // What was left on the third is gone too: it would only be in the way.
  expect(simulation.servers.map((server) => server.holderOf("k"))).toEqual([undefined, undefined, undefined]);
});

test("counts no node on which it would have to be put back: it has been free there in between", async () => {
  const { simulation, a, b } = await world("put back");
  const lease = await simulation.run(a.locker.acquire("k"));
  await simulation.pass(500);
  // An extension reaches one node only: there the lock outlives the others'.
  for (const server of ["n1", "n2"]) simulation.network.cut("a", server);
  await expect(simulation.run(lease.extend())).rejects.toMatchObject({ code: "QUORUM_UNREACHABLE" });
  const token = await simulation.run(lease.detach());
  await simulation.pass(TTL_MS - 500);
  expect(simulation.servers.map((server) => server.holderOf("k"))).toEqual([
    undefined,
    undefined,
    lease.holder,
  ]);
  await expect(simulation.run(b.locker.adopt(token))).rejects.toMatchObject({ code: "LEASE_LOST" });
});

test("where a quorum cannot be asked, nothing is known and nothing is taken away", async () => {
  const { simulation, a, b } = await world("unreachable");
  const lease = await simulation.run(a.locker.acquire("k"));
  const token = await simulation.run(lease.detach());
  simulation.servers[0]?.pause();
  simulation.servers[1]?.pause();
  await expect(simulation.run(b.locker.adopt(token))).rejects.toMatchObject({ code: "QUORUM_UNREACHABLE" });
  simulation.servers[0]?.resume();
  simulation.servers[1]?.resume();
  await simulation.pass(10);
  const adopted = await simulation.run(b.locker.adopt(token));
  expect(adopted).toMatchObject({ holder: lease.holder, fence: lease.fence });
  expect(await simulation.run(adopted.verify())).toBe("held");
});

test("an extension in flight is waited for before it is let go of", async () => {
  const { simulation, a } = await world("in flight");
  const lease = await simulation.run(a.locker.acquire("k"));
  const extending = lease.extend();
  let isDetached = false;
  const detaching = lease.detach().then(() => (isDetached = true));
  await simulation.pass(0.01);
  expect(isDetached).toBe(false);
  await simulation.run(Promise.all([extending, detaching]));
});
