// `npm run matrix`: the unit and contract tests on several versions of Node, ioredis and the server, and a table of what passed. A version
// of Node comes from the npm registry (`npx node@22`); a server is run where its binary is at hand. Nothing is installed for good.
//
//   --node 20,22,24     --ioredis 5,6     --server redis-server,valkey-server (names on PATH, or paths)
//   --all               every test instead

import { spawnSync } from "node:child_process";
import process from "node:process";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    node: { type: "string", default: "20,22,24" },
    ioredis: { type: "string", default: "5,6" },
    server: { type: "string", default: "redis-server,valkey-server" },
    all: { type: "boolean", default: false },
  },
});

/** @typedef {{ node: string, ioredis: string, server: string, outcome: string }} Row */

main();

function main() {
  /** @type {Row[]} */
  const rows = [];
  for (const node of values.node.split(","))
    for (const ioredis of values.ioredis.split(","))
      for (const server of values.server.split(",")) {
        const row = { node, ioredis, server, outcome: outcomeOf(node, ioredis, server) };
        rows.push(row);
        console.log(`node ${node.padEnd(4)} ioredis ${ioredis}  ${server.padEnd(16)} ${row.outcome}`);
      }
  if (rows.some(({ outcome }) => outcome.startsWith("FAILED"))) process.exitCode = 1;
  if (rows.every(({ outcome }) => outcome.startsWith("not run"))) process.exitCode = 1;
}

/**
 * @param {string} node
 * @param {string} ioredis
 * @param {string} server
 */
function outcomeOf(node, ioredis, server) {
  const version = spawnSync(server, ["--version"], { encoding: "utf8" });
  if (version.status !== 0) return "not run: no such server here";
  const projects = values.all ? [] : ["--project", "unit", "--project", "contract"];
  const vitest = ["node_modules/vitest/vitest.mjs", "run", ...projects];
  const isOwn = process.versions.node.split(".")[0] === node;
  const [command, args] = isOwn ? [process.execPath, vitest] : ["npx", ["--yes", `node@${node}`, ...vitest]];
  const { status, stdout, error } = spawnSync(command, args, {
    encoding: "utf8",
    env: { ...process.env, HOLDFAST_REDIS_SERVER: pathOf(server), HOLDFAST_TEST_IOREDIS: ioredis },
    maxBuffer: 1 << 26,
  });
  if (error !== undefined) return `FAILED: ${error.message}`;
  const tests = /tests: (.*)/.exec(stdout)?.[1] ?? "no tests ran";
  const failed = [...stdout.matchAll(/FAIL.*/g)].map(([line]) => line.trim()).slice(0, 3);
  return status === 0 ? `passed: ${tests}` : `FAILED: ${tests} ${failed.join("; ")}`;
}

/** @param {string} server */
function pathOf(server) {
  return spawnSync("sh", ["-c", `command -v ${JSON.stringify(server)}`], { encoding: "utf8" }).stdout.trim();
}
