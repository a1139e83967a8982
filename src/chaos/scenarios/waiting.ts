/** Those who wait, and what keeps them from hearing that it is their turn. */
import type { Scenario } from "../scenario.ts";

const EVERYBODY = { outcomes: [{ is: "everybody had a turn" }] } as const;
/** Contenders that each want one turn, and wait for it as long as it takes. */
const ONE_TURN_EACH = {
  kind: "herd",
  clients: 4,
  contenders: 10,
  sectionMs: [5, 20],
  restMs: [0, 0],
  waitMs: 20_000,
} as const;

const SOON = { once: { client: 1, has: "asked" }, afterMs: 80 } as const;
const LISTENERS_CUT_OFF = { do: "hang up on listeners", nodes: [1, 2, 3] } as const;

export const WAITING_SCENARIOS: readonly Scenario[] = [
  {
    name: "listeners-cut-off",
    title:
      "The connections on which waiters hear of releases end, on all nodes, again and again: time is lost, no turn is.",
    rows: [20],
    work: ONE_TURN_EACH,
    steps: [
      { ...SOON, fault: LISTENERS_CUT_OFF },
      { afterMs: 150, fault: LISTENERS_CUT_OFF },
      { afterMs: 150, fault: LISTENERS_CUT_OFF },
    ],
    afterMs: 4_000,
    expect: EVERYBODY,
  },
  {
    name: "notices-forbidden",
    title: "No node may tell anybody anything: waiters look by themselves, and everyone has a turn.",
    rows: [43],
    work: { ...ONE_TURN_EACH, contenders: 4 },
    steps: [{ once: { client: 1, has: "asked" }, fault: { do: "forbid notices", nodes: [1, 2, 3] } }],
    afterMs: 7_000,
    expect: EVERYBODY,
  },
  {
    name: "notices-forged",
    title:
      "Everybody who listens is told without end that the lock is free, while one client keeps it: it is kept.",
    work: { kind: "long-hold", clients: 4 },
    steps: [
      { once: { client: 1, has: "extended" }, fault: { do: "forge notices", nodes: [1, 2, 3], ms: 1_500 } },
    ],
    afterMs: 1_800,
    expect: { outcomes: [{ is: "kept", client: 1 }] },
  },
  {
    name: "holder-killed-while-many-wait",
    title: "The holder is killed with dozens waiting: when its ttl is over they come one after the other.",
    rows: [49, 50],
    work: { ...ONE_TURN_EACH, sectionMs: [20, 40] },
    steps: [
      { once: { client: 1, has: "acquired", times: 2 }, fault: { do: "kill a client", clients: [1] } },
      { once: { client: 2, has: "acquired" }, fault: { do: "start anew", clients: [1] } },
    ],
    afterMs: 6_000,
    expect: EVERYBODY,
  },
  {
    name: "node-dies-while-many-wait",
    title:
      "A node that tells and remembers who waits dies, and comes back with nothing: nobody is forgotten.",
    rows: [1, 50],
    work: ONE_TURN_EACH,
    steps: [{ once: { client: 2, has: "acquired" }, fault: { do: "kill", nodes: [1] }, forMs: 600 }],
    afterMs: 4_000,
    expect: EVERYBODY,
  },
  {
    name: "contention-while-nodes-hang",
    title:
      "Six clients contend for one key while one node after the other hangs, shorter than anybody notices: they go on with the others.",
    rows: [50],
    work: { kind: "mutex", clients: 6, sectionMs: [0, 2], restMs: [0, 2], waitMs: 5_000 },
    steps: [1, 2, 3, 1].map((node) => ({
      afterMs: 200,
      fault: { do: "pause", nodes: [node] } as const,
      forMs: 150,
    })),
    afterMs: 500,
    expect: { outcomes: [{ is: "leases", afterStep: 1, atLeast: 20 }] },
  },
  {
    name: "told-and-stopped",
    title: "The client that is told of a release is stopped right then: the others do not wait for it.",
    rows: [29],
    work: { kind: "mutex", sectionMs: [5, 20], restMs: [0, 10], waitMs: 5_000 },
    steps: [{ once: { client: 2, node: 1, hears: "a release" }, fault: { do: "stop", clients: [2] } }],
    afterMs: 2_500,
    expect: { outcomes: [{ is: "leases", afterStep: 1, atLeast: 5 }] },
  },
];
