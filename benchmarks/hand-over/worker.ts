/** A process with some instances of one library, each with connections of its own: what the benchmark of hand-overs measures with. */
import { monotonicMs } from "../../src/chaos/machine/monotonic.ts";
import { serveClient } from "../../src/chaos/machine/processes.ts";
import { type Held, type Library, type LibraryName, openLibrary } from "../libraries.ts";

/** What one contender came to. */
export interface Turns {
  readonly turns: number;
  /** Acquires that its library gave up. */
  readonly failures: number;
  readonly longestWaitMs: number;
  /** When it first had the lock. */
  readonly firstAt: number | undefined;
}

const [name = "holdfast", urls = "[]", instances = "1"] = process.argv.slice(2);
const libraries = await Promise.all(
  Array.from({ length: Number(instances) }, () =>
    openLibrary(name as LibraryName, JSON.parse(urls) as string[]),
  ),
);
let held: Held | undefined;
// What a library rejects without being asked must not end a measurement.
process.on("unhandledRejection", () => {});

serveClient({
  prepare: () => libraries[0]?.prepare?.(),
  /** Resolves with when it had the lock. */
  async take(key: unknown): Promise<number> {
    held = await acquire(libraries[0], String(key), monotonicMs() + PATIENCE_MS);
    if (held === undefined) throw new Error(`${name} did not get a free lock in ${PATIENCE_MS} ms`);
    return monotonicMs();
  },
  /** Resolves with when it began to give it back. */
  async give(): Promise<number> {
    const at = monotonicMs();
    await held?.release();
    return at;
  },
  contend: (key: unknown, ms: unknown) =>
    Promise.all(libraries.map((library) => contend(library, String(key), monotonicMs() + Number(ms)))),
});

const TTL_MS = 10_000;
const PATIENCE_MS = 30_000;

/** Again and again, until it has it or the time is over: some libraries give up after a while. */
async function acquire(
  library: Library | undefined,
  key: string,
  end: number,
  failed: () => void = () => {},
): Promise<Held | undefined> {
  while (monotonicMs() < end) {
    try {
      return await library?.acquire({ key, ttlMs: TTL_MS, automatic: false });
    } catch {
      failed();
    }
  }
  return undefined;
}

/** A tight loop of empty sections. */
async function contend(library: Library, key: string, end: number): Promise<Turns> {
  let turns = 0;
  let failures = 0;
  let longestWaitMs = 0;
  let firstAt: number | undefined;
  while (monotonicMs() < end) {
    const began = monotonicMs();
    const lock = await acquire(library, key, end, () => failures++);
    const at = monotonicMs();
    longestWaitMs = Math.max(longestWaitMs, at - began);
    if (lock === undefined) break;
    firstAt ??= at;
    if (at < end) turns++;
    await lock.release().catch(() => {});
  }
  return { turns, failures, longestWaitMs, firstAt };
}
