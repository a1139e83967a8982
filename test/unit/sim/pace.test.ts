/** No busy loop: whatever the nodes answer, and whatever a retry strategy wants, attempts on a key are few a second, and errors say why. */
import { describe, expect, test } from "vitest";

import { QuorumUnreachableError } from "../../../src/index.ts";
import type { SimLockerOptions, SimServer } from "../../../src/sim/index.ts";
import { client, reasonOf, TTL_MS, type World, world } from "../support/sim-world.ts";

const HOUR_MS = 3_600_000;
const WAIT_MS = 4_000;
/** A burst, 50 attempts a second, and each of them once more where it has learnt something (C6). */
const ATTEMPTS_A_SECOND_MAX = 2 * (50 + 16);

/** Acquires that came to any node, whatever it said: the largest number of one node. */
async function asked(here: World, ms: number, during: Promise<unknown>): Promise<number> {
  const counts = new Map<string, number>();
  for (const server of here.simulation.servers) {
    server.executed = ({ request }) => {
      if (request.op === "acquire" || request.op === "exchange")
        counts.set(server.name, (counts.get(server.name) ?? 0) + 1);
    };
  }
  await here.simulation.run(during);
  return Math.max(0, ...counts.values()) / (ms / 1_000);
}

/** Every clock was an hour ahead while the key was used, and is right again. */
async function setRight(here: World, servers: readonly SimServer[] = here.simulation.servers): Promise<void> {
  for (const server of servers) server.stepClock(HOUR_MS);
  await here.simulation.pass(300);
  const lease = await here.simulation.run(client(here, 0).locker.acquire("k", { waitMs: 10_000 }));
  await here.simulation.run(lease.release());
  await here.simulation.pass(100);
  for (const server of servers) server.stepClock(-HOUR_MS);
  await here.simulation.pass(300);
}

describe("nodes whose fences lie in the future", () => {
  test.each([[1], [3], [5]])("are asked seldom, and the error says by how much (%i nodes)", async (nodes) => {
    const here = await world("a b", {}, nodes);
    await setRight(here);
    const waiting = reasonOf(client(here, 1).locker.acquire("k", { waitMs: WAIT_MS }));
    expect(await asked(here, WAIT_MS, waiting)).toBeLessThan(20);
    const error = await here.simulation.run(waiting);
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    expect(String(error)).toMatch(/its fences are 359\d{4} ms ahead of its clock/);
    const reasons = (error as QuorumUnreachableError).nodes.map(({ reason }) => reason);
    expect(reasons.filter((reason) => reason === "fence-ahead").length).toBeGreaterThan(nodes / 2);
  });

  test("are no other's lock: one try says that nothing is known", async () => {
    const here = await world("a b", {}, 3);
    await setRight(here);
    const attempt = await here.simulation.run(client(here, 1).locker.attempt("k"));
    expect(attempt).toMatchObject({ outcome: "unknown", error: { code: "QUORUM_UNREACHABLE" } });
    expect(await here.simulation.run(client(here, 1).locker.acquire("another"))).toBeDefined();
  });
});

/** What makes every attempt fail at once, and for good. */
const TROUBLES: Record<string, (here: World) => Promise<void> | void> = {
  "fences of the future": (here) => setRight(here),
  "clocks that disagree": (here) =>
    here.simulation.servers.forEach((server, index) => server.stepClock(index * HOUR_MS)),
  "no memory": (here) => here.simulation.servers.forEach((server) => server.flush()),
  "a new life in quarantine": (here) =>
    here.simulation.servers.forEach((server) => {
      server.kill();
      server.start("nothing");
    }),
  "dead servers": (here) => here.simulation.servers.forEach((server) => server.kill()),
  "a lock of somebody else": async (here) => {
    const { locker } = client(here, 0);
    await here.simulation.run(locker.acquire("k", { autoExtend: true }));
  },
};

const STRATEGIES: Record<string, SimLockerOptions> = {
  "the library's delays": {},
  "no delay at all": { retry: () => 0, notify: false },
};

describe.each(Object.keys(STRATEGIES))("with %s", (strategy) => {
  describe.each(Object.keys(TROUBLES))("%s", (trouble) => {
    const ready = async (): Promise<World> => {
      const here = await world("a b", { maxTtlMs: 10 * TTL_MS, ...STRATEGIES[strategy] }, 3);
      await TROUBLES[trouble]?.(here);
      return here;
    };

    test("one call makes few attempts a second", async () => {
      const here = await ready();
      const waiting = reasonOf(client(here, 1).locker.acquire("k", { waitMs: WAIT_MS }));
      expect(await asked(here, WAIT_MS, waiting)).toBeLessThan(ATTEMPTS_A_SECOND_MAX);
      const error = await here.simulation.run(waiting);
      expect((error as { attempts?: number }).attempts ?? 0).toBeLessThan((WAIT_MS / 1_000) * 60 + 16);
    });

    test("many calls on one key, each with a short time, make hardly more", async () => {
      const here = await ready();
      const { locker, process } = client(here, 1);
      const calls: Promise<unknown>[] = [];
      const come = async (): Promise<void> => {
        for (let call = 0; call < WAIT_MS / 5; call++) {
          calls.push(reasonOf(locker.acquire("k", { waitMs: 500 })));
          await process.sleep(5);
        }
        await Promise.all(calls);
      };
      expect(await asked(here, WAIT_MS, come())).toBeLessThan(2 * ATTEMPTS_A_SECOND_MAX);
    });

    test("one try makes a few attempts", async () => {
      const here = await ready();
      expect(await asked(here, 1_000, reasonOf(client(here, 1).locker.tryAcquire("k")))).toBeLessThanOrEqual(
        8,
      );
    });
  });
});

test("a grant that is always too late is asked for as seldom", async () => {
  const here = await world("a", { minValidityMs: 1_528 }, 3);
  const waiting = reasonOf(client(here, 0).locker.acquire("k", { waitMs: WAIT_MS }));
  expect(await asked(here, WAIT_MS, waiting)).toBeLessThan(ATTEMPTS_A_SECOND_MAX);
  expect(String(await here.simulation.run(waiting))).toContain("too late");
});
