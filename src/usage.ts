/** What the command lines of several rooms share: where they write, and how they say that an argument is wrong. */

/** Where a command writes. */
export interface CommandOutput {
  /** One line. */
  readonly line: (text: string) => void;
  readonly error: (text: string) => void;
  /** How the command is called, for the line that repeats it. */
  readonly name: string;
}

/** What must be wrong on the command line, in words. */
export class UsageError extends Error {}

/** What `parse` answers, or its error as a word about usage. */
export function orUsage<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** The command's exit code; a wrong argument is told, and is 2. */
export async function exitCodeOrUsage(
  command: () => Promise<number>,
  { error: tell }: CommandOutput,
): Promise<number> {
  try {
    return await command();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    tell(`${error.message}\nTry --help.`);
    return 2;
  }
}
