/**
 * Which leases the present async context works under: a nested `using` of a key that is held already goes on under the same lease, where
 * otherwise it would wait for itself until its time is over. Known by AsyncLocalStorage, so that it follows the calls and awaits of the
 * body and nobody else's.
 */
import { AsyncLocalStorage } from "node:async_hooks";

import type { Lease } from "./lease/lease.ts";

/** One `using` around the present code; the innermost first. */
interface Tenure {
  readonly nodeKeys: readonly string[];
  readonly lease: Lease;
  readonly outer: Tenure | undefined;
}

/** `some`: part of the keys is held here and part is not, which can only be waited for in vain. */
export type Found = Lease | "some" | undefined;

export class Reentry {
  readonly #contexts = new AsyncLocalStorage<Tenure>();

  /** The lease all these keys are held under, if they are. */
  find(nodeKeys: readonly string[]): Found {
    let holdsSome = false;
    for (let tenure = this.#contexts.getStore(); tenure !== undefined; tenure = tenure.outer) {
      if (tenure.lease.isOver) continue; // Work that outlived the `using` it was started in.
      const { nodeKeys: held } = tenure;
      if (nodeKeys.every((key) => held.includes(key))) return tenure.lease;
      holdsSome ||= nodeKeys.some((key) => held.includes(key));
    }
    return holdsSome ? "some" : undefined;
  }

  /** How many `using` of this key the present code is in. */
  depth(nodeKey: string): number {
    let depth = 0;
    for (let tenure = this.#contexts.getStore(); tenure !== undefined; tenure = tenure.outer)
      if (!tenure.lease.isOver && tenure.nodeKeys.includes(nodeKey)) depth++;
    return depth;
  }

  run<T>(nodeKeys: readonly string[], lease: Lease, body: () => T): T {
    return this.#contexts.run({ nodeKeys, lease, outer: this.#contexts.getStore() }, body);
  }
}
