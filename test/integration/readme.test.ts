/** Every TypeScript snippet of the README and of docs/ runs as it is printed, on real servers in place of the addresses it names. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { Cluster } from "../../src/chaos/servers/cluster.ts";
import { startFleet } from "../harness/fleet.ts";
import { runProgram } from "../harness/program.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const docs = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md"));
const pages = ["README.md", ...docs.map((name) => join("docs", name))];
const snippets = pages.flatMap((page) =>
  [...readFileSync(join(root, page), "utf8").matchAll(/```ts\n(.*?)```/gs)].map(([, code = ""], index) => ({
    name: `${page}, snippet ${index + 1}`,
    code,
  })),
);
// What a snippet calls but does not show, and an end for those that leave their locker open.
const PRELUDE = "const [charge, transfer] = [async () => {}, async () => 1];\n";
const END = "\nsetTimeout(() => process.exit(), 0);\n";

describe("the README and docs", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startFleet(3);
  });
  afterAll(() => cluster.stop());

  test("has snippets", () => expect(snippets.length).toBeGreaterThanOrEqual(4));

  test.each(snippets)("$name runs", async ({ code }) => {
    const program = cluster.urls.reduce(
      (text, url, index) => text.replaceAll(`redis://10.0.0.${index + 1}:6379`, url),
      PRELUDE + code + END,
    );
    await runProgram(program);
  });
});
