/**
 * What happened, as a list of facts in the order of one clock that all share: a simulation's, or CLOCK_MONOTONIC of a machine. Written
 * one JSON line each; the checkers read nothing else. Times are ms of that clock.
 */

/** One call of acquire and the lease it may have brought; unique in its history. */
export type Operation = string;

export type HistoryEvent =
  | (ClientFact & {
      readonly type: "acquiring";
      readonly keys: readonly string[];
      readonly mustSucceed: boolean;
    })
  | (ClientFact & {
      readonly type: "acquired";
      readonly keys: readonly string[];
      readonly holder: string;
      readonly fence: number;
      readonly quorum: number;
      /** When its validity ends, if nothing extends or shortens it. */
      readonly until: number;
      /** Of the validity when the grant was decided; a client that stood still since then has less. */
      readonly remainingMs: number;
      readonly minValidityMs: number;
      /** The operation whose lease it goes on with, under the same holder and fence (H1). */
      readonly adopts?: Operation;
    })
  /** The client let go of it for somebody else to adopt, and no longer works under it. */
  | (ClientFact & { readonly type: "detached" })
  | (ClientFact & { readonly type: "not-acquired"; readonly code: string })
  /** Begun in [startedAt, startedBy]: who stood still while reading its clock cannot say whether before or after. */
  | (ClientFact & {
      readonly type: "extended";
      readonly startedAt: number;
      readonly startedBy: number;
      readonly until: number;
    })
  /** The client's clock jumped: the validity ends at another time than was said. */
  | (ClientFact & { readonly type: "shortened"; readonly until: number })
  | (ClientFact & { readonly type: "lost"; readonly cause: string; readonly until: number })
  /** What the lease said when it was asked. */
  | (ClientFact & { readonly type: "asked"; readonly isHeld: boolean })
  /** The client no longer works under it. */
  | (ClientFact & { readonly type: "releasing" })
  | (ClientFact & { readonly type: "released"; readonly outcome: string })
  /** A write has come to the resource, which stores it or refuses its fence. */
  | (ClientFact & {
      readonly type: "write";
      readonly key: string;
      readonly fence: number;
      readonly isStored: boolean;
    })
  | { readonly at: number; readonly type: "crashed"; readonly client: string }
  /** Just before a validity ended: how many nodes could have granted its keys to somebody else. */
  | {
      readonly at: number;
      readonly type: "open-nodes";
      readonly op: Operation;
      readonly open: number;
      readonly quorum: number;
    }
  | VoteFact
  | { readonly at: number; readonly type: "memory-lost"; readonly node: string; readonly silentUntil: number }
  | { readonly at: number; readonly type: "fault"; readonly fault: string; readonly target: string }
  /** From now on, or no longer, a node or a client is in this condition; healthy is who is in none. */
  | {
      readonly at: number;
      readonly type: "condition";
      readonly target: string;
      readonly condition: Condition;
      readonly isOn: boolean;
    }
  /** A client has read a counter that checks no fences, and stored one more. */
  | (ClientFact & { readonly type: "counted"; readonly key: string; readonly read: number })
  /** When nobody worked under it any more, and all was at rest, a node had this lock still. */
  | {
      readonly at: number;
      readonly type: "left-behind";
      readonly node: string;
      readonly key: string;
      readonly holder: string;
    }
  /**
   * From here on conditions of nodes are complete, and a free key that is wanted is somebody's within `promptMs`, while `quorum` of `nodes` are
   * able to vote. A node is able `returnMs` after its last condition. `lockMs`: how long a lock stays that nobody gave back.
   */
  | {
      readonly at: number;
      readonly type: "pace";
      readonly nodes: readonly string[];
      readonly quorum: number;
      readonly promptMs: number;
      readonly returnMs: number;
      readonly lockMs: number;
    }
  /** From here on no fault is injected, and every earlier one was healed. */
  | { readonly at: number; readonly type: "healed" };

