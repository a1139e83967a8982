/**
 * A simulated client process: it runs only when something is delivered to it, a message or an alarm, so that stopping it for a while
 * is to deliver late. Its clocks are its machine's: a monotonic one with a rate, a wall clock that can be stepped, and one that counts
 * through suspends. A process that was killed never hears anything again.
 */
import type { Alarm, ClockSource } from "../clock/system-clock.ts";
import type { VirtualClock } from "../clock/virtual-clock.ts";

/** Any time will do; wall clocks of machines are never quite alike. */
const WALL_START_MS = 1_800_000_000_000;
/** The clock of a machine did not start with the simulation. */
const UPTIME_MS = 10_000;
/** /proc/uptime counts in hundredths of a second. */
const BOOT_GRID_MS = 10;

export class SimProcess {
  readonly name: string;
  /** Asked when a clock is read, for how long the process stands still right there; a fault to be injected. */
  hesitate: () => number = () => 0;
  /** How fast its locker's time runs against its monotonic clock, as its events say (`clock-rate`). */
  pace = 1;
  readonly #clock: VirtualClock;
  readonly #rate: number;
  #wallStepMs = 0;
  #suspendedMs = 0;
  #stoppedUntil = 0;
  #isAlive = true;
  readonly #suspensions: { readonly from: number; readonly ms: number }[] = [];
  #waiting: (() => void)[] = [];

  constructor(name: string, clock: VirtualClock, rate = 1) {
    this.name = name;
    this.#clock = clock;
    this.#rate = rate;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Its own present: ahead of the world's where it stood still in the middle of something. */
  get localNow(): number {
    return Math.max(this.#clock.now(), this.#stoppedUntil);
  }

  /** How fast the time of its locker runs. */
  get rate(): number {
    return this.#rate * this.pace;
  }

  /** Runs now, or when the process runs again, in the order of the calls; never once it was killed. */
  deliver(run: () => void): void {
    if (!this.#isAlive) return;
    if (this.#waiting.length === 0 && this.#clock.now() >= this.#stoppedUntil) return run();
    this.#waiting.push(run);
    if (this.#waiting.length === 1) this.#planDelivery();
  }

  /** Runs after so much of its machine's monotonic time. */
  after(delayMs: number, run: () => void): Alarm {
    const timer = this.#clock.at(this.localNow + delayMs / this.#rate, () => this.deliver(run));
    return { cancel: () => timer.cancel(), hold: () => {} };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Reads clocks without standing still at them: for those who watch the process, and are not part of it. */
  undisturbed<T>(look: () => T): T {
    const { hesitate } = this;
    this.hesitate = () => 0;
    try {
      return look();
    } finally {
      this.hesitate = hesitate;
    }
  }

  /** SIGSTOP, and SIGCONT so much later. */
  stop(ms: number): void {
    this.#stoppedUntil = this.localNow + ms;
  }

  /** SIGCONT, before a stop is over by itself. */
  continue(): void {
    this.#stoppedUntil = Math.min(this.#stoppedUntil, this.#clock.now());
    if (this.#waiting.length > 0) this.#planDelivery();
  }

  /** The whole machine sleeps: its monotonic clock stands still meanwhile. */
  suspend(ms: number): void {
    this.#suspensions.push({ from: this.localNow, ms });
    this.stop(ms);
    this.#suspendedMs += ms;
  }

  /** When something began that took so much of its locker's time and has ended by `end`. */
  beginOf(end: number, durationMs: number): number {
    let begin = end - durationMs / this.rate;
    for (const { from, ms } of this.#suspensions.toReversed()) if (from + ms > begin) begin -= ms;
    return begin;
  }

  /** In µs, and never going back: the clock of the memory mode. */
  micros(): number {
    return Math.floor((WALL_START_MS + (this.localNow - this.#suspendedMs) * this.#rate) * 1_000);
  }

  stepWall(ms: number): void {
    this.#wallStepMs += ms;
  }

  /** SIGKILL. */
  kill(): void {
    this.#isAlive = false;
    this.#waiting = [];
  }

  clocks(): ClockSource {
    const elapsed = () => {
      // Once in a turn: its own time must not run away from the world's.
      const ms = this.localNow > this.#clock.now() ? 0 : this.hesitate();
      if (ms > 0) this.stop(ms);
      return this.localNow;
    };
    return {
      monotonicMs: () => UPTIME_MS + (elapsed() - this.#suspendedMs) * this.#rate,
      wallMs: () => Math.floor(WALL_START_MS + this.#wallStepMs + elapsed() * this.#rate),
      bootMs: () => UPTIME_MS + Math.floor((elapsed() * this.#rate) / BOOT_GRID_MS) * BOOT_GRID_MS,
      alarm: (delayMs, ring) => this.after(delayMs, ring),
      close: () => {},
    };
  }

  #planDelivery(): void {
    this.#clock.at(this.localNow, () => {
      if (this.#clock.now() < this.#stoppedUntil) return this.#planDelivery();
      const run = this.#waiting.shift();
      // Another plan was quicker, after a stop that was cut short.
      if (this.#waiting.length > 0) this.#planDelivery();
      run?.();
    });
  }
}
