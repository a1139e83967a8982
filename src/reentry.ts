/**
 * Which leases the present async context works under: a nested `using` of a key that is held already goes on under the same lease, where
 * otherwise it would wait for itself until its time is over. Known by AsyncLocalStorage, so that it follows the calls and awaits of the
 * body and nobody else's.
 */
import { AsyncLocalStorage } from "node:async_hooks";

import type { Lease } from "./lease/lease.ts";

/** One `using` around the present code; the innermost first. */
interface Tenure {
  readonly of: Reentry;
  readonly nodeKeys: readonly string[];
  /** Until the body has ended: promises made under it may be kept for long, and must not keep the lease. */
  lease: Lease | undefined;
  outer: Tenure | undefined;
}

/**
 * One for all lockers of the process: before Node 24 every promise copies the value of every storage that was ever used, so that with
 * one for each of 200 lockers a lease cost 30 ms of CPU, and a locker that is closed would go on costing.
 */
const contexts = new AsyncLocalStorage<Tenure | undefined>();

/** `some`: part of the keys is held here and part is not, which can only be waited for in vain. */
export type Found = Lease | "some" | undefined;

export class Reentry {
  /** The lease all these keys are held under, if they are. */
  find(nodeKeys: readonly string[]): Found {
    let holdsSome = false;
    for (const { nodeKeys: held, lease } of this.#tenures()) {
      if (nodeKeys.every((key) => held.includes(key))) return lease;
      holdsSome ||= nodeKeys.some((key) => held.includes(key));
    }
    return holdsSome ? "some" : undefined;
  }

  /** How many `using` of this key the present code is in. */
  depth(nodeKey: string): number {
    return this.#tenures().filter(({ nodeKeys }) => nodeKeys.includes(nodeKey)).length;
  }

  async run<T>(nodeKeys: readonly string[], lease: Lease, body: () => T | Promise<T>): Promise<T> {
    const tenure: Tenure = { of: this, nodeKeys, lease, outer: unended(contexts.getStore()) };
    try {
      return await contexts.run(tenure, body);
    } finally {
      tenure.lease = undefined;
    }
  }

  #tenures(): readonly Tenure[] {
    const tenures: Tenure[] = [];
    for (let tenure = unended(contexts.getStore()); tenure !== undefined; tenure = tenure.outer)
      if (tenure.of === this) tenures.push(tenure);
    return tenures;
  }
}

/**
 * The innermost that is not over, and every one around it without those that are: work may outlive the `using` it was started in, and a
 * job that starts its successor inside its own `using` would otherwise remember all its ancestors.
 */
function unended(tenure: Tenure | undefined): Tenure | undefined {
  if (tenure === undefined) return undefined;
  tenure.outer = unended(tenure.outer);
  const { lease, outer } = tenure;
  return lease === undefined || lease.isOver ? outer : tenure;
}
