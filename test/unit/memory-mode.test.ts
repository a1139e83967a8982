/** The memory that lockers of one process share: one for all copies of the library, and bounded by what is held. */
import { afterEach, expect, test, vi } from "vitest";

import { createLocker, type Locker } from "../../src/index.ts";
import { processMicros } from "../../src/clock/machine-clocks.ts";
import { MemoryNode, sharedMemory } from "../../src/node/memory-node.ts";

const REGISTRY = Symbol.for("holdfast.memory");
const registry = globalThis as { [REGISTRY]?: unknown };
const lockers: Locker[] = [];

afterEach(async () => {
  await Promise.all(lockers.splice(0).map((locker) => locker.close({ withinMs: 0 })));
});

function memoryLocker(create = createLocker): Locker {
  const locker = create({ mode: "memory" });
  lockers.push(locker);
  return locker;
}

/** As a bundler makes one, or a second version. */
async function anotherCopy(): Promise<typeof createLocker> {
  vi.resetModules();
  const { createLocker: create } = await import("../../src/index.ts");
  expect(create).not.toBe(createLocker);
  return create;
}

test("two copies of the library exclude each other, hand over, and have one order of fences", async () => {
  const [mine, theirs] = [memoryLocker(), memoryLocker(await anotherCopy())];
  const first = await mine.acquire("copies");
  expect(await theirs.tryAcquire("copies")).toBeUndefined();
  expect((await theirs.inspect("copies")).holder).toBe(first.holder);
  const waiting = theirs.acquire("copies", { waitMs: 5_000 });
  await first.release();
  const second = await waiting;
  expect(second.fence).toBeGreaterThan(first.fence);
  expect(await mine.tryAcquire("copies")).toBeUndefined();
  await second.release();
  expect((await mine.acquire("copies")).fence).toBeGreaterThan(second.fence);
});

test("a copy whose memory works otherwise is refused, and not ignored", () => {
  memoryLocker();
  const before = registry[REGISTRY];
  registry[REGISTRY] = { version: 2, memory: {} };
  try {
    expect(() => createLocker({ mode: "memory" })).toThrow(/another version of holdfast in this process/);
    expect(() => createLocker({ mode: "memory" })).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID" }),
    );
  } finally {
    registry[REGISTRY] = before;
  }
});

test("keys that were used once leave no more than a bounded past, and no smaller fence", async () => {
  const locker = memoryLocker();
  const held = await locker.acquire("bounded:held", { autoExtend: true });
  const memory = sharedMemory(() => new MemoryNode(processMicros, 1_000)) as MemoryNode;
  const fences: number[] = [];
  for (let key = 0; key < 40_000; key++) {
    const lease = await locker.acquire(`bounded:${key}`);
    fences.push(lease.fence);
    await lease.release();
  }
  expect(memory.size).toBeLessThan(25_000);
  for (const key of [0, 1, 20_000, 39_999])
    expect((await locker.acquire(`bounded:${key}`)).fence).toBeGreaterThan(fences[key] ?? Infinity);
  expect([held.isHeld(), await held.verify()]).toEqual([true, "held"]);
});
