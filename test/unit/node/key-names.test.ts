/** No two names on a node are the same, whatever locks are called; and what belongs together is in one slot of a cluster. */
import fc from "fast-check";
import { expect, test } from "vitest";

import { fenceKey, isReserved, MARKER_KEY, WAITING_KEY } from "../../../src/node/key-names.ts";

/** As the scripts make it. */
function lineKey(key: string): string {
  return fenceKey(key).replace(/fence$/, "line");
}

/** What Redis Cluster hashes of a key. */
function hashed(key: string): string {
  return /^[^{]*\{([^}]+)\}/.exec(key)?.[1] ?? key;
}

/** Made of what names are made of here. */
const name = fc
  .array(fc.constantFrom("{", "}", ":", "a", "fence", "line", "holdfast:", "key:", "node", "waiting"), {
    minLength: 1,
    maxLength: 7,
  })
  .map((parts) => parts.join(""));

const lock = fc.oneof(
  name,
  name.map((inner) => `{${inner}}`),
  name.map((inner) => `holdfast:key:{${inner}}`),
  name.map((inner) => `{${inner}}:fence`),
);

test("two locks share nothing, and none is called as something of the library's", () => {
  const property = fc.property(lock, lock, (one, other) => {
    fc.pre(one !== other && !isReserved(one) && !isReserved(other));
    const names = [one, other].flatMap((key) => [key, fenceKey(key), lineKey(key)]);
    expect(new Set([...names, MARKER_KEY, WAITING_KEY]).size).toBe(8);
  });
  fc.assert(property, { numRuns: 20_000 });
});

test.each(["x", "{x}"])("%s has a fence of its own, whatever the other has", (key) => {
  const others = ["x", "{x}", "{{x}}", "{x}:x", "x{x}"].filter((other) => other !== key);
  expect(others.map(fenceKey)).not.toContain(fenceKey(key));
});

test("a lock, its fence and its line are in one slot", () => {
  const property = fc.property(lock, (key) => {
    // A `}` that ends no tag: then no other name is hashed as this one, and its fence goes elsewhere.
    fc.pre(!isReserved(key) && (hashed(key) !== key || !key.includes("}")));
    expect([fenceKey(key), lineKey(key)].map(hashed)).toEqual([hashed(key), hashed(key)]);
  });
  fc.assert(property, { numRuns: 20_000 });
});

test.each([MARKER_KEY, WAITING_KEY, "holdfast:key:{x}", "{x}:fence", "x:line", ":fence"])(
  "%s is reserved",
  (key) => {
    expect(isReserved(key)).toBe(true);
  },
);

test.each(["holdfast:nodes", "holdfast:orders", "fence", "{x}", "line:x", "holdfast"])("%s is not", (key) => {
  expect(isReserved(key)).toBe(false);
});
