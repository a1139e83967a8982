/**
 * The obvious alternative, to show that the explorer finds what is wrong with it: every node counts its grants (INCR), the token is the
 * largest count of a quorum, and it is written back to the nodes, which takes as long as messages take.
 */
import type { Model, Step } from "./explore.ts";

const QUORUM = 2;
const FREE = -1;

interface Node {
  readonly count: number;
  readonly holder: number;
}

interface Attempt {
  readonly phase: "idle" | "asking" | "holds" | "over";
  /** By node: the count it answered with; 0 before. */
  readonly counts: readonly number[];
  readonly token: number;
  readonly leastToken: number;
}

interface State {
  readonly nodes: readonly Node[];
  readonly attempts: readonly Attempt[];
}

export function counterModel(counts: readonly number[], attempts: number): Model<State> {
  const idle: Attempt = { phase: "idle", counts: [0, 0, 0], token: 0, leastToken: 0 };
  const initial: State = {
    nodes: counts.map((count) => ({ count, holder: FREE })),
    attempts: Array.from({ length: attempts }, () => idle),
  };
  return { initial: [initial], encode, steps };
}

function steps(state: State): Step<State>[] {
  return state.attempts.flatMap((attempt, index) => {
    switch (attempt.phase) {
      case "idle":
        return [begin(state, index)];
      case "asking":
        return [...arrivals(state, index), ...count(state, index)];
      case "holds":
        return [giveBack(state, index), ...writeBacks(state, index)];
      case "over":
        return [];
    }
  });
}

function begin(state: State, index: number): Step<State> {
  const tokens = state.attempts.map(({ phase, token }) =>
    phase === "holds" || phase === "over" ? token : 0,
  );
  const leastToken = Math.max(0, ...tokens);
  return changed(state, index, { phase: "asking", leastToken }, `attempt ${index + 1} asks`);
}

/** A request comes to a node, and its answer back. */
function arrivals(state: State, index: number): Step<State>[] {
  return state.nodes.flatMap(({ count: before, holder }, node) => {
    const attempt = state.attempts[index];
    if (holder !== FREE || attempt === undefined || attempt.counts[node] !== 0) return [];
    const nodes = state.nodes.with(node, { count: before + 1, holder: index });
    const counts = attempt.counts.with(node, before + 1);
    return [
      changed(
        { ...state, nodes },
        index,
        { counts },
        `n${node + 1} grants attempt ${index + 1} with count ${before + 1}`,
      ),
    ];
  });
}

function count(state: State, index: number): Step<State>[] {
  const { counts, leastToken } = state.attempts[index] ?? { counts: [], leastToken: 0 };
  if (counts.filter((each) => each > 0).length < QUORUM) return [];
  const token = Math.max(...counts);
  const step = changed(
    state,
    index,
    { phase: "holds", token },
    `attempt ${index + 1} HOLDS the lock with token ${token}`,
  );
  // An equal token would break S3 already; the worse case is the one to show.
  if (token >= leastToken) return [step];
  return [
    { ...step, violation: `S2: attempt ${index + 1} has token ${token} after a lease with ${leastToken}` },
  ];
}

/** The token is written to one node more; the others may never hear of it. */
function writeBacks(state: State, index: number): Step<State>[] {
  const { token } = state.attempts[index] ?? { token: 0 };
  return state.nodes.flatMap((node, place) =>
    node.count >= token
      ? []
      : [
          {
            what: `token ${token} is written back to n${place + 1}`,
            state: { ...state, nodes: state.nodes.with(place, { ...node, count: token }) },
          },
        ],
  );
}

function giveBack(state: State, index: number): Step<State> {
  const nodes = state.nodes.map((node) => (node.holder === index ? { ...node, holder: FREE } : node));
  return changed({ ...state, nodes }, index, { phase: "over" }, `attempt ${index + 1} gives back`);
}

function changed(state: State, index: number, change: Partial<Attempt>, what: string): Step<State> {
  const attempt = state.attempts[index];
  if (attempt === undefined) throw new Error("no such attempt");
  return { what, state: { ...state, attempts: state.attempts.with(index, { ...attempt, ...change }) } };
}

const PHASES: readonly Attempt["phase"][] = ["idle", "asking", "holds", "over"];

function encode({ nodes, attempts }: State): number {
  let code = 0;
  for (const { count: each, holder } of nodes) code = code * 32 + each * 4 + holder + 1;
  for (const { phase, counts, token, leastToken } of attempts) {
    for (const each of counts) code = code * 7 + each;
    code = (code * 4 + PHASES.indexOf(phase)) * 49 + token * 7 + leastToken;
  }
  if (!Number.isSafeInteger(code)) throw new Error("the scope is too large for its encoding");
  return code;
}
