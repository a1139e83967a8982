/**
 * Time, as the rest of the library sees it: one number that only grows, and a way to be called at a later one.
 * Everything that decides on time takes a `Clock` as a parameter, so that the same code runs on the machine's clocks
 * (system-clock.ts) and from event to event on a virtual one (virtual-clock.ts).
 */

/** Milliseconds on a client's elapsed clock, with fractions. Only differences between instants of one clock mean anything. */
export type Instant = number;

export interface Timer {
  /** Idempotent; a cancelled timer never runs. */
  cancel(): void;
}

export interface Clock {
  /** The elapsed clock of rule L6, read with every check for steps and suspends. All decisions on validity use this. */
  now(): Instant;
  /** A cheaper reading without those checks, never ahead of `now()`: for measurements, never for decisions. */
  glance(): Instant;
  /** Runs `run` once, not before `instant`. */
  at(instant: Instant, run: () => void): Timer;
}

/** Of an event loop: sockets are read between two timers that are so far apart. */
const A_TURN_MS = 1;

/**
 * Runs `run` when the instant has passed and what had arrived by then has been read. A process that stood still comes to its timers
 * before it comes to its sockets: it would take its own pause for the others' silence.
 */
export function deadline(clock: Clock, instant: Instant, run: () => void): Timer {
  let timer = clock.at(instant, () => (timer = clock.at(clock.glance() + A_TURN_MS, run)));
  return { cancel: () => timer.cancel() };
}

const SETTLED = Promise.resolve();

/**
 * Runs `run` when the present code has ended, before anything else happens. A promise cannot be faked: `queueMicrotask` is taken by fake
 * timers (Jest's by default), and what was left to it under them never runs. `run` must not throw.
 */
export function soon(run: () => void): void {
  void SETTLED.then(run);
}

/** Something to wait for that ends by itself: settles when told to, or after `timeoutMs` (may be Infinity), whichever comes first. */
export class Latch {
  readonly settled: Promise<undefined>;
  readonly #timer: Timer | undefined;
  #resolve: (value: undefined) => void = () => {};

  constructor(clock: Clock, timeoutMs: number) {
    this.settled = new Promise((resolve) => (this.#resolve = resolve));
    if (timeoutMs < Infinity)
      this.#timer = clock.at(clock.glance() + timeoutMs, () => this.#resolve(undefined));
  }

  settle(): void {
    this.#timer?.cancel();
    this.#resolve(undefined);
  }
}

/** Resolves `delayMs` later, or as soon as one of the signals aborts; never rejects and leaves no listener behind. */
export async function sleep(
  clock: Clock,
  delayMs: number,
  signals: readonly AbortSignal[] = [],
): Promise<void> {
  if (signals.some((signal) => signal.aborted)) return;
  await settledOrAborted(new Latch(clock, delayMs), signals);
}

/** Waits for the latch; one of the signals settles it as well. Never rejects and leaves no listener behind. */
export async function settledOrAborted(latch: Latch, signals: readonly AbortSignal[]): Promise<void> {
  const wake = () => latch.settle();
  if (signals.some((signal) => signal.aborted)) wake();
  for (const signal of signals) signal.addEventListener("abort", wake);
  await latch.settled;
  for (const signal of signals) signal.removeEventListener("abort", wake);
}
