/** The history of a run while it is being made: what comes in is kept, and whoever waits for something is told when it is there. */
import type { Condition, History, HistoryEvent } from "../history/history.ts";

export class Journal {
  readonly #events: HistoryEvent[] = [];
  readonly #conditions = new Set<string>();
  readonly #listeners = new Set<() => void>();

  /** How many events there are: a place from which to look on. */
  get length(): number {
    return this.#events.length;
  }

  add(event: HistoryEvent): void {
    this.#events.push(event);
    for (const listener of this.#listeners) listener();
  }

  /** Told once, however often it is said. */
  condition(at: number, target: string, condition: Condition, isOn: boolean): void {
    const name = `${target} ${condition}`;
    if (this.#conditions.has(name) === isOn) return;
    if (isOn) this.#conditions.add(name);
    else this.#conditions.delete(name);
    this.add({ at, type: "condition", target, condition, isOn });
  }

  is(target: string, condition: Condition): boolean {
    return this.#conditions.has(`${target} ${condition}`);
  }

  countSince(place: number, matches: (event: HistoryEvent) => boolean): number {
    let count = 0;
    for (let index = place; index < this.#events.length; index++) {
      const event = this.#events[index];
      if (event !== undefined && matches(event)) count++;
    }
    return count;
  }

  /** Called at every event from now on, until it is called off. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** In the order of time: processes tell what happened when they get round to it. */
  history(): History {
    return this.#events.toSorted((a, b) => a.at - b.at);
  }
}

/** `c1#7` is an operation of c1, and `c1#58e16cc6` a holder of it. */
export function clientOf(name: string): string {
  return name.slice(0, name.indexOf("#"));
}
