/** Where keys live: the same answer for all clients and for ever, spread evenly, and moved no further than must be. */
import { expect, test } from "vitest";

import { hashedNames, rendezvous } from "../../src/rendezvous.ts";

const KEYS = Array.from({ length: 20_000 }, (_, index) => `invoice:${index}`);

function homes(names: readonly string[]): (string | undefined)[] {
  const hashed = hashedNames(names);
  return KEYS.map((key) => rendezvous(key, hashed)?.name);
}

// Computed once. Another answer would make two versions of the library lock one key on two quorums.
test.each([
  ["invoice:1", "b"],
  ["invoice:2", "d"],
  ["größe", "a"],
  ["k", "c"],
])("%s lives on %s of a, b, c, d", (key, home) => {
  expect(rendezvous(key, hashedNames(["a", "b", "c", "d"]))?.name).toBe(home);
  expect(rendezvous(key, hashedNames(["c", "a", "d", "b"]))?.name).toBe(home);
});

test("a tag stands for the whole key, as in Redis Cluster", () => {
  const names = hashedNames(["a", "b", "c", "d", "e", "f", "g"]);
  for (const tag of ["x", "user:7", "ö"]) {
    const home = rendezvous(tag, names);
    expect(rendezvous(`{${tag}}:cart`, names)).toBe(home);
    expect(rendezvous(`order:{${tag}}`, names)).toBe(home);
  }
  // None: empty, or never closed.
  expect(KEYS.some((key) => rendezvous(`{}${key}`, names) !== rendezvous("{}", names))).toBe(true);
  expect(KEYS.some((key) => rendezvous(`{${key}`, names) !== rendezvous("{", names))).toBe(true);
});

test("keys are spread evenly", () => {
  const names = Array.from({ length: 16 }, (_, index) => `shard-${index}`);
  const counts = new Map<string | undefined, number>();
  for (const home of homes(names)) counts.set(home, (counts.get(home) ?? 0) + 1);
  const share = KEYS.length / names.length;
  // Five standard deviations of a fair draw.
  for (const name of names)
    expect(Math.abs((counts.get(name) ?? 0) - share)).toBeLessThan(5 * Math.sqrt(share));
});

test("a new shard takes keys only for itself, and its share; the one that goes gives away only its own", () => {
  const [few, more] = [homes(["a", "b", "c"]), homes(["a", "b", "c", "d"])];
  const moved = few.flatMap((home, index) => (home === more[index] ? [] : [more[index]]));
  expect(new Set(moved)).toEqual(new Set(["d"]));
  expect(Math.abs(moved.length - KEYS.length / 4)).toBeLessThan(5 * Math.sqrt(KEYS.length / 4));
});
