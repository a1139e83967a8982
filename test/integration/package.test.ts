/** The package as it is published, in the projects of those who install it: ESM and CommonJS, two majors of TypeScript, with and without Node's types. */
import { execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);
const project = mkdtempSync(join(tmpdir(), "holdfast-package-"));
const installed = join(project, "node_modules", "holdfast");

interface Packed {
  readonly filename: string;
  readonly version: string;
  readonly size: number;
  readonly files: readonly { readonly path: string }[];
}
let packed: Packed;

/** What its users have beside it. */
const NEIGHBOURS = [
  "ioredis",
  "uuid",
  "prom-client",
  "@opentelemetry/api",
  "redis",
  "@types/node",
  "undici-types",
];

beforeAll(async () => {
  await run("npm", ["run", "--silent", "build"], { cwd: root });
  const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", project], {
    cwd: root,
  });
  [packed] = JSON.parse(stdout) as [Packed];
  mkdirSync(installed, { recursive: true });
  await run("tar", ["-xzf", join(project, packed.filename), "--strip-components=1", "-C", installed]);
  for (const name of NEIGHBOURS) {
    const place = join(project, "node_modules", name);
    mkdirSync(dirname(place), { recursive: true });
    symlinkSync(join(root, "node_modules", name), place);
  }
}, 120_000);
afterAll(() => rmSync(project, { recursive: true }));

const ENTRIES = ["", "/chaos", "/node-redis", "/opentelemetry", "/prometheus", "/redlock", "/sim"];

test("has what it needs, and nothing else", () => {
  const files = packed.files.map(({ path }) => path);
  for (const file of [
    "package.json",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "dist/index.js",
    "dist/index.d.ts",
    "dist/cli/main.js",
  ])
    expect(files).toContain(file);
  expect(
    files.filter((file) => !/^(dist\/|package\.json$|README\.md$|LICENSE$|CHANGELOG\.md$)/.test(file)),
  ).toEqual([]);
  expect(files.filter((file) => /test|benchmark|\.ts$/.test(file) && !file.endsWith(".d.ts"))).toEqual([]);
  expect(packed.size).toBeLessThan(350_000);
});

describe("at run time", () => {
  const work = `
    const locker = createLocker({ mode: "memory" });
    await locker.using("a", (lease) => console.log(lease.fence > 0));
    await locker.close();`;

  test("ESM: every entry, and a lock", async () => {
    writeFileSync(
      join(project, "esm.mjs"),
      `${ENTRIES.map((entry) => `await import("holdfast${entry}");`).join("\n")}
      import { createLocker } from "holdfast";${work}`,
    );
    const { stdout, stderr } = await run(process.execPath, ["esm.mjs"], { cwd: project });
    expect([stdout, stderr]).toEqual(["true\n", ""]);
  });

  test("CommonJS: require of every entry, and a lock", async () => {
    writeFileSync(
      join(project, "cjs.cjs"),
      `${ENTRIES.map((entry) => `require("holdfast${entry}");`).join("\n")}
      const { createLocker } = require("holdfast");
      const { default: Redlock } = require("holdfast/redlock");
      (async () => {${work} console.log(typeof Redlock); })();`,
    );
    const { stdout } = await run(process.execPath, ["cjs.cjs"], { cwd: project });
    expect(stdout).toBe("true\nfunction\n");
  });

  test("as npm installs it, without the optional packages: all other entries", async () => {
    const bare = mkdtempSync(join(tmpdir(), "holdfast-bare-"));
    writeFileSync(join(bare, "package.json"), JSON.stringify({ type: "module" }));
    const flags = ["--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"];
    await run("npm", ["install", ...flags, join(project, packed.filename)], { cwd: bare });
    expect(readdirSync(join(bare, "node_modules"))).toContain("ioredis"); // its peer, as npm installs peers
    const entries = ENTRIES.filter((entry) => entry !== "/prometheus" && entry !== "/opentelemetry");
    writeFileSync(
      join(bare, "bare.js"),
      entries.map((entry) => `await import("holdfast${entry}");`).join("\n"),
    );
    await run(process.execPath, ["bare.js"], { cwd: bare });
    writeFileSync(join(bare, "missing.js"), 'await import("holdfast/prometheus");');
    await expect(run(process.execPath, ["missing.js"], { cwd: bare })).rejects.toThrow(/prom-client/);
    const { stdout } = await run("npx", ["--no-install", "holdfast", "--version"], { cwd: bare });
    expect(stdout).toBe(`${packed.version}\n`);
    rmSync(bare, { recursive: true });
  }, 60_000);

  test("the command line", async () => {
    const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as {
      bin: { holdfast: string };
    };
    const main = join(installed, manifest.bin.holdfast);
    expect(readFileSync(main, "utf8").startsWith("#!/usr/bin/env node\n")).toBe(true);
    const { stdout } = await run(process.execPath, [main, "--version"], { cwd: project });
    expect(stdout).toBe(`${packed.version}\n`);
    const simulated = await run(process.execPath, [main, "sim", "--seeds", "2", "--from", "1"], {
      cwd: project,
    });
    expect(simulated.stdout).toContain("No property was violated.");
  }, 30_000);
});

describe.each([
  ["TypeScript 7", "typescript"],
  ["TypeScript 5.9", "typescript59"],
])("types, by %s", (_, compiler) => {
  const tsc = join(
    root,
    "node_modules",
    compiler,
    existsSync(join(root, "node_modules", compiler, "bin", "tsc")) ? "bin/tsc" : "lib/tsc.js",
  );
  const consumer = `
    import { createLocker, type Attempt, type Lease, type Locker, LeaseLostError } from "holdfast";
    import Redlock, { ExecutionError } from "holdfast/redlock";
    import { Simulation } from "holdfast/sim";
    const locker: Locker = createLocker({ mode: "quorum", nodes: ["redis://a", "redis://b", "redis://c"], ttlMs: 5_000 });
    export async function work(): Promise<number> {
      await using lease: Lease = await locker.acquire("a", { waitMs: 10 });
      const attempt: Attempt = await locker.attempt("b");
      if (attempt.outcome === "held") console.log(attempt.owner?.length);
      const total: number = await locker.using(["a", "b"], async ({ fence, signal }) => (signal.aborted ? 0 : fence));
      // @ts-expect-error A mode needs its nodes.
      createLocker({ mode: "quorum" });
      // @ts-expect-error There is no such option.
      await locker.acquire("a", { timeout: 5 });
      return total + lease.fence;
    }
    export const errors: unknown[] = [LeaseLostError, ExecutionError, Redlock, Simulation];
  `;
  const common = { noEmit: true, strict: true, target: "es2022", lib: ["es2022", "esnext.disposable"] };

  test.each([
    ["nodenext, with Node's types", { module: "nodenext", types: ["node"] }],
    ["a bundler, with Node's types", { module: "esnext", moduleResolution: "bundler", types: ["node"] }],
    [
      "nodenext, without Node's types",
      { module: "nodenext", types: [], lib: [...common.lib, "dom"], skipLibCheck: true },
    ],
  ])("%s", async (_name, options) => {
    writeFileSync(join(project, "consumer.mts"), consumer);
    const config = { compilerOptions: { ...common, ...options }, files: ["consumer.mts"] };
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify(config));
    const outcome = await run(process.execPath, [tsc, "-p", project]).catch(
      (error: { stdout: string }) => error,
    );
    expect(outcome.stdout).toBe("");
  });
});

test("nothing is left of the build in the package's folder", () => {
  expect(readdirSync(installed).sort()).toEqual([
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "dist",
    "package.json",
  ]);
});
