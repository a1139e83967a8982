/**
 * The clocks and the timers of this machine, as they are: a program under test often replaces the global ones (fake timers of Vitest, Jest
 * and sinon, a DOM), and a locker that took over a fake clock would believe its locks for as long as that stands still, and lose every timer
 * with it. So they are taken from Node's own modules, once, when this module is loaded.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { performance } from "node:perf_hooks";
import * as nodeTimers from "node:timers";

import type { Alarm, ClockSource } from "./system-clock.ts";

const loaded = { setTimeout: nodeTimers.setTimeout, clearTimeout: nodeTimers.clearTimeout };
/** Where fakes were there before this module, whatever is global when a timer is set: they may have been taken away again by then. */
const areTimersReal = !isFake(loaded.setTimeout);
/** Where the Date is a fake, a wall clock that never steps. */
const wallNow: () => number = isFake(Date)
  ? () => Math.floor(performance.timeOrigin + performance.now())
  : Date.now.bind(Date);

/** How the fakes of Vitest, Jest and sinon, which are all `@sinonjs/fake-timers`, and the mocks of older Jests are known. */
function isFake(global: object): boolean {
  return "clock" in global || "_isMockFunction" in global;
}

export class MachineClocks implements ClockSource {
  readonly #buffer = Buffer.alloc(64);
  /** Elsewhere than on Linux the monotonic clock counts through suspends itself (macOS, Windows), so none is needed. */
  #uptime = openUptime();

  monotonicMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return wallNow();
  }

  close(): void {
    const uptime = this.#uptime;
    this.#uptime = undefined;
    try {
      if (uptime !== undefined) closeSync(uptime);
    } catch {
      // It is gone all the same: a file system in user space (lxcfs) that has died answers everything with an error.
    }
  }

  alarm(delayMs: number, ring: () => void): Alarm {
    const clear = areTimersReal ? loaded.clearTimeout : clearTimeout;
    // What a DOM's setTimeout makes is a number.
    const timeout: Partial<Pick<NodeJS.Timeout, "ref" | "unref">> | number = areTimersReal
      ? loaded.setTimeout(ring, delayMs)
      : setTimeout(ring, delayMs);
    return {
      cancel: () => clear(timeout as NodeJS.Timeout),
      hold: (isNeeded) => {
        if (typeof timeout === "object") void (isNeeded ? timeout.ref?.() : timeout.unref?.());
      },
    };
  }

  /** /proc/uptime on an open descriptor; os.uptime() would open it anew each time. Throws what reading it throws. */
  bootMs(): number | undefined {
    if (this.#uptime === undefined) return undefined;
    const length = readSync(this.#uptime, this.#buffer, 0, this.#buffer.length, 0);
    const text = this.#buffer.toString("latin1", 0, length);
    return UPTIME.test(text) ? Number.parseFloat(text) * 1_000 : Number.NaN;
  }
}

/** Seconds since the boot in hundredths, and the idle time of all processors. */
const UPTIME = /^\d+\.\d\d /;

function openUptime(): number | undefined {
  try {
    return openSync("/proc/uptime", "r");
  } catch {
    return undefined;
  }
}

/** For what keeps other people's times, never for decisions on locks: settles so much later. */
export async function pause(delayMs: number): Promise<void> {
  for (let leftMs = delayMs; leftMs > 0; leftMs -= TIMER_MS_MAX)
    await new Promise<void>((resolve) => setTimeout(resolve, Math.min(leftMs, TIMER_MS_MAX)));
}

/** Node takes longer ones for 1 ms. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Of this process, in ms: for measuring how long something took. */
export function monotonicMs(): number {
  return performance.now();
}

/** The machine's wall clock, in ms since the epoch: for what other people's formats want, never for decisions. */
export function wallMs(): number {
  return wallNow();
}

/** µs since the epoch at the start of the process plus what has passed since: never goes back, whatever the wall clock does. */
export function processMicros(): number {
  return Math.floor((performance.timeOrigin + performance.now()) * 1_000);
}
