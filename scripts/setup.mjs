// Sees to it that this machine has a Redis server to test against, because the demo and the integration tests
// start real ones. On Debian and its kin it installs the package where it is missing and we may; it never
// starts, stops or configures a service, and it does not know how the tests use what it finds.
//
//   node scripts/setup.mjs [--quiet]     --quiet: no word where a server is found
//
// The order: HOLDFAST_REDIS_SERVER (a path), then redis-server, then valkey-server on PATH.

import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";

const PACKAGE = "redis-server";
/** Debian asks this file before it starts a service; exit code 101 means "do not". */
const POLICY = "/usr/sbin/policy-rc.d";
/** A fresh machine may still be running its own upgrades: wait for them rather than fail. */
const APT = ["apt-get", "-o", "DPkg::Lock::Timeout=120"];
/** What apt said last is where the reason stands. */
const REASON_LINES = 8;

const ADVICE =
  "install one (Debian, Ubuntu: sudo apt-get install redis-server; macOS: brew install redis), " +
  "or set HOLDFAST_REDIS_SERVER to the path of one, or run everything in a container " +
  `(docker run --rm -v "$PWD":/src node:20 sh -c "cp -r /src /app && cd /app && npm ci && npm test").`;

/** Ends the run with its message as the one sentence that is printed. */
class Stop extends Error {}

// A handler, even an empty one, lets Ctrl-C end apt and us still take away the policy file.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});

try {
  process.exitCode = main();
} catch (error) {
  if (!(error instanceof Stop)) throw error;
  process.exitCode = complain(error.message);
}

/** @returns {number} exit code */
function main() {
  const named = process.env["HOLDFAST_REDIS_SERVER"];
  if (named !== undefined && named !== "" && !isExecutable(named)) {
    return complain(
      `HOLDFAST_REDIS_SERVER is "${named}", which is not an executable file: correct or unset it.`,
    );
  }

  const found = findServer();
  if (found !== undefined) {
    if (!process.argv.includes("--quiet")) say(`using ${found}`);
    return 0;
  }

  const asRoot = onPath("apt-get") === undefined ? undefined : waysToBeRoot();
  if (asRoot === undefined) return complain(`found neither redis-server nor valkey-server: ${ADVICE}`);

  say(`found no Redis server; installing Debian's package "${PACKAGE}" (this takes a moment) ...`);
  const failure = withoutServiceStarts(asRoot, () => install(asRoot));
  const installed = findServer();
  if (installed === undefined) {
    if (failure !== undefined) console.error(failure);
    return complain(`could not install the package "${PACKAGE}": ${ADVICE}`);
  }
  say(`installed ${installed}`);
  return 0;
}

/** @returns {string | undefined} */
function findServer() {
  return process.env["HOLDFAST_REDIS_SERVER"] || onPath("redis-server") || onPath("valkey-server");
}

/**
 * @param {string} name
 * @returns {string | undefined} the first executable of that name
 */
function onPath(name) {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/**
 * @param {string} path
 * @returns {boolean}
 */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** @returns {string[] | undefined} what to put before a command, or undefined where we cannot be root */
function waysToBeRoot() {
  if (process.getuid?.() === 0) return [];
  // -n: a test run must never stop to ask for a password.
  const sudo = ["sudo", "-n"];
  return onPath("sudo") !== undefined && run([...sudo, "true"]).ok ? sudo : undefined;
}

/**
 * @param {string[]} asRoot
 * @returns {string | undefined} what apt said when it failed
 */
function install(asRoot) {
  const apt = [...asRoot, "env", "DEBIAN_FRONTEND=noninteractive", ...APT];
  const attempt = () => run([...apt, "install", "--yes", "--no-install-recommends", PACKAGE]);

  // Missing or outdated lists show as a failed install: refresh them only then.
  const first = attempt();
  if (first.ok) return undefined;
  const update = run([...apt, "update"]);
  const second = attempt();
  if (second.ok) return undefined;
  return [update.ok ? "" : update.lastWords, second.lastWords].filter((words) => words !== "").join("\n");
}

/**
 * Runs `work` while Debian is told not to start services. A policy that is there already is somebody's
 * decision and stays as it is.
 *
 * @template T
 * @param {string[]} asRoot
 * @param {() => T} work
 * @returns {T}
 */
function withoutServiceStarts(asRoot, work) {
  if (existsSync(POLICY)) return work();
  // set -C: should the file have appeared in between, it is not ours to write, and not ours to remove.
  const script = `set -eC; printf '#!/bin/sh\\nexit 101\\n' > ${POLICY}; chmod 755 ${POLICY}`;
  const ours = run([...asRoot, "sh", "-c", script]).ok;
  if (!ours && !existsSync(POLICY))
    throw new Stop(`cannot write ${POLICY}, without which the package would start a service: ${ADVICE}`);
  try {
    return work();
  } finally {
    if (ours) run([...asRoot, "rm", "-f", POLICY]);
  }
}

/**
 * @param {string[]} command
 * @returns {{ ok: boolean, lastWords: string }}
 */
function run([command = "", ...args]) {
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (signal !== null) throw new Stop(`ended by ${signal}; run it again when you are ready.`);
  const words = error === undefined ? `${stdout}${stderr}` : error.message;
  return { ok: status === 0, lastWords: words.trimEnd().split("\n").slice(-REASON_LINES).join("\n") };
}

/** @param {string} message */
function say(message) {
  console.log(`setup: ${message}`);
}

/**
 * @param {string} message
 * @returns {number} exit code
 */
function complain(message) {
  console.error(`setup: ${message}`);
  return 1;
}
