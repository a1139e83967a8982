/**
 * The machine's clocks as one elapsed clock (rule L6). No single one will do: the monotonic clock stops while the machine is
 * suspended, the wall clock may step. Elapsed time follows the monotonic clock and adds every forward jump of the wall or the
 * boot clock against it, so it is never behind any of the three; a step back of the wall changes nothing. A step forward makes
 * leases end early: safe, and reported through `onJump`. Where the nodes' clocks are seen to run faster than all of these (they are
 * slewed together, see rate-watch.ts), elapsed time runs as fast as the nodes'.
 */
import { messageOf } from "../errors.ts";
import type { Clock, Instant, Timer } from "./clock.ts";
import type { Paced } from "./rate-watch.ts";
import { TimerQueue } from "./timer-queue.ts";

/** The clocks of a machine, in ms, and its way to wake somebody up. */
export interface ClockSource {
  monotonicMs(): number;
  wallMs(): number;
  /** Counts through suspends; undefined where the platform has no such clock. A hint: it may fail, throw, or be nonsense. */
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

/** An alarm that has not rung so long after its time was lost: a fake took it, or the event loop was blocked, and a second one does no harm. */
const OVERDUE_MS = 250;

export class SystemClock implements Clock, Paced {
  readonly #source: ClockSource;
  readonly #onJump: (jumpMs: number) => void;
  readonly #onHintDropped: (detail: string) => void;
  /** An empty queue must not keep the process alive; the alarm itself stays set, since the next timer will want one. */
  readonly #queue = new TimerQueue(() => this.#alarm?.hold(false));
  readonly #wall = new JumpDetector(WALL_NOISE_MS);
  readonly #boot = new JumpDetector(BOOT_NOISE_MS);
  #pace = 1;
  #ahead = 0;
  #wallOffset = Number.NaN;
  /** The monotonic time at which it was read; Infinity once it was dropped. */
  #bootReadAt = -Infinity;
  #hasWallMovedSinceBoot = true;
  #alarm: Alarm | undefined;
  #wakeAt = Infinity;
  /** After this the alarm is taken for lost. */
  #overdueAt = Infinity;

  constructor(
    source: ClockSource,
    onJump: (jumpMs: number) => void = () => {},
    onHintDropped: (detail: string) => void = () => {},
  ) {
    this.#onJump = onJump;
    this.#onHintDropped = onHintDropped;
    this.#source = source;
    this.now();
  }

