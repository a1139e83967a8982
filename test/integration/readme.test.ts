/** Every TypeScript snippet of the README and of docs/ runs as it is printed, on real servers in place of the addresses it names. */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { createLocker } from "../../src/index.ts";
import { type Cluster, startCluster } from "../../src/chaos/servers/cluster.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const pages = ["README.md", ...readdirSync(join(root, "docs")).map((name) => join("docs", name))];
const snippets = pages.flatMap((page) =>
  [...readFileSync(join(root, page), "utf8").matchAll(/```ts\n(.*?)```/gs)].map(([, code = ""]) => code),
);
const run = promisify(execFile);

describe("the README and docs", () => {
  let cluster: Cluster;
  let folder: string;

  beforeAll(async () => {
    cluster = await startCluster(3);
    await using operator = createLocker({ mode: "quorum", nodes: cluster.urls });
    await operator.init();
    folder = mkdtempSync(join(root, "build", "readme-"));
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true });
    await cluster.stop();
  });

  test("has snippets", () => expect(snippets.length).toBeGreaterThanOrEqual(4));

  test.each(snippets.map((code, index) => ({ code, name: `snippet-${index}` })))(
    "$name runs",
    async ({ code, name }) => {
      const nodes = cluster.urls.reduce(
        (text, url, index) => text.replaceAll(`redis://10.0.0.${index + 1}:6379`, url),
        code,
      );
      const library = (...path: string[]) => JSON.stringify(join(root, "build", "src", ...path, "index.js"));
      // What a snippet calls but does not show, and an end for those that leave their locker open.
      const prelude = "const [charge, transfer] = [async () => {}, async () => 1];\n";
      const program =
        prelude +
        nodes
          .replaceAll('"holdfast"', library())
          .replaceAll('"holdfast/sim"', library("sim"))
          .replaceAll('"holdfast/chaos"', library("chaos")) +
        "\nsetTimeout(() => process.exit(), 0);\n";
      writeFileSync(join(folder, `${name}.mts`), program);
      const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
      const options = ["--ignoreConfig", "--noCheck", "--target", "es2023", "--module", "nodenext"];
      await run(process.execPath, [tsc, ...options, join(folder, `${name}.mts`)]);
      await run(process.execPath, [join(folder, `${name}.mjs`)], { timeout: 20_000 });
    },
  );
});
