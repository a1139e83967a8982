/** `holdfast bench`: what a lock costs on your own nodes, from this host. */
import type { Command } from "./command.ts";
import { EXIT, UsageError } from "./exit.ts";
import { duration, NODE_FLAGS, parsed, withLocker } from "./flags.ts";
import { table } from "./terminal.ts";

const HELP = `usage: holdfast bench [--at 1,10,100] [--for 3s] [--json] [--nodes ...]

Takes and gives back locks as fast as it goes, so many at once, each on a key of its own (holdfast-bench:...), and tells how long one takes
and how many there are a second. On nodes in use it takes their time from others. Comparisons with other libraries: npm run bench in the
project.

  --at 1,10,100   so many at once (default 1,10,100)
  --for 3s        so long for each (default 3s)

exit codes: 0 measured, ${EXIT.unreachable} no quorum of nodes may vote`;

interface Figures {
  readonly atOnce: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly perSecond: number;
  readonly failed: number;
}

export const benchCommand: Command = {
  name: "bench",
  summary: "what a lock costs on your nodes, from here",
  help: HELP,
  run: async (args, out) => {
    const { values, positionals } = parsed(args, {
      ...NODE_FLAGS,
      at: { type: "string", default: "1,10,100" },
      for: { type: "string", default: "3s" },
    });
    if (positionals.length > 0) throw new UsageError(`unexpected ${JSON.stringify(positionals[0])}`);
    const counts = values.at.split(",").map(Number);
    if (!counts.every((count) => Number.isInteger(count) && count >= 1 && count <= 10_000))
      throw new UsageError(`--at must be numbers from 1 to 10000, got ${JSON.stringify(values.at)}`);
    const ms = duration("--for", values.for);
    const interrupted = new AbortController();
    process.once("SIGINT", () => interrupted.abort());
    return withLocker(values, async (locker) => {
      const all: Figures[] = [];
      await locker.acquire("holdfast-bench:first").then((lease) => lease.release());
      for (const atOnce of counts) {
        if (interrupted.signal.aborted) return EXIT.interrupted;
        const pair = (key: string) =>
          locker.acquire(key, { signal: interrupted.signal }).then((lease) => lease.release());
        all.push(await measured(pair, atOnce, ms, interrupted.signal));
      }
      out.line(values.json ? JSON.stringify({ runs: all }) : tableOf(all));
      return EXIT.ok;
    });
  },
};

async function measured(
  pair: (key: string) => Promise<unknown>,
  atOnce: number,
  ms: number,
  signal: AbortSignal,
): Promise<Figures> {
  const times: number[] = [];
  let failed = 0;
  const began = performance.now();
  const work = async (_: unknown, index: number): Promise<void> => {
    while (performance.now() - began < ms && !signal.aborted) {
      const asked = performance.now();
      await pair(`holdfast-bench:${process.pid}:${index}`).then(
        () => times.push(performance.now() - asked),
        () => failed++,
      );
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  const perSecond = (1_000 * times.length) / (performance.now() - began);
  times.sort((a, b) => a - b);
  const quantile = (q: number): number => times[Math.floor(q * (times.length - 1))] ?? Number.NaN;
  return { atOnce, p50Ms: quantile(0.5), p99Ms: quantile(0.99), perSecond, failed };
}

function tableOf(all: readonly Figures[]): string {
  const rows = all.map(({ atOnce, p50Ms, p99Ms, perSecond, failed }) => [
    String(atOnce),
    p50Ms.toFixed(2),
    p99Ms.toFixed(2),
    perSecond.toFixed(0),
    String(failed),
  ]);
  return table([["at once", "p50 ms", "p99 ms", "locks/s", "failed"], ...rows]);
}
