// Holds the rooms of src/ apart: every import points to a lower layer, and the rooms of one layer do not know
// each other unless the table says so. It knows relative imports only; which package may be imported where is
// said in .oxlintrc.json.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, posix, relative, resolve, sep } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/**
 * The house, from the ground up. A room is a folder ("quorum/") or one file; a file named by itself does not
 * belong to the folder it lies in. A room may import itself and every room of the layers below.
 *
 * @typedef {{ rooms: string[], neighbours?: boolean, typesOnly?: string[] }} Layer
 *   `neighbours`: rooms of this layer may import each other. `typesOnly`: files without anything that runs.
 * @type {Layer[]}
 */
const layers = [
  /* 0 */ { rooms: ["clock/", "errors.ts", "history/"], neighbours: true },
  /* 1 */ {
    rooms: ["node/lock-node.ts", "electorate.ts", "grantor.ts", "events.ts"],
    neighbours: true,
    typesOnly: ["electorate.ts", "grantor.ts"],
  },
  /* 2 */ { rooms: ["quorum/", "single/", "grant/", "lease/", "wait/", "node/"] },
  /* 3 */ { rooms: ["options/", "usage.ts"] },
  /* 4 */ {
    rooms: [
      "locker.ts",
      "attempt.ts",
      "shard.ts",
      "rendezvous.ts",
      "reentry.ts",
      "named-lock.ts",
      "acquirer.ts",
      "refusals.ts",
      "environment.ts",
      "job.ts",
    ],
    neighbours: true,
  },
  /* 5 */ { rooms: ["index.ts", "sim/", "redlock/", "node-redis/", "iovalkey/", "observe/"] },
  /* 6 */ { rooms: ["chaos/"] },
  /* 7 */ { rooms: ["cli/"] },
];

main();

function main() {
  const root = resolve(dirname(fileURLToPath(import.meta.url)), "..", "src");
  const lines = violations(root);
  for (const line of lines) console.error(line);
  if (lines.length > 0) {
    console.error(`\nimport directions: ${lines.length} ${lines.length === 1 ? "violation" : "violations"}`);
    process.exitCode = 1;
  } else {
    console.log("import directions: every import of src points downwards");
  }
}

/**
 * Where a file of src lives; a file that is named beats the folder around it.
 *
 * @param {string} file path inside src, with "/"
 * @returns {{ room: string, level: number } | undefined}
 */
function locate(file) {
  const folder = file.includes("/") ? `${file.slice(0, file.indexOf("/"))}/` : "";
  for (const room of [file, folder]) {
    const level = layers.findIndex((layer) => layer.rooms.includes(room));
    if (level !== -1) return { room, level };
  }
  return undefined;
}

/**
 * Why `from` may not import `to` (both paths inside src), or undefined where it may.
 *
 * @param {string} from
 * @param {string} to
 * @returns {string | undefined}
 */
function objection(from, to) {
  if (to.startsWith("../")) return "it lies outside src";
  const here = locate(from);
  const there = locate(to);
  if (here === undefined) return undefined; // said once for the whole file
  if (there === undefined) return "it has no place in the table of scripts/import-directions.mjs";
  if (here.room === there.room || there.level < here.level) return undefined;
  if (there.level > here.level) {
    return `${there.room} (layer ${there.level}) lies above ${here.room} (layer ${here.level})`;
  }
  if (layers[here.level]?.neighbours === true) return undefined;
  return `${here.room} and ${there.room} are rooms of layer ${here.level}, which do not know each other`;
}

/**
 * The relative specifiers a source names, with the line of each: static and dynamic imports, re-exports,
 * and `import("./x.ts").T` in types.
 *
 * @param {string} source
 * @returns {{ specifier: string, line: number }[]}
 */
function relativeImports(source) {
  const code = withoutComments(source);
  const found = [];
  for (const match of code.matchAll(/\b(?:from|import)\s*\(?\s*(["'`])(\.{1,2}\/[^"'`\n]*)\1/g)) {
    found.push({ specifier: match[2] ?? "", line: code.slice(0, match.index).split("\n").length });
  }
  return found;
}

/**
 * Blanks comments and keeps line breaks, so that lines still count; strings are stepped over whole.
 *
 * @param {string} source
 * @returns {string}
 */
function withoutComments(source) {
  const tokens = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g;
  return source.replace(tokens, (token) => (token.startsWith("/") ? token.replace(/[^\n]/g, " ") : token));
}

/**
 * Every line of the report, empty when the house is in order.
 *
 * @param {string} root folder of the sources
 * @returns {string[]}
 */
function violations(root) {
  const lines = [];
  for (const file of sourcesIn(root)) {
    const source = readFileSync(resolve(root, file), "utf8");
    if (locate(file) === undefined) {
      lines.push(`src/${file}: has no place in the table of scripts/import-directions.mjs`);
    }
    if (layers.some((layer) => layer.typesOnly?.includes(file))) {
      const runs = withoutComments(source).search(
        /^(?:export\s+)?(?:default|const|let|var|async|function|class)\b/m,
      );
      if (runs !== -1)
        lines.push(`src/${file}:${source.slice(0, runs).split("\n").length}: holds types only`);
    }
    for (const { specifier, line } of relativeImports(source)) {
      const why = objection(file, posix.normalize(posix.join(posix.dirname(file), specifier)));
      if (why !== undefined) lines.push(`src/${file}:${line}: must not import "${specifier}": ${why}`);
    }
  }
  return lines;
}

/**
 * @param {string} root
 * @returns {string[]} paths inside root, with "/", sorted
 */
function sourcesIn(root) {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(root, resolve(entry.parentPath, entry.name)).split(sep).join("/"))
    .sort();
}
