/** `holdfast watch`: the same as `inspect`, again and again. */
import { setTimeout as sleep } from "node:timers/promises";

import type { Inspection, Locker } from "../index.ts";
import type { Command } from "./command.ts";
import { EXIT } from "./exit.ts";
import { duration, NODE_FLAGS, oneKey, parsed, span, withLocker } from "./flags.ts";
import { described, plain } from "./inspect.ts";
import type { Terminal } from "./terminal.ts";

const HELP = `usage: holdfast watch KEY [--every 1s] [--json] [--nodes ...]

On a terminal: the state of the key on every node, live. Elsewhere a line at every change: taken, extended, released, handed on. Ends with
Ctrl-C.

  --every 1s   how often the nodes are asked (default 1s)
  --json       one JSON object a line, at every change

exit code: ${EXIT.interrupted} when it was interrupted`;

export const watchCommand: Command = {
  name: "watch",
  summary: "the same, live",
  help: HELP,
  run: async (args, out) => {
    const { values, positionals } = parsed(args, { ...NODE_FLAGS, every: { type: "string", default: "1s" } });
    const key = oneKey(positionals);
    const everyMs = Math.max(20, duration("--every", values.every));
    const interrupted = new AbortController();
    const stop = (): void => interrupted.abort();
    process.once("SIGINT", stop).once("SIGTERM", stop);
    const look = async (locker: Locker) => {
      let last: Inspection | undefined;
      while (!interrupted.signal.aborted) {
        const seen = await locker.inspect(key);
        show(seen, last, values.json, out);
        last = seen;
        await sleep(everyMs, undefined, { signal: interrupted.signal }).catch(() => {});
      }
      return EXIT.interrupted;
    };
    return withLocker(values, look, { readOnly: true });
  },
};

function show(seen: Inspection, last: Inspection | undefined, json: boolean, out: Terminal): void {
  if (out.isTerminal && !json) return out.draw(described(seen, out));
  const what = changeOf(seen, last);
  if (what === undefined) return;
  const time = new Date().toISOString();
  out.line(json ? JSON.stringify({ time, ...plain(seen) }) : `${time}  ${what}`);
}

function changeOf(seen: Inspection, last: Inspection | undefined): string | undefined {
  const { holder, remainingMs } = seen;
  if (last !== undefined && last.holder === holder) {
    const isExtended = holder !== undefined && remainingMs > last.remainingMs;
    return isExtended ? `extended, for ${span(remainingMs)} more` : undefined;
  }
  if (holder === undefined) return last === undefined ? "free" : "released or expired";
  return `held by ${holder} for ${span(remainingMs)} more, fence ${seen.fence}`;
}
