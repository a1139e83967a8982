/**
 * The nodes whose tables are explored: the library's own, and one that follows the fence rule with parts taken out, since a check that
 * has never failed says little.
 */
import { NodeState, type NodeTerms } from "../../src/node/node-state.ts";
import { admissionOf, serverOf } from "../unit/support/admission.ts";
import type { MakeNode } from "./node-table.ts";

const KEY = "key";
const TTL_MS = 1_000;
const SERVER = "model:1";
const TERMS: NodeTerms = {
  // The name that its memory gets when it is admitted at 0.
  incarnation: `${SERVER}:0`,
  clockWindowMs: 0,
  leadMs: 1_000,
  // The promises rest on fences that do not go back: they must outlive every jump of the clock.
  fenceTtlMs: 2 ** 50,
  silenceMs: 0,
};
/** Far above the floor that the admission at 0 leaves. */
const START_US = 1e12;

/** The library's node. Its clock stands still, except that it goes past the ttl where a lock is to expire. */
export const productionNode: MakeNode = (proposals) => {
  const state = admittedState();
  let nowUs = START_US;
  const request = (attempt: number) => ({
    keys: [KEY],
    holder: String(attempt),
    proposal: START_US + (proposals[attempt] ?? 0),
  });
  return {
    receive(message) {
      switch (message.kind) {
        case "acquire": {
          const acquire = {
            op: "acquire",
            ...request(message.attempt),
            tauUs: nowUs,
            ttlMs: TTL_MS,
          } as const;
          return state.apply(acquire, TERMS, nowUs).kind === "granted";
        }
        case "release":
          state.apply({ op: "release", wakes: false, ...request(message.attempt) }, TERMS, nowUs);
          return false;
        case "expiry":
          nowUs += (TTL_MS + 1) * 1_000;
          return false;
      }
    },
    memory() {
      const seen = state.inspect([KEY], nowUs).keys[0];
      const holder = seen?.holder === undefined ? undefined : Number(seen.holder);
      return { holder, fence: Math.max(0, (seen?.fence ?? 0) - START_US) };
    },
  };
};

function admittedState(): NodeState {
  const state = new NodeState(serverOf(SERVER));
  state.admit(admissionOf(SERVER), TERMS, 0);
  return state;
}

/** What can be taken out of the fence rule. */
export interface FenceRule {
  /** N7. */
  isStale(proposal: number, fence: number): boolean;
  /** R2. */
  readonly leavesTombstone: boolean;
}

export const FENCE_RULE: FenceRule = {
  isStale: (proposal, fence) => proposal <= fence,
  leavesTombstone: true,
};

/** A node that follows `rule`; with `FENCE_RULE` its table must be the one of the library's node. */
export function nodeWith(rule: FenceRule): MakeNode {
  return (proposals) => {
    let holder: number | undefined;
    let fence = 0;
    const acquire = (attempt: number, proposal: number) => {
      if (holder !== undefined) return holder === attempt && fence === proposal; // N5, N6
      if (rule.isStale(proposal, fence)) return false; // N7
      holder = attempt; // N9
      fence = proposal;
      return true;
    };
    const release = (attempt: number, proposal: number) => {
      if (holder === attempt) holder = undefined; // R1
      if (rule.leavesTombstone) fence = Math.max(fence, proposal); // R2
    };
    return {
      receive(message) {
        if (message.kind === "expiry") holder = undefined;
        else if (message.kind === "release") release(message.attempt, proposals[message.attempt] ?? 0);
        else return acquire(message.attempt, proposals[message.attempt] ?? 0);
        return false;
      },
      memory: () => ({ holder, fence }),
    };
  };
}
