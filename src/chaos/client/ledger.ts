/**
 * What one client asked, was told and did, as facts of the history. It knows every lease that may still be worked under, because an
 * extension, a loss or a jump of the client's clock moves the end of its validity.
 */
import { validityMs, type ValidityRules } from "../../clock/validity.ts";
import type { NodeReport } from "../../errors.ts";
import type { HoldfastEvent } from "../../events.ts";
import type { HistoryEvent, Operation } from "../../history/history.ts";
import type { Lease } from "../../lease/lease.ts";

export interface LedgerTerms {
  readonly client: string;
  /** From 1: a client that was killed and started anew has another one. */
  readonly life: number;
  /** By the clock of the history, ms. */
  readonly now: () => number;
  readonly record: (event: HistoryEvent) => void;
  /** How many grants a lease needs. */
  readonly quorum: number;
  readonly ttlMs: number;
  readonly rules: ValidityRules;
  /** The name a node has in the history, by its address. */
  readonly nameOf: (address: string) => string;
}

export class Ledger {
  readonly #terms: LedgerTerms;
  readonly #held = new Map<Operation, Lease>();
  /** What the nodes said, by the fence it was about: told right before the lease is handed out. */
  readonly #grants = new Map<number, readonly NodeReport[]>();
  #operations = 0;

  constructor(terms: LedgerTerms) {
    this.#terms = terms;
  }

  acquiring(keys: readonly string[], mustSucceed = false): Operation {
    const { client, life } = this.#terms;
    const op = `${client}#${life > 1 ? `${life}:` : ""}${++this.#operations}`;
    this.#record({ ...this.#fact(op), type: "acquiring", keys, mustSucceed });
    return op;
  }

  acquired(op: Operation, lease: Lease, minValidityMs: number): void {
    const { keys, holder, fence } = lease;
    const { quorum } = this.#terms;
    const fact = this.#fact(op);
    const leftMs = lease.remainingMs();
    const until = fact.at + leftMs;
    const remainingMs = Math.max(leftMs, this.#leftWhenReadMs(fence));
    this.#recordGrants(lease, fact.at, leftMs);
    this.#held.set(op, lease);
    this.#record({
      ...fact,
      type: "acquired",
      keys,
      holder,
      fence,
      quorum,
      until,
      remainingMs,
      minValidityMs,
    });
  }

  notAcquired(op: Operation, code: string): void {
    this.#record({ ...this.#fact(op), type: "not-acquired", code });
  }

  asked(op: Operation, lease: Lease): boolean {
    const fact = this.#fact(op);
    const isHeld = lease.isHeld();
    this.#record({ ...fact, type: "asked", isHeld });
    return isHeld;
  }

  counted(op: Operation, key: string, read: number): void {
    this.#record({ ...this.#fact(op), type: "counted", key, read });
  }

  releasing(op: Operation): void {
    this.#held.delete(op);
    this.#record({ ...this.#fact(op), type: "releasing" });
  }

  released(op: Operation, outcome: string): void {
    this.#record({ ...this.#fact(op), type: "released", outcome });
  }

  /** For the observer of the client's locker. */
  heard(event: HoldfastEvent): void {
    if (event.type === "acquired") this.#grants.set(event.fence, event.nodes);
    else if (event.type === "clock-jump" || event.type === "clock-rate") this.#jumped();
    else if (event.type === "extended") this.#extended(event);
    else if (event.type === "lost") this.#lost(event);
  }

  #extended({ fence, durationMs }: HoldfastEvent & { type: "extended" }): void {
    const [op, lease] = this.#find(fence) ?? [];
    if (op === undefined || lease === undefined) return;
    const fact = this.#fact(op);
    const startedAt = fact.at - durationMs;
    const until = fact.at + lease.remainingMs();
    this.#record({ ...fact, type: "extended", startedAt, startedBy: startedAt, until });
  }

  #lost({ fence, cause, marginMs }: HoldfastEvent & { type: "lost" }): void {
    const [op] = this.#find(fence) ?? [];
    if (op === undefined) return;
    const fact = this.#fact(op);
    this.#record({ ...fact, type: "lost", cause, until: fact.at + marginMs });
    if (cause === "gone") this.#held.delete(op);
  }

  #jumped(): void {
    for (const [op, lease] of this.#held) {
      const fact = this.#fact(op);
      this.#record({ ...fact, type: "shortened", until: fact.at + lease.remainingMs() });
    }
  }

  /**
   * What was left when the q-th grant had been read. A process can be stopped between its last look at the clock and here: what it decided
   * on counts, not what its pause has left of it.
   */
  #leftWhenReadMs(fence: number): number {
    const { quorum, ttlMs, rules } = this.#terms;
    const latencies = (this.#grants.get(fence) ?? []).flatMap(({ verdict, latencyMs }) =>
      verdict === "granted" && latencyMs !== undefined ? [latencyMs] : [],
    );
    const decisive = latencies.sort((a, b) => a - b)[quorum - 1];
    return decisive === undefined ? 0 : validityMs(ttlMs, rules) - decisive;
  }

  /** Executed some time after the attempt began, which was when its validity began, and before now. */
  #recordGrants({ keys, holder, fence }: Lease, at: number, remainingMs: number): void {
    const { ttlMs, rules, nameOf } = this.#terms;
    const beganAt = at - Math.max(0, validityMs(ttlMs, rules) - remainingMs);
    for (const { node, verdict } of this.#grants.get(fence) ?? []) {
      if (verdict !== "granted") continue;
      const vote = { type: "vote", request: "acquire", vote: "granted" } as const;
      const [before, after] = [keys.map(() => null), keys.map(() => holder)];
      this.#record({ at: beganAt, by: at, node: nameOf(node), keys, holder, before, after, ...vote });
    }
    this.#grants.clear();
  }

  #find(fence: number): [Operation, Lease] | undefined {
    return [...this.#held].find(([, lease]) => lease.fence === fence);
  }

  #fact(op: Operation): { at: number; client: string; op: Operation } {
    return { at: this.#terms.now(), client: this.#terms.client, op };
  }

  #record(event: HistoryEvent): void {
    this.#terms.record(event);
  }
}
