/** What the clients see of the nodes, as one: a node is in quarantine as long as one of them is told so. */
import type { Condition } from "../../history/history.ts";
import type { NodeSighting } from "../client/terms.ts";
import type { Journal } from "../journal.ts";

const CONDITIONS: Readonly<Record<string, Condition>> = { unadmitted: "empty", quarantined: "quarantined" };

export class Sightings {
  readonly #journal: Journal;
  readonly #now: () => number;
  /** By node and client. */
  readonly #states = new Map<string, Map<string, Condition | undefined>>();

  constructor(journal: Journal, now: () => number) {
    this.#journal = journal;
    this.#now = now;
  }

  saw(client: string, { node, state }: NodeSighting): void {
    const states = this.#states.get(node) ?? new Map<string, Condition | undefined>();
    this.#states.set(node, states.set(client, CONDITIONS[state]));
    this.#tell(node, states);
  }

  /** Whoever is gone sees nothing any more. */
  gone(client: string): void {
    for (const [node, states] of this.#states) if (states.delete(client)) this.#tell(node, states);
  }

  #tell(node: string, states: Map<string, Condition | undefined>): void {
    const seen = [...states.values()];
    for (const condition of Object.values(CONDITIONS))
      this.#journal.condition(this.#now(), node, condition, seen.includes(condition));
  }
}
