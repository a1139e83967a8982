/**
 * The machine's clocks as one elapsed clock (rule L6). No single one will do: the monotonic clock stops while the machine is
 * suspended, the wall clock may step. Elapsed time follows the monotonic clock and adds every forward jump of the wall or the
 * boot clock against it, so it is never behind any of the three; a step back of the wall changes nothing. A step forward makes
 * leases end early: safe, and reported through `onJump`.
 */
import { closeSync, openSync, readSync } from "node:fs";

import type { Clock, Instant, Timer } from "./clock.ts";
import { TimerQueue } from "./timer-queue.ts";

/** The clocks of a machine, in ms, and its way to wake somebody up. */
export interface ClockSource {
  monotonicMs(): number;
  wallMs(): number;
  /** Counts through suspends; undefined where the platform has no such clock. */
  bootMs(): number | undefined;
  alarm(delayMs: number, ring: () => void): Alarm;
  close(): void;
}

export interface Alarm {
  cancel(): void;
  /** Whether the process must stay alive for it. */
  hold(isNeeded: boolean): void;
}

/** Date.now() is truncated to 1 ms and the clocks are read up to 1 ms apart: smaller differences are not steps. */
const WALL_NOISE_MS = 2;
/** /proc/uptime counts in 10 ms; plus the same noise. */
const BOOT_NOISE_MS = 12;
/**
 * The boot clock costs ten times as much to read as the others (a system call, and a file). A suspend shows in the wall clock too, so
 * it is read when the wall has moved against the monotonic clock, either way, and otherwise once in this time: what could be missed
 * for so long is a suspend whose every millisecond a step of the wall took back meanwhile.
 */
const BOOT_EVERY_MS = 10;
/** No timer sleeps longer, so that a suspend or a step is noticed within this time even when nobody asks. */
const RECHECK_MS = 1_000;

export class SystemClock implements Clock {
  readonly #source: ClockSource;
  readonly #onJump: (jumpMs: number) => void;
  /** An empty queue must not keep the process alive; the alarm itself stays set, since the next timer will want one. */
  readonly #queue = new TimerQueue(() => this.#alarm?.hold(false));
  readonly #wall = new JumpDetector(WALL_NOISE_MS);
  readonly #boot = new JumpDetector(BOOT_NOISE_MS);
  #ahead = 0;
  #wallOffset = Number.NaN;
  #bootReadAt = -Infinity;
  #alarm: Alarm | undefined;
  #wakeAt = Infinity;

  constructor(source: ClockSource, onJump: (jumpMs: number) => void = () => {}) {
    this.#onJump = onJump;
    this.#source = source;
    this.now();
  }

