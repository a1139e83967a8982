/** The demo is the main job on real servers, and exits with 0 only if each of its claims held. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { expect, test } from "vitest";

import { waitFor } from "../../src/chaos/machine/wait-for.ts";

const DEMO = fileURLToPath(new URL("../../build/demo/main.js", import.meta.url));

test("every claim of the demo holds", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [DEMO], { timeout: 60_000 });
  expect(stdout).toContain("7 claims, every one held.");
  expect(stdout).not.toContain("BROKEN");
});

test.skipIf(process.platform !== "linux")("Ctrl-C in the middle leaves no process behind", async () => {
  const demo = spawn(process.execPath, [DEMO]);
  let said = "";
  demo.stdout.on("data", (chunk) => (said += String(chunk)));
  await waitFor(() => said.includes("kills nodes 1 and 2"), { what: "the demo is at work" });
  const children = livingProcesses().filter(({ parent }) => parent === demo.pid);
  // Three of its servers and two clients at least.
  expect(children.length).toBeGreaterThan(4);
  const gone = once(demo, "exit");
  demo.kill("SIGINT");
  expect(await gone).toEqual([130, null]);
  const isLeft = ({ id }: Process) => children.some((child) => child.id === id);
  await waitFor(() => !livingProcesses().some(isLeft), { what: "its servers and clients are gone" });
});

interface Process {
  readonly id: number;
  readonly parent: number;
}

function livingProcesses(): Process[] {
  const ids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return ids.flatMap((id) => {
    try {
      // `id (name) state parent …`: a name may contain anything, even a parenthesis.
      const [state, parent] = readFileSync(`/proc/${id}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
      return state === "Z" ? [] : [{ id: Number(id), parent: Number(parent) }];
    } catch {
      return []; // It has ended meanwhile.
    }
  });
}
