// A vitest global setup: brings build/ up to date, because the processes the harness forks run from there.
// Each project that needs it names this file and vitest loads it once for each; one build serves them all.

import { spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** Global, because every load of this file has its own variables. */
const DONE = Symbol.for("holdfast.build-before-tests");

export function setup() {
  if (Reflect.get(globalThis, DONE) === true) return;
  const tsc = fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));
  const root = fileURLToPath(new URL("..", import.meta.url));
  const { status } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.tools.json"], {
    cwd: root,
    stdio: "inherit",
  });
  if (status !== 0) throw new Error("tsc -p tsconfig.tools.json failed: see its messages above");
  Reflect.set(globalThis, DONE, true);
}
