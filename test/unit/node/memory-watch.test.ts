/** What one client knows at first hand of the memories behind a name. Instants are ms, node times µs. */
import { describe, expect, test } from "vitest";

import type { Marker } from "../../../src/node/lock-node.ts";
import { MemoryWatch } from "../../../src/node/memory-watch.ts";

/** The node's time at instant 0. */
const NODE_US = 1_800_000_000_000_000;
const nodeUs = (at: number) => NODE_US + at * 1_000;

function marker(sinceUs: number, incarnation = "run:replication"): Marker {
  const none = { ttlMs: 0, earlierTtlMs: 0, turnUs: 0, evictedKeys: 0, contactUs: sinceUs, options: "" };
  return { incarnation, replicationId: "", history: "", sinceUs, declared: undefined, floor: 0, ...none };
}

describe("G6: another server under the same name", () => {
  test("a memory must have begun after the other one was heard last", () => {
    const watch = new MemoryWatch();
    watch.meet("A", 0);
    expect(watch.notBeforeUs(nodeUs(0), 0)).toBe(0);
    watch.meet("B", 100);
    watch.heard(250);
    watch.meet("A", 400);
    expect(watch.notBeforeUs(nodeUs(400), 400)).toBe(nodeUs(250));
    expect(watch.notBeforeUs(nodeUs(500), 500)).toBe(nodeUs(250));
  });

  test("is judged once: a clock that is corrected later makes no memory too old", () => {
    const watch = new MemoryWatch();
    watch.meet("A", 0);
    watch.meet("B", 100);
    watch.accept(marker(nodeUs(90)), nodeUs(100), 100, 100);
    expect(watch.notBeforeUs(nodeUs(100) + 10_000, 100)).toBe(0);
    watch.meet("B", 200);
    expect(watch.notBeforeUs(nodeUs(200) + 10_000, 200)).toBe(0);
  });
});

describe("G8: a node's clock that leaps ahead during a quarantine", () => {
  function watched(): MemoryWatch {
    const watch = new MemoryWatch();
    watch.meet("A", 0);
    watch.accept(marker(nodeUs(-500)), nodeUs(0), 0, 0);
    watch.silenceMs(10_000);
    return watch;
  }
  const hourAhead = nodeUs(2_000) + 3_600_000_000;

  test("makes no memory older than this client has seen it grow", () => {
    const watch = watched();
    expect(watch.oldEnoughAt(10_000)).toBe(9_500);
    expect(watch.youngSinceUs(marker(nodeUs(-500)), nodeUs(2_000), 2_000, 0.01)).toBe(0);
    expect(watch.youngSinceUs(marker(nodeUs(-500)), hourAhead, 2_000, 0.01)).toBe(hourAhead - 2_500_000);
  });

  test("is none where the answer was read late: the memory may be as old as if it had been given at once", () => {
    const watch = new MemoryWatch();
    watch.accept(marker(nodeUs(-500)), nodeUs(0), 0, 3_000);
    expect(watch.youngSinceUs(marker(nodeUs(-500)), nodeUs(3_000), 3_000, 0.01)).toBe(0);
    expect(watch.oldEnoughAt(10_000)).toBe(12_500);
  });

  test("does not matter once it is old enough, nor for a memory that was admitted anew", () => {
    const watch = watched();
    expect(watch.youngSinceUs(marker(nodeUs(1_000)), hourAhead, 2_000, 0.01)).toBe(0);
    watch.endSilence();
    expect(watch.youngSinceUs(marker(nodeUs(-500)), hourAhead, 2_000, 0.01)).toBe(0);
  });

  test("a memory that lies in the future is as young as can be", () => {
    const watch = new MemoryWatch();
    watch.accept(marker(nodeUs(60_000)), nodeUs(0), 0, 0);
    expect(watch.oldEnoughAt(1_000)).toBe(1_000);
  });
});

describe("N2: how old a memory must be", () => {
  test("the most that was asked for, until it was that old once", () => {
    const watch = new MemoryWatch();
    watch.accept(marker(nodeUs(0)), nodeUs(0), 0, 0);
    expect([10, 60, 20].map((wanted) => watch.silenceMs(wanted))).toEqual([10, 60, 60]);
    watch.endSilence();
    expect(watch.silenceMs(1_000)).toBe(60);
  });

  test("another memory starts over", () => {
    const watch = new MemoryWatch();
    watch.accept(marker(nodeUs(0)), nodeUs(0), 0, 0);
    watch.silenceMs(60);
    watch.endSilence();
    watch.accept(marker(nodeUs(500)), nodeUs(500), 500, 500);
    expect(watch.silenceMs(10)).toBe(10);
  });
});
