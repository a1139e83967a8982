/** Programs as users have them, which import this package by its name: run against the build, on real servers in place of those they name. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);

const ENTRIES: Readonly<Record<string, readonly string[]>> = {
  holdfast: ["index.js"],
  "holdfast/chaos": ["chaos", "index.js"],
  "holdfast/node-redis": ["node-redis", "index.js"],
  "holdfast/opentelemetry": ["observe", "opentelemetry.js"],
  "holdfast/prometheus": ["observe", "prometheus.js"],
  "holdfast/redlock": ["redlock", "index.js"],
  "holdfast/sim": ["sim", "index.js"],
};

/** Compiles and runs it; rejects where it fails. Resolves to what it wrote. */
export async function runProgram(code: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const folder = mkdtempSync(join(root, "build", "program-"));
  try {
    const program = Object.entries(ENTRIES).reduce(
      (text, [name, path]) =>
        text.replaceAll(`"${name}"`, JSON.stringify(join(root, "build", "src", ...path))),
      code,
    );
    writeFileSync(join(folder, "program.mts"), program);
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
    const options = ["--ignoreConfig", "--noCheck", "--target", "es2023", "--module", "nodenext"];
    await run(process.execPath, [tsc, ...options, join(folder, "program.mts")]);
    const { stdout } = await run(process.execPath, [join(folder, "program.mjs")], {
      timeout: 20_000,
      env: { ...process.env, ...env },
    });
    return stdout;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
