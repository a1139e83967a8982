/**
 * What the library tells about itself: one discriminated union, sent to the `observer` of a locker and to the diagnostics
 * channel `holdfast`. Metrics and tracing are built on these alone. Contention is an outcome here, never an error.
 */
import { channel } from "node:diagnostics_channel";

import type { LossCause, NodeReport } from "./errors.ts";

export type HoldfastEvent =
  | {
      readonly type: "acquired";
      readonly keys: readonly string[];
      readonly holder: string;
      readonly fence: number;
      readonly attempts: number;
      /** From the call to the lease. */
      readonly waitedMs: number;
      /** Validity left when the lease was handed out. */
      readonly remainingMs: number;
      readonly nodes: readonly NodeReport[];
    }
  | {
      readonly type: "acquire-failed";
      readonly keys: readonly string[];
      /** Code of the error the caller got, `CONTENDED` where `tryAcquire` answered undefined, `ABORTED` where the caller gave up. */
      readonly code: string;
      readonly attempts: number;
      readonly waitedMs: number;
      readonly nodes: readonly NodeReport[];
    }
  | {
      readonly type: "extended";
      readonly keys: readonly string[];
      readonly fence: number;
      readonly durationMs: number;
      readonly remainingMs: number;
    }
  | {
      readonly type: "extension-failed";
      readonly keys: readonly string[];
      readonly fence: number;
      readonly outcome: "lost" | "unknown";
      readonly remainingMs: number;
      readonly nodes: readonly NodeReport[];
    }
  | {
      readonly type: "lost";
      readonly keys: readonly string[];
      readonly fence: number;
      readonly cause: LossCause;
      /** Validity left when the loss was signalled; 0 where it had already ended. */
      readonly marginMs: number;
    }
  | {
      readonly type: "released";
      readonly keys: readonly string[];
      readonly fence: number;
      readonly outcome: "released" | "expired" | "uncertain" | "detached";
      readonly heldMs: number;
      /** How long the release took. */
      readonly durationMs: number;
      /** Validity left when the release began. */
      readonly remainingMs: number;
    }
  | {
      readonly type: "node";
      readonly node: string;
      readonly state: "connecting" | "unreachable" | "excluded" | "unadmitted" | "quarantined" | "admitted";
      readonly detail: string;
    }
  /** How far a node's clock is ahead of the median of the nodes, each time it is met: every five seconds at least. */
  | { readonly type: "node-clock"; readonly node: string; readonly skewMs: number }
  /** A node was admitted by a client with other options; what either promises is then no more than the weaker one keeps. */
  | { readonly type: "mixed-options"; readonly node: string; readonly own: string; readonly others: string }
  /** The client's clocks jumped forward: a suspend, or a step of the wall clock. Leases end that much earlier. */
  | { readonly type: "clock-jump"; readonly jumpMs: number }
  /**
   * Most nodes' clocks run `rate` times as fast as this client's: NTP slows it down (or all of theirs up). Leases are counted at their rate
   * from now on, so that they end that much earlier. Told from 1.01 on, at every change, and with 1 when it is over.
   */
  | { readonly type: "clock-rate"; readonly rate: number }
  /** A clock that suspends are seen by (/proc/uptime) failed or was wrong, and is not asked any more; the wall clock still is. */
  | { readonly type: "clock-dropped"; readonly clock: "boot"; readonly detail: string };

export type Observer = (event: HoldfastEvent) => void;

/** Name of the diagnostics channel. */
export const CHANNEL_NAME = "holdfast";

/** Sends events; asks for them only when somebody listens. An observer that throws is warned about once and never harms a lock. */
export class Events {
  readonly #observer: Observer | undefined;
  readonly #channel = channel(CHANNEL_NAME);
  #warned = false;

  constructor(observer?: Observer) {
    this.#observer = observer;
  }

  /** Whether there is any use in making events. */
  get isHeard(): boolean {
    return this.#observer !== undefined || this.#channel.hasSubscribers;
  }

  emit(make: () => HoldfastEvent): void {
    if (!this.isHeard) return;
    const event = make();
    this.#channel.publish(event);
    try {
      this.#observer?.(event);
    } catch (error) {
      this.#warn(error);
    }
  }

  #warn(error: unknown): void {
    if (this.#warned) return;
    this.#warned = true;
    process.emitWarning(`the observer given to holdfast threw: ${String(error)}`, {
      code: "HOLDFAST_OBSERVER",
    });
  }
}