  now(): Instant {
    const { monotonicMs, wallMs } = this.#together();
    const wallOffset = wallMs - monotonicMs;
    const hasWallMoved = !(Math.abs(wallOffset - this.#wallOffset) <= WALL_NOISE_MS);
    const bootJump = hasWallMoved || monotonicMs - this.#bootReadAt >= BOOT_EVERY_MS ? this.#bootJump() : 0;
    const jump = hasWallMoved ? Math.max(this.#wall.jump(wallOffset), bootJump) : bootJump;
    if (hasWallMoved) this.#wallOffset = wallOffset;
    if (jump > 0) {
      this.#ahead += jump;
      this.#onJump(jump);
    }
    return monotonicMs + this.#ahead;
  }

  glance(): Instant {
    return this.#source.monotonicMs() + this.#ahead;
  }

  at(instant: Instant, run: () => void): Timer {
    const timer = this.#queue.add(instant, run);
    this.#arm();
    return timer;
  }

  /** Forgets all timers and closes the descriptor; the clock can still be read. */
  close(): void {
    this.#queue.clear();
    this.#alarm?.cancel();
    this.#alarm = undefined;
    this.#source.close();
  }

  /** Clocks cannot be read at once; a pause between two readings would look like a jump, so they are repeated. */
  #together(): { monotonicMs: number; wallMs: number } {
    for (let tries = READING_TRIES; ; tries--) {
      const monotonicMs = this.#source.monotonicMs();
      const wallMs = this.#source.wallMs();
      if (tries === 1 || this.#source.monotonicMs() - monotonicMs < 1) return { monotonicMs, wallMs };
    }
  }

  #bootJump(): number {
    for (let tries = READING_TRIES; ; tries--) {
      const monotonicMs = this.#source.monotonicMs();
      const bootMs = this.#source.bootMs();
      if (bootMs === undefined) return 0;
      this.#bootReadAt = monotonicMs;
      if (tries === 1 || this.#source.monotonicMs() - monotonicMs < 1)
        return this.#boot.jump(bootMs - monotonicMs);
    }
  }

  #arm(): void {
    const next = this.#queue.next();
    if (next === undefined) return;
    const now = this.glance();
    const wakeAt = Math.min(next, now + RECHECK_MS);
    if (this.#alarm !== undefined && this.#wakeAt <= wakeAt) return this.#alarm.hold(true);
    this.#alarm?.cancel();
    this.#wakeAt = wakeAt;
    this.#alarm = this.#source.alarm(Math.max(0, Math.ceil(wakeAt - now)), () => this.#wake());
  }

  #wake(): void {
    this.#alarm = undefined;
    const now = this.now();
    try {
      for (let run = this.#queue.takeDue(now); run !== undefined; run = this.#queue.takeDue(now)) run();
    } finally {
      this.#arm();
    }
  }
}

const READING_TRIES = 3;

/** Sees forward jumps of one clock against the monotonic one. Steps back move the reference down and count as nothing. */
class JumpDetector {
  readonly #noiseMs: number;
  #reference: number | undefined;

  constructor(noiseMs: number) {
    this.#noiseMs = noiseMs;
  }

  jump(offset: number): number {
    const before = this.#reference ?? offset;
    const jump = offset - before;
    if (jump > 0 && jump <= this.#noiseMs) return 0;
    this.#reference = offset;
    return Math.max(0, jump);
  }
}

export class MachineClocks implements ClockSource {
  readonly #uptime = openUptime();
  readonly #buffer = Buffer.alloc(64);
  #open = true;

  monotonicMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  close(): void {
    if (this.#open && this.#uptime !== undefined) closeSync(this.#uptime);
    this.#open = false;
  }

  alarm(delayMs: number, ring: () => void): Alarm {
    const timeout = setTimeout(ring, delayMs);
    return {
      cancel: () => clearTimeout(timeout),
      hold: (isNeeded) => void (isNeeded ? timeout.ref() : timeout.unref()),
    };
  }

  /** /proc/uptime on an open descriptor; os.uptime() would open it anew each time. */
  bootMs(): number | undefined {
    if (!this.#open || this.#uptime === undefined) return undefined;
    const length = readSync(this.#uptime, this.#buffer, 0, this.#buffer.length, 0);
    const end = this.#buffer.indexOf(SPACE);
    return end > 0 && end < length ? Number(this.#buffer.toString("latin1", 0, end)) * 1_000 : undefined;
  }
}

const SPACE = 0x20;

/** Elsewhere than on Linux the monotonic clock counts through suspends itself (macOS, Windows), so none is needed. */
function openUptime(): number | undefined {
  try {
    return openSync("/proc/uptime", "r");
  } catch {
    return undefined;
  }
}

/** Of this process, in ms: for measuring how long something took. */
export function monotonicMs(): number {
  return performance.now();
}

/** The machine's wall clock, in ms since the epoch: for what other people's formats want, never for decisions. */
export function wallMs(): number {
  return Date.now();
}

/** µs since the epoch at the start of the process plus what has passed since: never goes back, whatever the wall clock does. */
export function processMicros(): number {
  return Math.floor((performance.timeOrigin + performance.now()) * 1_000);
}
