#!/usr/bin/env node
/** `holdfast`: one command a file. What they share is in command.ts (the contract), flags.ts and terminal.ts. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { benchCommand } from "./bench.ts";
import type { Command } from "./command.ts";
import { chaosShell, simShell } from "./disasters.ts";
import { doctorCommand } from "./doctor.ts";
import { messageOf } from "../errors.ts";
import { EXIT, exitCodeOf, UsageError } from "./exit.ts";
import { initCommand } from "./init.ts";
import { inspectCommand } from "./inspect.ts";
import { releaseCommand } from "./release.ts";
import { runCommand } from "./run.ts";
import { type Terminal, terminal } from "./terminal.ts";
import { watchCommand } from "./watch.ts";

const COMMANDS: readonly Command[] = [
  runCommand,
  inspectCommand,
  watchCommand,
  releaseCommand,
  initCommand,
  doctorCommand,
  benchCommand,
  chaosShell,
  simShell,
];

process.exitCode = await holdfast(process.argv.slice(2));

async function holdfast([name, ...args]: readonly string[]): Promise<number> {
  const out = terminal();
  if (name === undefined || ["help", "--help", "-h"].includes(name))
    return help(args[0], out, name === undefined);
  if (name === "--version" || name === "-v") {
    out.line(version());
    return EXIT.ok;
  }
  const command = COMMANDS.find((each) => each.name === name);
  if (command === undefined) {
    out.error(`holdfast: there is no command ${JSON.stringify(name)}\nTry holdfast --help.`);
    return EXIT.usage;
  }
  const asksForHelp = args[0] === "--help" || args[0] === "-h";
  if (asksForHelp && command.ownHelp !== true) return help(name, out);
  try {
    return await command.run(args, out);
  } catch (error) {
    const hint = error instanceof UsageError ? `\nTry holdfast ${name} --help.` : "";
    out.error(`holdfast ${name}: ${messageOf(error)}${hint}`);
    return exitCodeOf(error);
  }
}

function help(about: string | undefined, out: Terminal, isMistake = false): number {
  out.line(COMMANDS.find(({ name }) => name === about)?.help ?? manual());
  return isMistake ? EXIT.usage : EXIT.ok;
}

function manual(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  return `holdfast ${version()}: quorum locks for Redis that hold through failovers

usage: holdfast <command> [options]

commands
${COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`).join("\n")}

nodes, for all commands that need them; what comes first wins
  --nodes URL,URL,URL   redis:// or rediss:// URLs; one is a single node, more are a quorum
  --mode MODE           quorum or single, where the number of nodes should not decide
  --ttl 10s             how long a lock lives unless extended
  environment           HOLDFAST_NODES, HOLDFAST_MODE, HOLDFAST_TTL_MS, ... as loadConfig() reads them
  --config FILE         a JSON file with the options of createLocker (or HOLDFAST_CONFIG)

output
  --json                one JSON object (watch: one a line), for programs
  Colours and redrawing only on a terminal; NO_COLOR switches colours off.

exit codes
  0    done
  ${EXIT.failed}    done, and the answer is bad: doctor found a fault, chaos a violation
  ${EXIT.usage}    wrong arguments or options
  ${EXIT.unreachable}   too few nodes could be asked
  ${EXIT.lost}   run: the lock was lost, and the command was ended
  ${EXIT.held}   somebody else holds the lock
  130  interrupted
  run passes on the exit code of its command; 128 + n where signal n ended it

holdfast help <command> tells more.`;
}

function version(): string {
  const file = fileURLToPath(import.meta.resolve("holdfast/package.json"));
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
