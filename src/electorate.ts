/**
 * The contract of a mode: how its nodes are asked as one. `quorum/` asks many and counts, `single/` asks one. Declared by its
 * consumer, the grantor, which knows what a won or lost poll means for a lock. Types only.
 */
import type { LockNode, Request, Vote } from "./node/lock-node.ts";

export interface Poll {
  /** What node `index` is asked; undefined leaves it out, as if it had faulted unasked. */
  request(index: number): Request | undefined;
  /** False: asked, but its grant does not count (a top-up, rule E2). Default: every grant counts. */
  counts?(index: number): boolean;
  readonly timeoutMs: number;
  /**
   * Rule C3: an attempt that a quorum of nodes has not decided is over when the others are silent for longer than they usually are. Not for
   * what must not be left unknown: an extension waits for every node until the timeout.
   */
  readonly isAttempt?: boolean;
  /** Rule C7: one node must grant before the others are asked. */
  readonly gated?: boolean;
  /** A vote that came after the verdict or after the timeout, once per node at most. */
  late(index: number, vote: Vote): void;
}

export interface Ballot {
  readonly won: boolean;
  /**
   * By node: its vote; undefined where none has come, or none was asked. What the verdict was based on when it falls; votes that come after
   * it are put in too, for reports, so that decisions must be made at once.
   */
  readonly votes: readonly (Vote | undefined)[];
  /** By node: whether the question was put. */
  readonly asked: readonly boolean[];
  /** Settles when every node that was asked has voted, which a hung one may never do. */
  complete(): Promise<void>;
}

export interface Electorate {
  readonly nodes: readonly LockNode[];
  /** How many grants win. */
  readonly quorum: number;
  /** Settles on the verdict, at the timeout at the latest; never rejects. */
  poll(poll: Poll): Promise<Ballot>;
}
