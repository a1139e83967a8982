/**
 * Which leases the present async context works under, known by AsyncLocalStorage. What that proves: the present code was started, at
 * whatever distance, from within the body of a `using`. What it does not prove: that the body waits for it. A queue, an event emitter or a
 * batch loader runs the tasks of strangers in the context of whoever came before them. So a context opens a lock only to those who asked
 * for that (`reentrant`); to all others it is a remark in an error.
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

/** The lease all keys are held under; or the part of them that is held here, which is empty for strangers. */
export type Found = Lease | readonly string[];

export class Reentry {
  find(nodeKeys: readonly string[]): Found {
    const tenures = this.#tenures();
    const whole = tenures.find(({ nodeKeys: held }) => nodeKeys.every((key) => held.includes(key)));
    return whole?.lease ?? nodeKeys.filter((key) => tenures.some(({ nodeKeys: held }) => held.includes(key)));
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

/** The leases of all lockers that the present code works under, by its async context: for what people are told, never for decisions. */
export function leasesAround(): readonly Lease[] {
  const leases: Lease[] = [];
  for (let tenure = unended(contexts.getStore()); tenure !== undefined; tenure = tenure.outer)
    if (tenure.lease !== undefined) leases.push(tenure.lease);
  return leases;
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
