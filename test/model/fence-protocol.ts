/**
 * The fence rule as a model: two clients with two attempts each on three nodes. What was sent once may arrive at any time, any number
 * of times or never; a lock may vanish from a node at any moment, as if it had expired; nobody's clock is trusted. What a node does is
 * asked of the production code (node-state.ts), once for each state and request, and remembered.
 *
 * Proposals may stand in any order, equal ones included: all orders are explored. A lease exists from the moment at which its client
 * may have counted a quorum of grants, so a grant that is on its way counts as one that has come.
 */
import { NodeState, type NodeTerms } from "../../src/node/node-state.ts";
import type { Model, Step } from "./explore.ts";

const NODES = 3;
const QUORUM = 2;
const FREE = -1;

/** A node's memory, as far as one key goes: the holder is an attempt's number. */
interface NodeMemory {
  readonly fence: number;
  readonly holder: number;
}

export type NodeRule = (
  memory: NodeMemory,
  request: "acquire" | "release",
  attempt: number,
  proposal: number,
) => Outcome;

interface Outcome {
  readonly memory: NodeMemory;
  readonly isGranted: boolean;
}

type Phase = "idle" | "asking" | "holds" | "gave back" | "failed";
const PHASES: readonly Phase[] = ["idle", "asking", "holds", "gave back", "failed"];

interface Attempt {
  readonly phase: Phase;
  /** The largest fence of a lease that existed when this attempt began: S2 wants a larger one. */
  readonly leastFence: number;
}

/** A node, and which attempts it has granted while they were asking. */
interface Column {
  readonly memory: NodeMemory;
  readonly granted: number;
}

interface State {
  readonly columns: readonly Column[];
  readonly attempts: readonly Attempt[];
}

/** `proposals`: by attempt, from 1. `clients`: the attempts of each, made one after the other. */
export function fenceModel(
  proposals: readonly number[],
  clients: readonly (readonly number[])[],
  rule: NodeRule = productionRule(),
): Model<State> {
  const initial: State = {
    columns: Array.from({ length: NODES }, () => ({ memory: { fence: 0, holder: FREE }, granted: 0 })),
    attempts: proposals.map(() => ({ phase: "idle", leastFence: 0 })),
  };
  return { initial: [initial], encode, steps: (state) => stepsFrom(state, proposals, clients, rule) };
}

/** Which attempt may begin next: the first idle one of a client whose earlier ones are over. */
function isNext(state: State, attempt: number, clients: readonly (readonly number[])[]): boolean {
  const mine = clients.find((attempts) => attempts.includes(attempt)) ?? [];
  const before = mine.slice(0, mine.indexOf(attempt));
  return before.every((each) => isOver(state.attempts[each]?.phase));
}

function isOver(phase: Phase | undefined): boolean {
  return phase === "gave back" || phase === "failed";
}

function stepsFrom(
  state: State,
  proposals: readonly number[],
  clients: readonly (readonly number[])[],
  rule: NodeRule,
): Step<State>[] {
  const steps: Step<State>[] = [];
  state.columns.forEach((column, node) => {
    if (column.memory.holder !== FREE) steps.push(expiry(state, node));
  });
  state.attempts.forEach(({ phase }, attempt) => {
    if (phase === "idle") {
      if (isNext(state, attempt, clients)) steps.push(beginning(state, attempt, proposals));
      return;
    }
    // Whatever was sent may arrive now, whether for the first time or again.
    for (let node = 0; node < NODES; node++) {
      steps.push(...arrival(state, node, "acquire", attempt, proposals, rule));
      if (isOver(phase)) steps.push(...arrival(state, node, "release", attempt, proposals, rule));
    }
    if (phase === "asking") steps.push(...decisions(state, attempt, proposals));
    if (phase === "holds") steps.push(withPhase(state, attempt, "gave back", `${name(attempt)} gives back`));
  });
  return steps;
}

function expiry(state: State, node: number): Step<State> {
  const { memory } = state.columns[node] ?? missing();
  return withColumn(state, node, { memory: { ...memory, holder: FREE } }, `its lock expires on n${node + 1}`);
}

function beginning(state: State, attempt: number, proposals: readonly number[]): Step<State> {
  const leastFence = Math.max(
    0,
    ...state.attempts.map(({ phase }, each) =>
      phase === "holds" || phase === "gave back" ? (proposals[each] ?? 0) : 0,
    ),
  );
  const attempts = state.attempts.with(attempt, { phase: "asking", leastFence });
  return { what: `${name(attempt)} asks with proposal ${proposals[attempt]}`, state: { ...state, attempts } };
}

function arrival(
  state: State,
  node: number,
  request: "acquire" | "release",
  attempt: number,
  proposals: readonly number[],
  rule: NodeRule,
): Step<State>[] {
  const { memory, granted } = state.columns[node] ?? missing();
  const outcome = rule(memory, request, attempt, proposals[attempt] ?? 0);
  const isAsking = state.attempts[attempt]?.phase === "asking";
  const counts = request === "acquire" && outcome.isGranted && isAsking;
  const column = { memory: outcome.memory, granted: counts ? granted | (1 << attempt) : granted };
  if (isSame(column, { memory, granted })) return [];
  const what = `n${node + 1} ${request === "acquire" ? (outcome.isGranted ? "grants" : "refuses") : "releases"} ${name(attempt)}`;
  return [withColumn(state, node, column, what)];
}

