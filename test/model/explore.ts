/** Every state that can be reached, breadth first, so that the first violation found is one of the shortest. Knows nothing of locks. */

export interface Model<S> {
  readonly initial: readonly S[];
  /** A number that is the same for states that need not be told apart. */
  readonly encode: (state: S) => number;
  /** Every step that can be taken, in words for a person who reads a counterexample. */
  readonly steps: (state: S) => readonly Step<S>[];
}

export interface Step<S> {
  readonly what: string;
  readonly state: S;
  /** What this step breaks, if it does. */
  readonly violation?: string | undefined;
}

export interface Exploration {
  readonly states: number;
  readonly transitions: number;
  /** The way to the first violation, and what it is; empty where there is none. */
  readonly counterexample: readonly string[];
}

interface Reached<S> {
  readonly state: S;
  readonly what: string;
  readonly from: Reached<S> | undefined;
}

export function explore<S>(model: Model<S>): Exploration {
  const known = new Set<number>();
  let frontier: Reached<S>[] = [];
  let transitions = 0;
  const reach = (state: S, what: string, from: Reached<S> | undefined, into: Reached<S>[]) => {
    const code = model.encode(state);
    if (known.has(code)) return;
    known.add(code);
    into.push({ state, what, from });
  };
  for (const state of model.initial) reach(state, "start", undefined, frontier);
  while (frontier.length > 0) {
    const next: Reached<S>[] = [];
    for (const reached of frontier) {
      for (const { what, state, violation } of model.steps(reached.state)) {
        transitions++;
        if (violation !== undefined)
          return { states: known.size, transitions, counterexample: [...wayTo(reached), what, violation] };
        reach(state, what, reached, next);
      }
    }
    frontier = next;
  }
  return { states: known.size, transitions, counterexample: [] };
}

function wayTo<S>(reached: Reached<S>): string[] {
  const steps: string[] = [];
  for (let at: Reached<S> | undefined = reached; at?.from !== undefined; at = at.from) steps.unshift(at.what);
  return steps;
}
