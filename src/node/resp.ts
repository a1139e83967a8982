/**
 * Arguments of a command as they go over the wire (RESP), kept as text: a request that goes to five nodes is put into words once, and a call
 * of sixty requests is their concatenation.
 */

export interface Wire {
  /** How many arguments. */
  readonly count: number;
  readonly text: string;
}

/** One argument. */
export function bulk(argument: string | number): string {
  const text = typeof argument === "string" ? argument : String(argument);
  const length = typeof argument === "string" ? Buffer.byteLength(text) : text.length;
  return `$${length}\r\n${text}\r\n`;
}

export function wireOf(args: readonly (string | number)[]): Wire {
  return { count: args.length, text: args.map(bulk).join("") };
}

/** The whole command. */
export function commandOf(name: string, first: string, { count, text }: Wire): string {
  return `*${count + 2}\r\n${bulk(name)}${bulk(first)}${text}`;
}

/** The arguments again: for those who simulate servers, and for tests. */
export function argumentsOf({ text }: Wire): string[] {
  const bytes = Buffer.from(text);
  const args: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf(CARRIAGE_RETURN, at);
    const length = Number(bytes.toString("latin1", at + 1, end));
    args.push(bytes.toString("utf8", end + 2, end + 2 + length));
    at = end + 2 + length + 2;
  }
  return args;
}

const CARRIAGE_RETURN = 0x0d;
