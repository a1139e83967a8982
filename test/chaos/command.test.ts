/** The command line of chaos: what it says to wrong arguments, what it leaves in its folder, and that Ctrl-C leaves nothing else. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, describe, expect, test } from "vitest";

import { waitFor } from "../../src/chaos/machine/wait-for.ts";

const script = fileURLToPath(new URL("../../build/test/chaos/main.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "holdfast-command-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function chaos(...args: string[]) {
  return spawnSync(process.execPath, [script, "--out", folder, ...args], { encoding: "utf8" });
}

test.each([
  [["--only", "nothing"], '--only: there is no scenario "nothing"'],
  [["--minutes", "soon"], '--minutes must be a number above 0, got "soon"'],
  [["--concurrency", "0"], '--concurrency must be a whole number above 0, got "0"'],
  [["--nodes", "http://10.0.0.1"], "--nodes: nodes must be redis:// URLs, got http://10.0.0.1"],
  [["--frobnicate"], "--frobnicate"],
])("%j is refused, with what is wrong, and exit code 2", (args, words) => {
  const { status, stderr } = chaos(...args);
  expect(status).toBe(2);
  expect(stderr).toContain(words);
});

test("a password in a wrong address is not repeated", () => {
  expect(chaos("--nodes", "not a url:secret").stderr).not.toContain("secret");
});

test("--list names every scenario, --help every option", () => {
  expect(chaos("--list").stdout).toContain("restart-empty");
  expect(chaos("--help").stdout).toContain("--minutes M");
});

describe("a run", () => {
  test("leaves a report, a summary and histories, and says how to repeat it", () => {
    const { status, stdout } = chaos("--simulated", "--seed", "7", "--only", "restart-empty,evicting");
    expect(status).toBe(0);
    expect(stdout).toContain("1 passed, 0 failed, 1 not run");
    const page = readFileSync(join(folder, "report.html"), "utf8");
    expect(page).toContain("--seed 7 --only restart-empty,evicting --simulated");
    const summary = JSON.parse(readFileSync(join(folder, "summary.json"), "utf8")) as object;
    expect(summary).toMatchObject({ passed: 1, failed: 0, notRun: 1, overlapMs: 0 });
    const [line = ""] = readFileSync(join(folder, "histories", "restart-empty.jsonl"), "utf8").split("\n");
    expect(JSON.parse(line)).toHaveProperty("at");
  });

  test("nodes that are not there fail it, in words", () => {
    const { status, stdout } = chaos(
      "--nodes",
      "redis://127.0.0.1:1,redis://127.0.0.1:2,redis://127.0.0.1:3",
      "--only",
      "cut-from-a-minority",
    );
    expect(status).toBe(1);
    expect(stdout).toMatch(/FAILED +cut-from-a-minority/);
    expect(stdout).toContain("the locker was not ready within");
  });

  test.skipIf(process.platform !== "linux")("Ctrl-C ends it, and every process it started", async () => {
    const args = ["--out", folder, "--only", "rolling-empty-restarts", "--seed", "1"];
    const child = spawn(process.execPath, [script, ...args], { stdio: "ignore" });
    await waitFor(() => childrenOf(child.pid).length >= 5, { what: "three servers and clients are running" });
    const started = childrenOf(child.pid);
    child.kill("SIGINT");
    const [code] = (await once(child, "exit")) as [number];
    expect(code).toBe(130);
    await waitFor(() => started.every((pid) => !isRunning(pid)), { what: "all of them have ended" });
  });
});

function childrenOf(parent: number | undefined): number[] {
  return readdirSync("/proc").flatMap((name) =>
    /^\d+$/.test(name) && parentOf(name) === parent ? [Number(name)] : [],
  );
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(/\) \S+ (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1]);
  } catch {
    return undefined;
  }
}

function isRunning(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
