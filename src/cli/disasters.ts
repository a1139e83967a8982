/** `holdfast chaos` and `holdfast sim`: the commands of those rooms, under this name. */
import { chaosCommand } from "../chaos/command.ts";
import { simCommand } from "../sim/command.ts";
import type { Command } from "./command.ts";

export const chaosShell: Command = {
  name: "chaos",
  summary: "kill, stop, empty and partition real servers under locks, with a report",
  help: "holdfast chaos --help tells more.",
  ownHelp: true,
  run: (args, out) => chaosCommand(args, { line: out.line, error: out.error, name: "holdfast chaos" }),
};

export const simShell: Command = {
  name: "sim",
  summary: "the same on simulated servers, by the thousand, each repeatable by its seed",
  help: "holdfast sim --help tells more.",
  ownHelp: true,
  run: (args, out) => simCommand(args, { line: out.line, error: out.error, name: "holdfast sim" }),
};
