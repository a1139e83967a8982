/** Wrong arguments, said in a line; exit code 2. */
export function usage(message: string): never {
  console.error(`${message}\nTry --help.`);
  process.exit(2);
}

/** What `parse` answers, or its error as a word about usage. */
export function orUsage<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error));
  }
}
