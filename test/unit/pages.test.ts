/** What the pages say of the project is there: commands, their options, files and sections. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const PAGES = [
  "",
  "docs",
  "test/chaos",
  "benchmarks/chaos",
  "benchmarks/hand-over",
  "benchmarks/speed",
].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(folder, name)),
);

function textOf(page: string): string {
  return readFileSync(join(root, page), "utf8");
}

/** As the sites that show these pages make it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-");
}

test("there are pages", () => expect(PAGES.length).toBeGreaterThan(15));

test.each(PAGES)("%s: every npm script it names is there", (page) => {
  const { scripts } = JSON.parse(textOf("package.json")) as { scripts: Record<string, string> };
  for (const [command, name] of textOf(page).matchAll(/npm run ([a-z][a-z:-]*[a-z])/g))
    expect(Object.keys(scripts), command).toContain(name);
});

test.each(PAGES)("%s: every link leads somewhere", (page) => {
  for (const [, target = ""] of textOf(page).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? page : join(dirname(page), path);
    expect(existsSync(join(root, file)), target).toBe(true);
    if (anchor === undefined) continue;
    const headings = [...textOf(file).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => anchorOf(heading));
    expect(headings, target).toContain(anchor);
  }
});

test.each(PAGES)("%s: every file of the project it names is there", (page) => {
  const named = textOf(page).matchAll(
    /`((?:src|test|docs|scripts|demo|benchmarks|examples|spec)\/[\w./-]+)`/g,
  );
  for (const [, file = ""] of named) expect(existsSync(join(root, file)), file).toBe(true);
});
