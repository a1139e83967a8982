/**
 * What one client knows at first hand of the memories behind one name (rules G6 to G8): which server answered there last, whether another one did
 * since, and how long ago, by the client's own clock, the present memory began. Wall clocks of nodes may leap, and names may lead elsewhere and
 * back; neither makes a memory older than this client has seen it grow. Pure: instants are arguments.
 */
import type { Instant } from "../clock/clock.ts";
import type { Marker } from "./lock-node.ts";

interface Acquaintance {
  readonly sinceUs: number;
  readonly incarnation: string;
  /** When this client asked for the marker first, and when it had read it; how old the memory was somewhere in between. */
  readonly askedAt: Instant;
  readonly metAt: Instant;
  readonly ageMs: number;
}

/** A node's clock may be so much ahead of this client's measurement before that counts as a leap: pauses of either side, and drift. */
const LEAP_MS_MIN = 1_000;

export class MemoryWatch {
  #server: string | undefined;
  #heardAt: Instant = -Infinity;
  /** When another server than the present one was last heard under this name. */
  #otherHeardAt: Instant = -Infinity;
  #memory: Acquaintance | undefined;
  #silenceMs = 0;
  #isSilenceOver = false;

  /** The server that was met last has answered. */
  heard(at: Instant): void {
    this.#heardAt = at;
  }

  /** `server` (its run id) answers under this name now. */
  meet(server: string, at: Instant): void {
    if (this.#server !== undefined && this.#server !== server) {
      this.#otherHeardAt = this.#heardAt;
      this.#memory = undefined;
    }
    this.#server = server;
    this.#heardAt = at;
  }

  /** The present memory is taken for one that nobody stood in for since it began; `nowUs` is the node's time. */
  accept({ incarnation, sinceUs }: Marker, nowUs: number, askedAt: Instant, readAt: Instant): void {
    // Judged once: measured again by a clock that was corrected meanwhile, it would seem to have begun too early.
    this.#otherHeardAt = -Infinity;
    if (this.#memory?.incarnation === incarnation && this.#memory.sinceUs === sinceUs) return;
    const ageMs = Math.max(0, (nowUs - sinceUs) / 1_000);
    this.#memory = { incarnation, sinceUs, askedAt, metAt: readAt, ageMs };
    this.#silenceMs = 0;
    this.#isSilenceOver = false;
  }

  /** G6: a memory that began before this node time may lack what another server granted under this name; 0 where no other was met. */
  notBeforeUs(nowUs: number, at: Instant): number {
    if (this.#otherHeardAt === -Infinity) return 0;
    return Math.ceil(nowUs - (at - this.#otherHeardAt) * 1_000);
  }

  /** G8: the node time before which the memory did not begin, by this client's clock; 0 unless the node's has leapt ahead of it. */
  youngSinceUs({ incarnation, sinceUs }: Marker, nowUs: number, at: Instant, driftFactor: number): number {
    const memory = this.#memory;
    if (this.#isSilenceOver || memory?.incarnation !== incarnation || memory.sinceUs !== sinceUs) return 0;
    // At most so old: counted from the question, since the answer may have waited to be read.
    const ageMs = memory.ageMs + (at - memory.askedAt);
    const leapMs = (nowUs - sinceUs) / 1_000 - ageMs;
    return leapMs > LEAP_MS_MIN + driftFactor * ageMs ? Math.floor(nowUs - ageMs * 1_000) : 0;
  }

  /**
   * N2: how old the memory must be to vote for this client: the most that was asked for until it was that old once. What is granted elsewhere
   * later is nothing it could have forgotten.
   */
  silenceMs(wantedMs: number): number {
    if (!this.#isSilenceOver) this.#silenceMs = Math.max(this.#silenceMs, wantedMs);
    return this.#silenceMs;
  }

  /** The memory is as old as that, by the node's clock and by this client's. */
  endSilence(): void {
    this.#isSilenceOver = true;
  }

  /** When it is old enough by this client's clock. */
  oldEnoughAt(silenceMs: number): Instant {
    const memory = this.#memory;
    return memory === undefined ? -Infinity : memory.metAt + silenceMs - memory.ageMs;
  }
}

/** N3: the largest ttl of what a node may have granted and has not seen expire. */
export function outstandingTtlMs({ ttlMs, earlierTtlMs, turnUs }: Marker, nowUs: number): number {
  if (nowUs < turnUs) return Math.max(ttlMs, earlierTtlMs);
  return nowUs < turnUs + ttlMs * 1_000 ? ttlMs : 0;
}
