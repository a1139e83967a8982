/** Where output goes: results to stdout, remarks to stderr; colours and redrawing only where a person looks on. */
import { createInterface } from "node:readline/promises";

export interface Terminal {
  /** A result. */
  readonly line: (text: string) => void;
  /** A remark, or what went wrong. */
  readonly error: (text: string) => void;
  /** Puts this in the place of what was drawn last, on a terminal; elsewhere it is one more result. */
  readonly draw: (text: string) => void;
  readonly isTerminal: boolean;
  readonly paint: Paint;
  /** Asks yes or no; undefined where nobody can answer. */
  readonly ask: (question: string) => Promise<boolean | undefined>;
}

type Paint = Readonly<Record<"good" | "bad" | "dim" | "strong", (text: string) => string>>;

export function terminal(): Terminal {
  const isTerminal = process.stdout.isTTY === true;
  const hasColours = isTerminal && process.env["NO_COLOR"] === undefined && process.env["TERM"] !== "dumb";
  const painted = (code: number) => (text: string) => (hasColours ? `\u001b[${code}m${text}\u001b[0m` : text);
  let drawn = 0;
  return {
    isTerminal,
    paint: { good: painted(32), bad: painted(31), dim: painted(2), strong: painted(1) },
    line: (text) => console.log(text),
    error: (text) => console.error(text),
    draw: (text) => {
      // Up by as many lines as were drawn, and from there to the end of the screen anew.
      if (isTerminal && drawn > 0) process.stdout.write(`\u001b[${drawn}A\u001b[J`);
      console.log(text);
      drawn = text.split("\n").length;
    },
    ask: async (question) => {
      if (!isTerminal || process.stdin.isTTY !== true) return undefined;
      const dialogue = createInterface({ input: process.stdin, output: process.stdout });
      try {
        return /^y(es)?$/i.test((await dialogue.question(`${question} [y/N] `)).trim());
      } finally {
        dialogue.close();
      }
    },
  };
}

/** Rows as aligned text. Colours do not count for the width. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => widthOf(row[column] ?? ""))),
  );
  return rows
    .map((row) =>
      row
        .map((text, column) => text + " ".repeat((widths[column] ?? 0) - widthOf(text)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

// eslint-disable-next-line no-control-regex
const COLOUR = /\u001b\[\d+m/g;

function widthOf(text: string): number {
  return text.replace(COLOUR, "").length;
}
