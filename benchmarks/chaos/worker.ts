/**
 * A process with one library, told what to do by the comparison. It says when it has the lock, by its own library's word, and when not
 * any more. What its library rejects without being asked is counted, not fatal: that, too, is behaviour.
 */
import { monotonicMs } from "../../src/chaos/machine/monotonic.ts";
import { serveClient } from "../../src/chaos/machine/processes.ts";
import { type Held, type LibraryName, openLibrary } from "../libraries.ts";
import type { AcquireAnswer, ClaimNews } from "./messages.ts";

const [name = "holdfast", urls = "[]"] = process.argv.slice(2);
const library = await openLibrary(name as LibraryName, JSON.parse(urls) as string[]);
/** How often the library is asked whether it still has the lock. */
const LOOK_MS = 5;
let held: Held | undefined;
let isClaimed = false;
let rejections = 0;
process.on("unhandledRejection", () => rejections++);
process.on("uncaughtException", () => rejections++);

const tell = serveClient({
  prepare: () => library.prepare?.(),
  async acquire(key: unknown, ttlMs: unknown, automatic: unknown): Promise<AcquireAnswer> {
    const began = monotonicMs();
    const terms = { key: String(key), ttlMs: Number(ttlMs), automatic: automatic === true };
    try {
      const mine = await library.acquire({ ...terms, lost: () => claim(false, "told") });
      held = mine;
      claim(true, "acquired");
      return { isHeld: true, began, at: monotonicMs(), error: undefined };
    } catch (error) {
      return { isHeld: false, began, at: monotonicMs(), error: wordsOf(error) };
    }
  },
  async extend(ttlMs: unknown): Promise<string | undefined> {
    if (held?.extend === undefined) return "no such call";
    try {
      await held.extend(Number(ttlMs));
      return undefined;
    } catch (error) {
      return wordsOf(error);
    }
  },
  async release(): Promise<string | undefined> {
    claim(false, "released");
    try {
      await held?.release();
      return undefined;
    } catch (error) {
      return wordsOf(error);
    }
  },
  redisKey: (key: unknown) => library.redisKey(String(key)),
  rejections: () => rejections,
});

setInterval(() => {
  if (isClaimed && held?.isHeld() !== true) claim(false, "its time was over");
}, LOOK_MS);

function claim(isHeld: boolean, why: ClaimNews["why"]): void {
  // A loss that is told after the end is news all the same: it is how late it was.
  if (isHeld === isClaimed && why !== "told") return;
  isClaimed = isHeld;
  const news: ClaimNews = { at: monotonicMs(), isHeld, why };
  tell("claim", news);
}

function wordsOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n")[0]?.slice(0, 120) ?? "";
}
