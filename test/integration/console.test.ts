/** The terminal sessions of docs/ are what a shell shows, but for fences, identifiers, times and the width of columns. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { startCluster } from "../../src/chaos/servers/cluster.ts";
import { createLocker } from "../../src/index.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const HOLDFAST = `holdfast() { "${process.execPath}" "${join(root, "build/src/cli/main.js")}" "$@"; }`;

/** What is typed, and what is shown after it. */
function sessionsOf(page: string): { readonly typed: string; readonly shown: string }[] {
  const blocks = [...readFileSync(join(root, page), "utf8").matchAll(/```console\n(.*?)```/gs)];
  return blocks.flatMap(([, block = ""]) =>
    block
      .split(/^\$ /m)
      .filter((part) => part !== "")
      .map((part) => {
        const [typed = "", ...shown] = part.split("\n");
        return { typed, shown: shown.join("\n") };
      }),
  );
}

function inGeneral(text: string): string {
  return text
    .replaceAll(/\b\d{16}\b/g, "FENCE")
    .replaceAll(/#[0-9a-f-]{36}/g, "#ID")
    .replaceAll(/\d+(\.\d+)? s\b/g, "TIME")
    .replaceAll(/ {2,}/g, " ")
    .trim();
}

test("no other page has one", () => {
  const pages = readdirSync(join(root, "docs")).map((name) => join("docs", name));
  const withSessions = [...pages.filter((page) => page.endsWith(".md")), "README.md"].filter(
    (page) => sessionsOf(page).length > 0,
  );
  expect(withSessions).toEqual(["docs/cli.md"]);
});

test("docs/cli.md", async () => {
  await using cluster = await startCluster(3);
  const folder = mkdtempSync(join(tmpdir(), "holdfast-console-"));
  try {
    writeFileSync(join(folder, "make-report"), "#!/bin/sh\nexit 0\n");
    chmodSync(join(folder, "make-report"), 0o755);
    await using holder = createLocker({ mode: "quorum", nodes: cluster.urls, owner: "web-3:812" });
    await holder.init();
    const places = cluster.nodes.map(({ port }, index) => [`10.0.0.${index + 1}:6379`, `127.0.0.1:${port}`]);
    const exports: string[] = [];
    for (const { typed, shown } of sessionsOf("docs/cli.md")) {
      if (typed.startsWith("holdfast inspect")) {
        await holder.acquire("report:nightly");
        await cluster.nodes[2]?.kill();
      }
      const command = places.reduce(
        (text, [printed = "", real = ""]) => text.replaceAll(printed, real),
        typed,
      );
      if (command.startsWith("export ")) exports.push(command);
      const script = [HOLDFAST, ...exports, `${command} 2>&1`].join("\n");
      const { stdout } = spawnSync("bash", ["-c", script], { cwd: folder, encoding: "utf8" });
      const seen = places.reduce((text, [printed = "", real = ""]) => text.replaceAll(real, printed), stdout);
      expect(inGeneral(seen), typed).toBe(inGeneral(shown));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
