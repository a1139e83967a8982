/** The swarm with what it may be put through besides: every promise holds under each hardship, and a run without them is as it was. */
import { describe, expect, test } from "vitest";

import { hardened, HARDSHIPS, type Hardship } from "../../../src/sim/hardships.ts";
import { drawPlan } from "../../../src/sim/plan.ts";
import { Prng } from "../../../src/sim/prng.ts";
import { runSeed } from "../../../src/sim/swarm.ts";

const SEEDS = 12;

/** What shows that the hardship was there at all. */
const TRACES: Partial<Record<Hardship, string>> = {
  strangers: "a stranger comes",
  backups: "renew a replication id",
  "swapped databases": "swap databases",
  evictions: "evict",
  twins: "lead to a twin",
  "there and back": "lead elsewhere",
  "short fences": "step all clocks",
};

test.each(HARDSHIPS)("%s: every property holds", { timeout: 120_000 }, async (name) => {
  // A free key is had soon by those who want it alone.
  const hardships: Hardship[] = name === "pace" ? ["pace", "one key"] : [name];
  const seen = new Set<string>();
  let leases = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { history, violations } = await runSeed(String(seed), hardships);
    expect(violations, `replay: npm run sim -- --seed ${seed} --with "${hardships.join(",")}"`).toEqual([]);
    leases += history.filter(({ type }) => type === "acquired").length;
    for (const event of history) seen.add(event.type === "fault" ? event.fault : event.type);
  }
  expect(leases).toBeGreaterThan(5 * SEEDS);
  const trace = TRACES[name];
  if (trace !== undefined) expect([...seen]).toContain(trace);
  if (name === "all kinds of work") expect([...seen]).toContain("detached");
  if (name === "pace") expect([...seen]).toContain("pace");
});

describe("a plan", () => {
  const drawn = (seed: number) => drawPlan(String(seed), new Prng(`plan ${seed}`));

  test("without hardships is the one that was drawn", () => {
    expect(hardened(drawn(1), [], new Prng("any"))).toEqual(drawn(1));
  });

  test("does not depend on what else it is put through", () => {
    const alone = hardened(drawn(1), ["backups"], new Prng("same"));
    const behind = hardened(drawn(1), ["one key", "backups"], new Prng("same"));
    expect(behind.faults).toEqual(alone.faults);
  });

  test("has wrong clocks on a minority of the servers that are there, whatever shrank", () => {
    for (let seed = 1; seed < 200; seed++) {
      const { wrongClocks, nodes, broken } = hardened(drawn(seed), ["shards", "pace"], new Prng(`${seed}`));
      if (broken.length === 0) expect(2 * wrongClocks.length).toBeLessThan(nodes);
    }
  });
});