function isSame(a: Column, b: Column): boolean {
  return a.memory.fence === b.memory.fence && a.memory.holder === b.memory.holder && a.granted === b.granted;
}

/** A client counts its grants, or gives up. */
function decisions(state: State, attempt: number, proposals: readonly number[]): Step<State>[] {
  const failed = withPhase(state, attempt, "failed", `${name(attempt)} gives up`);
  const grants = state.columns.filter(({ granted }) => (granted & (1 << attempt)) !== 0).length;
  if (grants < QUORUM) return [failed];
  const won = withPhase(
    state,
    attempt,
    "holds",
    `${name(attempt)} HOLDS the lock with fence ${proposals[attempt]}`,
  );
  return [failed, { ...won, violation: violationOf(state, attempt, proposals) }];
}

function violationOf(state: State, attempt: number, proposals: readonly number[]): string | undefined {
  const fence = proposals[attempt] ?? 0;
  const twin = state.attempts.findIndex(
    ({ phase }, each) =>
      each !== attempt && (phase === "holds" || phase === "gave back") && proposals[each] === fence,
  );
  if (twin >= 0) return `S3: ${name(twin)} and ${name(attempt)} share fence ${fence}`;
  const { leastFence } = state.attempts[attempt] ?? missing();
  return fence > leastFence
    ? undefined
    : `S2: ${name(attempt)} has fence ${fence} after a lease with ${leastFence}`;
}

function withPhase(state: State, attempt: number, phase: Phase, what: string): Step<State> {
  // What is decided needs no grants and no bound any more: states that differ in them are the same.
  const columns = state.columns.map((column) => ({ ...column, granted: column.granted & ~(1 << attempt) }));
  return { what, state: { columns, attempts: state.attempts.with(attempt, { phase, leastFence: 0 }) } };
}

function withColumn(state: State, node: number, change: Partial<Column>, what: string): Step<State> {
  const column = { ...(state.columns[node] ?? missing()), ...change };
  return { what, state: { ...state, columns: state.columns.with(node, column) } };
}

/** Nodes are alike: states that differ in their order only are the same. */
function encode({ columns, attempts }: State): number {
  const codes = columns
    .map(({ memory, granted }) => ((memory.fence * 5 + memory.holder + 1) << 4) | granted)
    .sort((a, b) => a - b);
  let code = 0;
  for (const each of codes) code = code * 400 + each;
  for (const { phase, leastFence } of attempts) code = code * 25 + PHASES.indexOf(phase) * 5 + leastFence;
  return code;
}

function name(attempt: number): string {
  return `attempt ${attempt + 1}`;
}

function missing(): never {
  throw new Error("no such node or attempt");
}

const TERMS: NodeTerms = { incarnation: "model:1", clockWindowMs: 0, leadMs: 1_000, fenceTtlMs: 86_400_000 };
const NOW_US = 1_000_000;
const TTL_MS = 1_000;

/** What node-state.ts does; each question is put to it once. */
export function productionRule(): NodeRule {
  const answers = new Map<string, Outcome>();
  return (memory, request, attempt, proposal) => {
    const question = `${memory.fence} ${memory.holder} ${request} ${attempt} ${proposal}`;
    const known = answers.get(question);
    if (known !== undefined) return known;
    const answer = askProduction(memory, request, attempt, proposal);
    answers.set(question, answer);
    return answer;
  };
}

function askProduction(
  memory: NodeMemory,
  op: "acquire" | "release",
  attempt: number,
  proposal: number,
): Outcome {
  const node = new NodeState(TERMS.incarnation);
  const keys = ["k"];
  const admission = {
    incarnation: TERMS.incarnation,
    maxTtlMs: TTL_MS,
    quarantineMs: 0,
    tauUs: 0,
    declared: false,
  };
  node.admit(admission, { ...TERMS, leadMs: -NOW_US / 1_000 }, 0);
  // Into the state asked about, by what the node itself offers: the smallest token first, then a tombstone up to the fence.
  const tau = { keys, tauUs: NOW_US, ttlMs: TTL_MS };
  if (memory.holder !== FREE)
    node.apply({ op: "acquire", holder: `v${memory.holder}`, proposal: memory.fence, ...tau }, TERMS, NOW_US);
  node.apply({ op: "release", keys, holder: "nobody", proposal: memory.fence }, TERMS, NOW_US);
  const vote = node.apply({ op, holder: `v${attempt}`, proposal, ...tau }, TERMS, NOW_US);
  const [seen] = node.inspect(keys, NOW_US).keys;
  const holder = seen?.holder === undefined ? FREE : Number(seen.holder.slice(1));
  return { memory: { fence: seen?.fence ?? 0, holder }, isGranted: vote.kind === "granted" };
}

/** All ways in which so many proposals can stand to each other, equal ones included: the weak orders. */
export function weakOrders(length: number): number[][] {
  const all = Array.from({ length: length ** length }, (_, code) =>
    Array.from({ length }, (_digit, place) => (Math.floor(code / length ** place) % length) + 1),
  );
  return all.filter((order) => {
    const used = new Set(order);
    return Array.from({ length: used.size }, (_, index) => index + 1).every((rank) => used.has(rank));
  });
}
