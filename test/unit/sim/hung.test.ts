/** Contenders for one key while nodes hang: they cost no more than a few round trips, and a node that is slow but regular is waited for. */
import { describe, expect, test } from "vitest";

import { NODE_TIMEOUT_MS, ROUND_TRIP_MS, type World, world } from "../support/sim-world.ts";

const SEEDS = 40;

/** As many clients as asked for, which have all met before. */
async function contenders(count: number, nodes: number, seed: number): Promise<World> {
  const names = Array.from({ length: count }, (_, index) => `c${index}.${seed}`);
  const here = await world(names.join(" "), {}, nodes);
  await here.simulation.pass(100); // Everybody has met every node.
  const { network } = here.simulation;
  network.weather = { delayMsMin: ROUND_TRIP_MS / 4, delayMsMax: ROUND_TRIP_MS, stormChance: 0, stormMs: 0 };
  return here;
}

/** Everybody asks at once, and gives it back at once: how long until the first and until the last one has had it. */
async function turns(here: World): Promise<{ readonly firstMs: number; readonly lastMs: number }> {
  const began = here.now();
  const at: number[] = [];
  const all = here.clients.map(async ({ locker }) => {
    const lease = await locker.acquire("k", { waitMs: 60_000 });
    at.push(here.now() - began);
    await lease.release();
  });
  await here.simulation.run(Promise.all(all), 30_000);
  return { firstMs: Math.min(...at), lastMs: Math.max(...at) };
}

function sorted(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

describe("a node that has just hung", () => {
  test.each([
    [4, 3, 1],
    [10, 3, 1],
    [4, 5, 2],
    [10, 5, 2],
  ])(
    "keeps none of %i contenders for a key waiting for its timeout, on %i nodes of which %i hang",
    async (count, nodes, hung) => {
      const all: number[] = [];
      for (let seed = 0; seed < SEEDS; seed++) {
        const here = await contenders(count, nodes, seed);
        const first = seed % (nodes - hung + 1);
        for (const server of here.simulation.servers.slice(first, first + hung)) server.pause();
        const { firstMs } = await turns(here);
        all.push(firstMs);
      }
      const firstMs = sorted(all);
      // Nobody can tell a split before a few round trips, a ms of jitter and a turn of the event loop; then they meet at one node.
      expect(firstMs[SEEDS / 2]).toBeLessThan(5 * ROUND_TRIP_MS + 5);
      expect(firstMs.at(-1)).toBeLessThan(NODE_TIMEOUT_MS / 3);
    },
  );

  test("is not met at, even by those who met there a moment ago (C7)", async () => {
    // Everybody splits again and again while one node after the other hangs: one of them is the one they meet at.
    for (let seed = 0; seed < SEEDS; seed++) {
      const here = await contenders(6, 3, seed);
      const ask = turns(here);
      const [server] = here.simulation.servers.slice(seed % 3);
      here.simulation.clock.at(here.now() + (seed % 8) * ROUND_TRIP_MS, () => server?.pause());
      const { firstMs } = await ask;
      expect(firstMs, `seed ${seed}`).toBeLessThan(NODE_TIMEOUT_MS / 3);
    }
  });

  test("does not make the lock forget itself: what it grants after it wakes up is undone (C5)", async () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const here = await contenders(5, 3, seed);
      const [server] = here.simulation.servers.slice(seed % 3);
      server?.pause();
      await turns(here);
      server?.resume();
      await here.simulation.pass(20 * ROUND_TRIP_MS);
      expect(here.simulation.servers.map((each) => each.holderOf("k"))).toEqual(Array(3).fill(undefined));
    }
  });

  test("is waited for all the same where the others cannot decide: one of them is dead", async () => {
    const here = await contenders(1, 3, 1);
    const [first, second] = here.simulation.servers;
    first?.kill();
    await here.simulation.pass(10);
    second?.pause();
    here.simulation.clock.at(here.now() + NODE_TIMEOUT_MS / 2, () => second?.resume());
    const { firstMs } = await turns(here);
    expect(firstMs).toBeGreaterThanOrEqual(NODE_TIMEOUT_MS / 2);
    expect(firstMs).toBeLessThan(NODE_TIMEOUT_MS);
    expect(here.votes.get("acquire granted")).toBe(2);
  });
});

describe("a node that is slow and regular", () => {
  test("is waited for: who holds the key there and on another one holds it, and no split is seen", async () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const here = await world(`a${seed} b${seed}`, {}, 3);
      const { network, servers } = here.simulation;
      [1, 1.5, 20].forEach((ms, index) => network.distanceMs.set(servers[index]?.name ?? "", ms));
      network.weather = { delayMsMin: 0.2, delayMsMax: 1, stormChance: 0, stormMs: 0 };
      await here.simulation.pass(40_000); // Some check-ups have seen how long it takes.
      const [a, b] = here.clients;
      network.cut(`a${seed}`, "n2");
      const lease = await here.simulation.run(
        a?.locker.acquire("k") ?? Promise.reject(new Error("no client")),
      );
      const outcome = await here.simulation.run(
        b?.locker.attempt("k") ?? Promise.reject(new Error("no client")),
      );
      expect(outcome).toMatchObject({ outcome: "held", holder: lease.holder });
      const asked = (here.votes.get("acquire held") ?? 0) + (here.votes.get("acquire granted") ?? 0);
      expect(asked).toBe(2 + 3);
    }
  });

  test("does not slow down those who contend while it answers, and all have their turn", async () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const here = await contenders(6, 3, seed);
      const { network, servers } = here.simulation;
      [1, 1.5, 20].forEach((ms, index) => network.distanceMs.set(servers[index]?.name ?? "", ms));
      await here.simulation.pass(40_000);
      const { lastMs } = await turns(here);
      expect(lastMs).toBeLessThan(1_500);
    }
  });
});
