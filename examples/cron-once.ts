/**
 * Every host's cron starts this at the same minute; one host does the work, once. The lock keeps them from doing it at the same time. That
 * it was done must be remembered as well, since the second host may come after the first has finished and released.
 */
import { createLocker, loadConfig } from "holdfast";

const done = new Set<string>(); // Your database: a table with the job's name and date as its key.

async function nightly(host: string, date: string): Promise<string> {
  await using locker = createLocker({ ...loadConfig(), owner: host });
  const lease = await locker.tryAcquire(`report:${date}`, { autoExtend: true });
  if (lease === undefined) return `${host}: somebody else does it`;
  try {
    if (done.has(date)) return `${host}: was done before`;
    lease.assertHeld(1_000); // right before what must happen once
    done.add(date);
    return `${host}: did it`;
  } finally {
    await lease.release();
  }
}

const date = "2026-11-21";
console.log((await Promise.all(["web-1", "web-2", "web-3"].map((host) => nightly(host, date)))).join("\n"));
console.log(await nightly("web-4", date)); // comes late
