/** The demo is the main job on real servers, and exits with 0 only if each of its claims held. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { expect, test } from "vitest";

test("every claim of the demo holds", async () => {
  const demo = fileURLToPath(new URL("../../build/demo/main.js", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [demo], { timeout: 60_000 });
  expect(stdout).toContain("7 claims, every one held.");
  expect(stdout).not.toContain("BROKEN");
});
