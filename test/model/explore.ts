/**
 * Tests try some interleavings, and a lock breaks in the one nobody thought of. In a small scope all of them can be tried: this
 * explorer visits, breadth first, every state a model can reach, and shows the shortest way to a broken promise. It knows nothing
 * of locks, except that nodes are interchangeable: states that differ in the order of their nodes only are one state.
 */
import { at } from "./bit-fields.ts";
import { StateStore } from "./state-store.ts";

/** Some 32-bit words; the first ones are the nodes, one word each, and each says all that tells its node from another. */
export type State = Uint32Array;

/** Reports one thing that may happen: the state it leads to (copied by the receiver), its code, and the promise it breaks. */
export type Take = (next: State, action: number, broken?: string) => void;

export interface Model {
  readonly nodes: number;
  readonly initial: State;
  /** Calls `take` for everything that may happen in `state`. */
  steps(state: State, take: Take): void;
  /** What happened, for people. */
  describe(action: number): string;
  show(state: State): string;
}

export interface Exploration {
  readonly states: number;
  readonly transitions: number;
  /** The shortest way to a broken promise; undefined where every state was visited and none is broken. */
  readonly counterexample: Counterexample | undefined;
}

interface Counterexample {
  readonly property: string;
  readonly trace: readonly string[];
}

/** Where something broke: in a step from the state at `from` in the store. */
interface Break {
  readonly property: string;
  readonly from: number;
}

/** `looksFor`: other broken promises are stepped over, as the model goes on after them. Default: any. */
export function explore(model: Model, looksFor?: string): Exploration {
  const store = new StateStore(model.initial.length);
  const state = model.initial.slice();
  let transitions = 0;
  let from = 0;
  let found: Break | undefined;
  const take: Take = (next, _action, broken) => {
    transitions++;
    if (broken !== undefined && (looksFor ?? broken) === broken) found ??= { property: broken, from };
    sortNodes(next, model.nodes);
    store.add(next, from);
  };
  sortNodes(state, model.nodes);
  store.add(state, 0);
  for (; from < store.size && found === undefined; from++) {
    store.read(from, state);
    model.steps(state, take);
  }
  const counterexample = found && { property: found.property, trace: retell(model, store, found) };
  return { states: store.size, transitions, counterexample };
}

/** The canonical order of interchangeable nodes; by insertion, since there are few of them. */
function sortNodes(state: State, nodes: number): void {
  for (let end = 1; end < nodes; end++) {
    const word = at(state, end);
    let node = end;
    for (; node > 0 && at(state, node - 1) > word; node--) state[node] = at(state, node - 1);
    state[node] = word;
  }
}

interface Step {
  readonly next: State;
  readonly action: number;
  readonly broken: string | undefined;
}

/** Goes the way again without sorting, so that a node keeps its name from line to line. */
function retell(model: Model, store: StateStore, found: Break): string[] {
  const trace = [line("start", model.show(model.initial))];
  let state = model.initial;
  const go = (isIt: (step: Step) => boolean) => {
    const { next, action } = firstStep(model, state, isIt);
    trace.push(line(model.describe(action), model.show(next)));
    state = next;
  };
  for (const index of store.path(found.from).slice(1)) {
    const goal = store.read(index, new Uint32Array(state.length));
    go(({ next }) => isSame(sorted(next, model.nodes), goal));
  }
  go(({ broken }) => broken === found.property);
  return trace;
}

function line(what: string, state: string): string {
  return `${what.padEnd(24)}${state}`;
}

function firstStep(model: Model, state: State, isIt: (step: Step) => boolean): Step {
  const steps: Step[] = [];
  model.steps(state, (next, action, broken) => steps.push({ next: next.slice(), action, broken }));
  const step = steps.find(isIt);
  if (step === undefined) throw new Error("the model does not treat its nodes alike");
  return step;
}

function sorted(state: State, nodes: number): State {
  const copy = state.slice();
  sortNodes(copy, nodes);
  return copy;
}

function isSame(one: State, other: State): boolean {
  return one.every((word, index) => word === other[index]);
}
