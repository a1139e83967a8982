/**
 * Where a scenario happens: real processes, containers, a user's own nodes, or a simulation. The runner knows nothing else of it, and a
 * world knows nothing of scenarios.
 */
import type { Journal } from "./journal.ts";
import type { Cue, Fault } from "./scenario.ts";

export interface World {
  /** `n1`, `n2` … */
  readonly nodes: readonly string[];
  /** `c1`, `c2` … */
  readonly clients: readonly string[];
  readonly journal: Journal;
  /** By the clock of the history, ms. */
  now(): number;
  sleep(ms: number): Promise<void>;
  /** Lets time pass until the work is done: on a virtual clock nothing happens by itself. */
  run<T>(work: Promise<T>): Promise<T>;
  /** Nodes and clients are there, and every client works. */
  begin(): Promise<void>;
  /** Resolves when it has happened. */
  inflict(fault: Fault): Promise<void>;
  /** Resolves when what passes by itself has passed. */
  passed(): Promise<void>;
  /** A request, its reply or a notice, that is kept back when it comes. */
  intercept(cue: WireCue): Interception;
  /** Every client ends what it does. */
  rest(): Promise<void>;
  /** Every client that lives takes the lock once. */
  confirm(waitMs: number): Promise<void>;
  /** Waits until no node has a lock of a living client any more, at most so long; what is left goes into the journal. */
  settle(waitMs: number): Promise<void>;
  /** What must not happen and is no property: a client that failed, in words. */
  readonly troubles: readonly string[];
  close(): Promise<void>;
}

/** Something on its way between a client and a node. */
export type WireCue = Extract<Cue, { node: number }>;

export interface Interception {
  /** Resolves when it is kept back. */
  readonly caught: Promise<void>;
  /** Lets it go on its way, or stops waiting for it. */
  release(): void;
}
