// Checks spec/fence.pml with Spin: the fence rule in every interleaving of its scope, and two variants with a rule left
// out, which must be refuted. Where spin or gcc is missing it says so and runs nothing.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";

const SPEC = resolve("spec", "fence.pml");
const MEMORY_MB = 4_000;

const VARIANTS = [
  { name: "without rule N7 (any token is granted)", define: "-DNO_N7", mustHold: false },
  { name: "with N7 that grants an equal token", define: "-DEQUAL_N7", mustHold: false },
  { name: "without rule R2 (no tombstone)", define: "-DNO_R2", mustHold: false },
  { name: "the fence rule", define: "-DWHOLE", mustHold: true },
];

process.exitCode = main();

/** @returns {number} exit code */
function main() {
  const missing = ["spin", "gcc"].filter((program) => spawnSync(program, ["--version"]).error !== undefined);
  if (missing.length > 0) {
    console.log(
      `spec: not run, since ${missing.join(" and ")} is not installed (Debian: apt-get install spin gcc)`,
    );
    return 0;
  }
  const folder = mkdtempSync(join(tmpdir(), "holdfast-spec-"));
  try {
    return VARIANTS.map((variant) => isAsExpected(variant, folder)).every(Boolean) ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {{ name: string, define: string, mustHold: boolean }} variant
 * @param {string} folder
 * @returns {boolean}
 */
function isAsExpected({ name, define, mustHold }, folder) {
  const began = performance.now();
  run("spin", [define, "-a", SPEC], folder);
  run("gcc", ["-w", "-O2", "-DSAFETY", `-DMEMLIM=${MEMORY_MB}`, "-o", "pan", "pan.c"], folder);
  // -E: to have nothing left to do is the end of all, not a deadlock.
  const output = run(join(folder, "pan"), ["-m10000", "-w25", "-E"], folder);
  const states = /(\d+) states, stored/.exec(output)?.[1] ?? "?";
  const transitions = /([\d.e+]+) transitions/.exec(output)?.[1] ?? "?";
  const violated = /assertion violated\s+(.*?) \(at depth/.exec(output)?.[1];
  const isComplete =
    /errors: 0/.test(output) && !/Search not completed|max search depth too small/.test(output);
  const verdict = violated === undefined ? (isComplete ? "holds" : "NOT DECIDED") : `refuted: ${violated}`;
  const seconds = ((performance.now() - began) / 1_000).toFixed(1);
  console.log(`${name}: ${verdict}; ${states} states, ${transitions} transitions, ${seconds} s`);
  return mustHold ? isComplete && violated === undefined : violated !== undefined;
}

/**
 * @param {string} program
 * @param {string[]} args
 * @param {string} cwd
 * @returns {string} all it said
 */
function run(program, args, cwd) {
  const options = /** @type {const} */ ({ cwd, encoding: "utf8", maxBuffer: 2 ** 26 });
  const { stdout, stderr, error, status } = spawnSync(program, args, options);
  if (error !== undefined) throw error;
  // Otherwise the verifier of the variant before would run again, and be taken for this one's.
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} failed:\n${stdout}${stderr}`);
  return stdout + stderr;
}
