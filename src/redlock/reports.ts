/** What the nodes said to an acquire, kept from its event until the lock is made. */
import type { NodeReport } from "../errors.ts";
import type { HoldfastEvent } from "../events.ts";

export class Reports {
  readonly #byHolder = new Map<string, readonly NodeReport[]>();

  /** Events come in the turn in which the lease is handed out, so that few are ever kept. */
  hear(event: HoldfastEvent): void {
    if (event.type === "acquired") this.#byHolder.set(event.holder, event.nodes);
    if (event.type === "released" || event.type === "lost") this.#forgetOldest();
  }

  take(holder: string): readonly NodeReport[] {
    const reports = this.#byHolder.get(holder) ?? [];
    this.#byHolder.delete(holder);
    return reports;
  }

  /** Of a lock that was given back before anybody saw it. */
  #forgetOldest(): void {
    const [oldest] = this.#byHolder.keys();
    if (this.#byHolder.size > KEPT_MAX && oldest !== undefined) this.#byHolder.delete(oldest);
  }
}

const KEPT_MAX = 10_000;