  now(): Instant {
    const { monotonicMs, wallMs } = this.#together();
    const wallOffset = wallMs - monotonicMs;
    const hasWallMoved = this.#hasMoved(wallOffset);
    if (hasWallMoved) this.#hasWallMovedSinceBoot = true;
    const bootJump =
      hasWallMoved || monotonicMs - this.#bootReadAt >= BOOT_EVERY_MS ? this.#bootJump(monotonicMs) : 0;
    // The machine slept between the two readings: both clocks say so when they are read again, and it counts once.
    if (bootJump === "again") return this.now();
    const jump = hasWallMoved ? Math.max(this.#wall.jump(wallOffset), bootJump) : bootJump;
    if (hasWallMoved) this.#wallOffset = wallOffset;
    if (jump > 0) {
      this.#ahead += jump;
      this.#onJump(jump);
    }
    const now = monotonicMs * this.#pace + this.#ahead;
    if (now > this.#overdueAt) this.#arm();
    return now;
  }

  glance(): Instant {
    return this.#source.monotonicMs() * this.#pace + this.#ahead;
  }

  get pace(): number {
    return this.#pace;
  }

  follow(pace: number, lostMs: number): void {
    const monotonicMs = this.#source.monotonicMs();
    this.#ahead += monotonicMs * (this.#pace - pace) + lostMs;
    this.#pace = pace;
    this.#cancelAlarm(); // It was set for a clock of another pace.
    this.#arm();
  }

  at(instant: Instant, run: () => void): Timer {
    const timer = this.#queue.add(instant, run);
    this.#arm();
    return timer;
  }

  /** Forgets all timers and closes the descriptor; the clock can still be read. */
  close(): void {
    this.#queue.clear();
    this.#cancelAlarm();
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

  /** False for what is no time. */
  #hasMoved(wallOffset: number): boolean {
    const isStill = Math.abs(wallOffset - this.#wallOffset) <= WALL_NOISE_MS;
    return !isStill && Number.isFinite(wallOffset);
  }

  /**
   * By how much the boot clock has jumped. It is a hint that may lie: /proc/uptime is a container's own in some places, and comes and goes
   * there. A suspend moves the wall clock too, by itself or by the step that takes it back; what the boot clock alone has seen is none.
   */
  #bootJump(monotonicMs: number): number | "again" {
    const offset = this.#bootOffset();
    if (offset === undefined) return 0;
    this.#bootReadAt = monotonicMs;
    const isAlone = !this.#hasWallMovedSinceBoot;
    if (!isAlone) this.#hasWallMovedSinceBoot = false;
    else if (this.#boot.isSlow(offset)) return this.#dropBoot("it runs slower than the monotonic clock");
    else if (this.#boot.isJump(offset)) {
      const { monotonicMs: later, wallMs } = this.#together();
      if (this.#hasMoved(wallMs - later)) return "again";
      return this.#dropBoot(`it jumped by ${this.#boot.peek(offset)} ms, which no other clock saw`);
    }
    return this.#boot.jump(offset);
  }

  /** Against the monotonic clock; undefined where there is none, or no reading that was not interrupted. */
  #bootOffset(): number | undefined {
    for (let tries = READING_TRIES; tries > 0 && this.#bootReadAt < Infinity; tries--) {
      const monotonicMs = this.#source.monotonicMs();
      const bootMs = this.#readBoot();
      if (bootMs === undefined) return undefined;
      if (this.#source.monotonicMs() - monotonicMs < 1) return bootMs - monotonicMs;
    }
    return undefined;
  }

  #readBoot(): number | undefined {
    try {
      const bootMs = this.#source.bootMs();
      if (bootMs === undefined || Number.isFinite(bootMs)) return bootMs;
      this.#dropBoot("what it says is no time");
    } catch (error) {
      this.#dropBoot(`it cannot be read: ${messageOf(error)}`);
    }
    return undefined;
  }

  /** For good: what has failed or lied once is no witness. The wall clock remains. */
  #dropBoot(detail: string): 0 {
    this.#bootReadAt = Infinity;
    this.#onHintDropped(detail);
    return 0;
  }

  #arm(): void {
    const now = this.glance();
    if (now > this.#overdueAt) this.#cancelAlarm();
    const next = this.#queue.next();
    if (next === undefined) return;
    const wakeAt = Math.min(next, now + RECHECK_MS);
    if (this.#alarm !== undefined && this.#wakeAt <= wakeAt) return this.#alarm.hold(true);
    this.#cancelAlarm();
    this.#wakeAt = wakeAt;
    this.#overdueAt = Math.max(now, wakeAt) + OVERDUE_MS;
    const delayMs = Math.max(0, Math.ceil((wakeAt - now) / this.#pace));
    this.#alarm = this.#source.alarm(delayMs, () => this.#wake());
  }

  #cancelAlarm(): void {
    this.#alarm?.cancel();
    this.#alarm = undefined;
    this.#overdueAt = Infinity;
  }

  #wake(): void {
    this.#alarm = undefined;
    this.#overdueAt = Infinity;
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
    const jump = this.peek(offset);
    if (jump > 0 && jump <= this.#noiseMs) return 0;
    this.#reference = offset;
    return Math.max(0, jump);
  }

  /** How far it is from where it was, before that is noted. */
  peek(offset: number): number {
    return offset - (this.#reference ?? offset);
  }

  isJump(offset: number): boolean {
    return this.peek(offset) > this.#noiseMs;
  }

  isSlow(offset: number): boolean {
    return this.peek(offset) < -this.#noiseMs;
  }
}