/**
 * Of nodes: `down` has no process, `hung` answers nothing, `empty` has lost its memory and waits to be admitted, `quarantined` was
 * admitted and is silent, `cut off` is behind a broken network, `slow` behind a slow one, `clock off` tells a wrong time, `demoted`
 * is a replica, `full` stores nothing new, `locked` turns clients away. Of clients: `stopped`, `blocked`, `down`, `clock off`.
 */
export type Condition =
  | "down"
  | "hung"
  | "empty"
  | "quarantined"
  | "cut off"
  | "slow"
  | "clock off"
  | "demoted"
  | "full"
  | "locked"
  | "stopped"
  | "blocked";

interface ClientFact {
  readonly at: number;
  readonly client: string;
  readonly op: Operation;
}

/** A node executed a request. */
export interface VoteFact {
  readonly at: number;
  /** Between `at` and this, where only its client was watched. */
  readonly by?: number;
  readonly type: "vote";
  readonly node: string;
  readonly request: "acquire" | "exchange" | "extend" | "release";
  readonly keys: readonly string[];
  readonly holder: string;
  /** Of an exchange: the holder that may give the key on. */
  readonly from?: string;
  /** `granted`, or why not; `owed` is a release that left no whole tombstone (R2). */
  readonly vote: string;
  /** Who had each key before and after; null where nobody had it. */
  readonly before: readonly (string | null)[];
  readonly after: readonly (string | null)[];
}

export type History = readonly HistoryEvent[];

/** A lease, put together from its facts. */
export interface LeaseRecord {
  readonly op: Operation;
  readonly client: string;
  readonly keys: readonly string[];
  readonly holder: string;
  readonly fence: number;
  readonly invokedAt: number;
  readonly acquiredAt: number;
  /** The lease may have been worked under in [acquiredAt, endedAt). */
  readonly endedAt: number;
}

/** All leases, in the order in which they were acquired. */
export function leasesOf(history: History): LeaseRecord[] {
  const book = new LeaseBook();
  for (const event of history) book.enter(event);
  return book.leases();
}

type Draft = { -readonly [field in keyof LeaseRecord]: LeaseRecord[field] };

class LeaseBook {
  readonly #invokedAt = new Map<Operation, number>();
  readonly #drafts = new Map<Operation, Draft>();
  /** Those that may still be worked under. */
  readonly #living = new Map<Operation, Draft>();

  leases(): LeaseRecord[] {
    return [...this.#drafts.values()];
  }

  enter(event: HistoryEvent): void {
    switch (event.type) {
      case "acquiring":
        this.#invokedAt.set(event.op, event.at);
        return;
      case "acquired":
        return this.#begin(event);
      case "extended":
      case "shortened":
        return this.#move(event.op, event.until);
      case "releasing":
      case "detached":
        return this.#end(event.op, event.at);
      case "lost":
        if (event.cause === "gone") this.#end(event.op, event.at);
        return;
      case "crashed":
        return this.#endAllOf(event.client, event.at);
      default:
        return;
    }
  }

  #begin({ op, client, keys, holder, fence, at, until }: HistoryEvent & { type: "acquired" }): void {
    const invokedAt = this.#invokedAt.get(op) ?? at;
    const draft = { op, client, keys, holder, fence, invokedAt, acquiredAt: at, endedAt: until };
    this.#drafts.set(op, draft);
    this.#living.set(op, draft);
  }

  #move(op: Operation, until: number): void {
    const draft = this.#living.get(op);
    if (draft !== undefined) draft.endedAt = until;
  }

  #end(op: Operation, at: number): void {
    const draft = this.#living.get(op);
    if (draft === undefined) return;
    draft.endedAt = Math.min(draft.endedAt, at);
    this.#living.delete(op);
  }

  #endAllOf(client: string, at: number): void {
    for (const draft of this.#living.values()) if (draft.client === client) this.#end(draft.op, at);
  }
}
