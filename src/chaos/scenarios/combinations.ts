/** Several things at once, as they come in practice. */
import type { Scenario } from "../scenario.ts";
import { HELD } from "./moments.ts";

export const COMBINED_SCENARIOS: readonly Scenario[] = [
  {
    name: "crash-partition-and-clock-while-extending",
    title:
      "During an extension one node dies, one is cut off, and one has a wrong clock: two of five are left.",
    rows: [1, 11, 21],
    cluster: { nodes: 5 },
    work: { kind: "long-hold" },
    steps: [
      { ...HELD, fault: { do: "step the clock", nodes: [3], ms: 3_600_000 } },
      {
        once: { client: 1, node: 1, request: "extend", moment: "before it arrives" },
        fault: { do: "kill", nodes: [1] },
      },
      { fault: { do: "cut", nodes: [2], clients: [1] } },
    ],
    afterMs: 1_500,
    expect: { outcomes: [{ is: "told in time", client: 1 }] },
  },
  {
    name: "empty-restart-under-different-views",
    title: "The node that both clients see comes back empty while one of them holds: the other must not win.",
    rows: [2, 14],
    cluster: { nodes: 5 },
    work: { kind: "mutex", clients: 2, sectionMs: [300, 600] },
    steps: [
      { fault: { do: "cut", nodes: [4, 5], clients: [1] } },
      { fault: { do: "cut", nodes: [1, 2], clients: [2] } },
      { ...HELD, afterMs: 20, fault: { do: "restart empty", nodes: [3] } },
      { afterMs: 1_500, once: { client: 2, has: "acquired" }, fault: { do: "restart empty", nodes: [3] } },
    ],
    afterMs: 1_500,
    expect: {},
  },
  {
    name: "power-loss-with-replies-dropped",
    title:
      "A node's replies disappear, and then its last writes do: grants that nobody heard of are gone too.",
    rows: [6, 13],
    cluster: { aof: true },
    work: { kind: "mutex", sectionMs: [0, 200] },
    steps: [
      { afterMs: 300, fault: { do: "drop replies", nodes: [1] } },
      { afterMs: 400, fault: { do: "lose power", nodes: [1] } },
      { fault: { do: "drop replies", nodes: [2] }, forMs: 400 },
      { afterMs: 100, fault: { do: "heal the network", nodes: [1] } },
    ],
    afterMs: 1_500,
    expect: {},
  },
  {
    name: "paused-node-and-blocked-holder",
    title:
      "A node is stopped and the holder blocked, both past the validity: nothing executes late, and S4 holds.",
    rows: [9, 28],
    work: { kind: "register", sectionMs: [300, 600] },
    steps: [
      { ...HELD, fault: { do: "pause", nodes: [1] }, forMs: 1_500 },
      { fault: { do: "block", clients: [1], ms: 1_500 } },
    ],
    afterMs: 2_500,
    expect: { outcomes: [{ is: "late writes refused", atLeast: 1 }] },
  },
  {
    name: "herd-through-a-late-partition",
    title:
      "Half of a herd is cut off, and its old requests arrive all at once: every contender has its turn.",
    rows: [15, 50],
    cluster: { nodes: 5 },
    work: { kind: "herd", clients: 4, contenders: 15, sectionMs: [0, 5], restMs: [0, 0], waitMs: 8_000 },
    steps: [
      {
        once: { client: 1, has: "asked" },
        fault: { do: "hold requests", nodes: [1, 2, 3, 4, 5], clients: [1, 2] },
        forMs: 900,
      },
    ],
    afterMs: 3_500,
    expect: { outcomes: [{ is: "everybody had a turn" }] },
  },
];
