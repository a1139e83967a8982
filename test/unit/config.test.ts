/** Mode and nodes from a file or the environment, without a change of code. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";

import { loadConfig } from "../../src/options/load-config.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-config-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(text: string): string {
  const path = join(folder, "holdfast.json");
  writeFileSync(path, text);
  return path;
}

test("from the environment", () => {
  const env = {
    HOLDFAST_MODE: "quorum",
    HOLDFAST_NODES: "redis://a:1, redis://b:2,redis://c:3",
    HOLDFAST_TTL_MS: "5000",
  };
  expect(loadConfig({ env })).toEqual({
    mode: "quorum",
    nodes: ["redis://a:1", "redis://b:2", "redis://c:3"],
    ttlMs: 5_000,
  });
});

test("shards from the environment", () => {
  const env = { HOLDFAST_MODE: "quorum", HOLDFAST_SHARDS: "a=redis://a:1,redis://b:1?x=y; b=redis://c:1" };
  expect(loadConfig({ env })).toEqual({
    mode: "quorum",
    shards: { a: ["redis://a:1", "redis://b:1?x=y"], b: ["redis://c:1"] },
  });
});

test("from a file, which the environment overrules", () => {
  const path = file('{ "mode": "single", "nodes": ["redis://a:1"], "ttlMs": 5000 }');
  expect(loadConfig({ file: path, env: {} })).toEqual({
    mode: "single",
    nodes: ["redis://a:1"],
    ttlMs: 5_000,
  });
  expect(loadConfig({ env: { HOLDFAST_CONFIG: path, HOLDFAST_TTL_MS: "6000" } })).toMatchObject({
    mode: "single",
    ttlMs: 6_000,
  });
});

test.each([
  [{}, /no mode/],
  [{ HOLDFAST_MODE: "quorum" }, /nodes must be an array/],
  [{ HOLDFAST_MODE: "memory", HOLDFAST_TTL_MS: "ten" }, /HOLDFAST_TTL_MS must be a number, got "ten"/],
  [{ HOLDFAST_MODE: "memory", HOLDFAST_TTL_MS: "1" }, /ttlMs must be an integer from 500/],
  [{ HOLDFAST_MODE: "quorum", HOLDFAST_SHARDS: "redis://a:1" }, /HOLDFAST_SHARDS must be a list of name=URL/],
  [{ HOLDFAST_MODE: "quorum", HOLDFAST_SHARDS: "a=redis://a;a=redis://b" }, /names the shard "a" twice/],
  [{ HOLDFAST_CONFIG: "/nowhere/holdfast.json" }, /cannot be read/],
])("%j is refused", (env, expected) => {
  expect(() => loadConfig({ env })).toThrow(expected);
});

test("a file that is not an object is refused", () => {
  expect(() => loadConfig({ file: file("[]"), env: {} })).toThrow(/must hold one JSON object, got an array/);
});
