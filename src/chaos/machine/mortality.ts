/**
 * No process may outlive the test run that started it. When we exit, we kill what is left; when we are killed ourselves, the kernel
 * does it, where `setpriv` can ask it to.
 */
import type { ChildProcess } from "node:child_process";
import { rmSync } from "node:fs";

import { onPath } from "./on-path.ts";

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
/** What else must be undone, at once and without waiting. */
const debts = new Set<() => void>();

export function killWhenWeExit(child: ChildProcess): void {
  attend();
  living.add(child);
  child.once("exit", () => {
    living.delete(child);
    relax();
  });
}

/** A folder of our own making; answers with what removes it earlier. */
export function removeWhenWeExit(folder: string): () => void {
  return undoWhenWeExit(() => rmSync(folder, { recursive: true, force: true }));
}

/** Answers with what does it earlier. */
export function undoWhenWeExit(undo: () => void): () => void {
  attend();
  debts.add(undo);
  return () => {
    if (debts.delete(undo)) undo();
    relax();
  };
}

/** Shells say 128 + the signal's number. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** A signal would end us without an exit event. Who has listeners of their own for it ends in their own way. */
const endings = Object.entries(EXIT_CODES).map(([signal, code]) => {
  const end = () => process.listenerCount(signal) === 1 && process.exit(code);
  return { signal, end };
});

function attend(): void {
  if (living.size + debts.size > 0) return;
  process.on("exit", cleanUp);
  for (const { signal, end } of endings) process.on(signal, end);
}

function relax(): void {
  if (living.size + debts.size > 0) return;
  process.off("exit", cleanUp);
  for (const { signal, end } of endings) process.off(signal, end);
}

function cleanUp(): void {
  for (const child of living) child.kill("SIGKILL");
  for (const undo of debts) undo();
}
