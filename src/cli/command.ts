/** The contract of a command. */
import type { Terminal } from "./terminal.ts";

export interface Command {
  readonly name: string;
  /** A few words, for the list. */
  readonly summary: string;
  readonly help: string;
  /** It answers --help itself. */
  readonly ownHelp?: true;
  /** Resolves to the exit code; rejects with a UsageError or with one of the library's errors. */
  run(args: readonly string[], out: Terminal): Promise<number>;
}
