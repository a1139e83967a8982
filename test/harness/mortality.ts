/**
 * No process may outlive the test run that started it. When we exit, we kill what is left; when we are killed ourselves, the kernel
 * does it, where `setpriv` can ask it to.
 */
import type { ChildProcess } from "node:child_process";

import { onPath } from "./redis-binary.ts";

/** The command line that makes the kernel end the program with us. The process id is the program's: setpriv execs. */
export function diesWithUs(program: string, args: readonly string[]): [string, string[]] {
  const setpriv = onPath("setpriv");
  return setpriv === undefined
    ? [program, [...args]]
    : [setpriv, ["--pdeathsig", "KILL", "--", program, ...args]];
}

/** Or has never begun: a program that cannot be started has no process id. */
export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
}

const living = new Set<ChildProcess>();

export function killWhenWeExit(child: ChildProcess): void {
  if (living.size === 0) process.once("exit", killAll);
  living.add(child);
  child.once("exit", () => {
    living.delete(child);
    if (living.size === 0) process.off("exit", killAll);
  });
}

function killAll(): void {
  for (const child of living) child.kill("SIGKILL");
}
