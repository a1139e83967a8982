// `npm run matrix`: the tests on several versions of Node, ioredis and the server, and a table of what passed: the unit tests on every Node,
// the contract suite on every combination, and the tests of other client libraries (node-redis 5 and 6, iovalkey) on every Node and server. A version of Node comes from the npm registry (`npx node@22`); a server is run where its binary is
// at hand. Nothing is installed for good.
//
//   --node 20,22,24     --ioredis 5,6     --server redis-server,valkey-server (names on PATH, or paths)
//   --all               every test on every combination instead

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

const WIDTHS = [6, 9, 24, 12];

main();

function main() {
  const servers = values.server.split(",").map((name) => ({ name, version: versionOf(name) }));
  const outcomes = [];
  print(["node", "ioredis", "server", "tests", "outcome"]);
  for (const node of values.node.split(",")) {
    if (!values.all)
      outcomes.push(
        print([node, "6", "none", "unit", outcomeOf(node, ["unit"], { HOLDFAST_TEST_IOREDIS: "6" })]),
      );
    for (const ioredis of values.ioredis.split(","))
      for (const { name, version } of servers) {
        const env = { HOLDFAST_REDIS_SERVER: pathOf(name), HOLDFAST_TEST_IOREDIS: ioredis };
        const outcome =
          version === undefined
            ? "not run: no such server here"
            : outcomeOf(node, values.all ? [] : ["contract"], env);
        outcomes.push(print([node, ioredis, version ?? name, values.all ? "all" : "contract", outcome]));
      }
    // Nodes that are reached by the other client libraries, all versions of them in one run.
    for (const { name, version } of values.all ? [] : servers) {
      const outcome =
        version === undefined
          ? "not run: no such server here"
          : outcomeOf(node, ["integration"], { HOLDFAST_REDIS_SERVER: pathOf(name) }, [
              "test/integration/clients.test.ts",
            ]);
      outcomes.push(print([node, "none", version ?? name, "clients", outcome]));
    }
  }
  if (outcomes.some((outcome) => outcome.startsWith("FAILED"))) process.exitCode = 1;
  if (outcomes.every((outcome) => outcome.startsWith("not run"))) process.exitCode = 1;
}

/**
 * @param {string[]} cells
 * @returns {string} the last of them
 */
function print(cells) {
  console.log(cells.map((cell, index) => cell.padEnd(WIDTHS[index] ?? 0)).join(""));
  return cells.at(-1) ?? "";
}

/**
 * @param {string} node
 * @param {string[]} projects
 * @param {Record<string, string>} env
 * @param {string[]} files all of them where none is named
 */
function outcomeOf(node, projects, env, files = []) {
  const vitest = [
    "node_modules/vitest/vitest.mjs",
    "run",
    ...projects.flatMap((project) => ["--project", project]),
    ...files,
  ];
  const isOwn = process.versions.node.split(".")[0] === node;
  const [command, args] = isOwn ? [process.execPath, vitest] : ["npx", ["--yes", `node@${node}`, ...vitest]];
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    env: { ...process.env, ...env },
    maxBuffer: 1 << 26,
  });
  if (error !== undefined) return `FAILED: ${error.message}`;
  const tests = /tests: (.*)/.exec(stdout)?.[1] ?? "no tests ran";
  const failed = [...stderr.matchAll(/FAIL.*/g)].map(([line]) => line.trim()).slice(0, 3);
  return status === 0 ? `passed: ${tests}` : `FAILED: ${tests} ${failed.join("; ")}`;
}

/**
 * "Valkey 8.1.1"; undefined where there is no such server.
 *
 * @param {string} server
 */
function versionOf(server) {
  const { status, stdout } = spawnSync(server, ["--version"], { encoding: "utf8" });
  const [, product = server, version = ""] = /^(\w+) server v=(\S+)/i.exec(stdout ?? "") ?? [];
  return status === 0 ? `${product} ${version}` : undefined;
}

/** @param {string} server */
function pathOf(server) {
  return spawnSync("sh", ["-c", `command -v ${JSON.stringify(server)}`], { encoding: "utf8" }).stdout.trim();
}
