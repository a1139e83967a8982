/** Networks that part, lose, delay and deliver late. */
import type { Scenario } from "../scenario.ts";
import { HELD, SETTLED } from "./moments.ts";

export const NETWORK_SCENARIOS: readonly Scenario[] = [
  {
    name: "cut-from-a-minority",
    title: "The holder cannot reach one of three nodes: it does not matter.",
    rows: [11],
    work: { kind: "long-hold" },
    steps: [{ ...SETTLED, afterMs: 200, fault: { do: "cut", nodes: [1], clients: [1] } }],
    afterMs: 1_500,
    expect: { outcomes: [{ is: "kept", client: 1 }] },
  },
  {
    name: "cut-from-a-majority",
    title: "The holder cannot reach two of three nodes: it is told in time, and then others have their turn.",
    rows: [11],
    work: { kind: "long-hold" },
    steps: [{ ...HELD, afterMs: 200, fault: { do: "cut", nodes: [1, 2], clients: [1] } }],
    afterMs: 2_000,
    expect: {
      outcomes: [
        { is: "told in time", client: 1 },
        { is: "leases", client: 2, atLeast: 1 },
      ],
    },
  },
  {
    name: "requests-dropped",
    title: "Requests to two nodes disappear: nobody acquires, and nothing is left behind.",
    rows: [12],
    work: { kind: "mutex", sectionMs: [0, 100] },
    steps: [{ afterMs: 400, fault: { do: "drop requests", nodes: [1, 2] }, forMs: 1_200 }],
    afterMs: 1_500,
    expect: { outcomes: [{ is: "refused with", code: "QUORUM_UNREACHABLE" }] },
  },
  {
    name: "replies-dropped",
    title: "Replies of two nodes disappear: what they granted does not count, and is undone.",
    rows: [13],
    locker: { ttlMs: 3_000 },
    work: { kind: "mutex", sectionMs: [0, 100] },
    steps: [{ afterMs: 400, fault: { do: "drop replies", nodes: [1, 2] }, forMs: 1_200 }],
    afterMs: 1_500,
    expect: { outcomes: [{ is: "refused with", code: "QUORUM_UNREACHABLE" }] },
  },
  {
    name: "different-views",
    title: "One client sees nodes 1, 2 and 3, another one 3, 4 and 5: at most one of them wins.",
    rows: [14],
    cluster: { nodes: 5 },
    work: { kind: "mutex", clients: 2, sectionMs: [50, 400] },
    steps: [
      { fault: { do: "cut", nodes: [4, 5], clients: [1] } },
      { fault: { do: "cut", nodes: [1, 2], clients: [2] } },
    ],
    afterMs: 3_000,
    expect: { outcomes: [{ is: "leases", atLeast: 2 }] },
  },
  {
    name: "late-delivery",
    title: "A client's requests are kept for a second and delivered then: none of them leaves a lock behind.",
    rows: [15],
    locker: { ttlMs: 5_000 },
    work: { kind: "mutex", sectionMs: [0, 60] },
    steps: [{ afterMs: 300, fault: { do: "hold requests", nodes: [1, 2, 3], clients: [2] }, forMs: 1_000 }],
    afterMs: 1_300,
    expect: { outcomes: [{ is: "leases", client: 1, atLeast: 2 }] },
  },
  {
    name: "slow-network",
    title: "Every message takes up to twice the ttl: whatever comes too late is given back.",
    rows: [16],
    work: { kind: "mutex", sectionMs: [0, 100], waitMs: 2_000 },
    steps: [
      { afterMs: 300, fault: { do: "delay", nodes: [1, 2, 3], ms: 30, jitterMs: 300 }, forMs: 1_200 },
      { afterMs: 1_300, fault: { do: "delay", nodes: [1, 2, 3], ms: 0, jitterMs: 2_000 }, forMs: 1_500 },
    ],
    afterMs: 1_700,
    expect: {},
  },
  {
    name: "lost-packets",
    title: "Up to a third of all packets are lost: slower, and never wrong.",
    rows: [17],
    work: { kind: "mutex", sectionMs: [0, 100], waitMs: 2_000 },
    steps: [
      { afterMs: 200, fault: { do: "lose packets", nodes: [1, 2, 3], percent: 5 } },
      { afterMs: 900, fault: { do: "lose packets", nodes: [1, 2, 3], percent: 30 } },
    ],
    afterMs: 1_500,
    expect: {},
  },
  {
    name: "chopped-and-reset",
    title: "Messages come byte by byte, and connections are reset in the middle of them.",
    rows: [18],
    work: { kind: "mutex", sectionMs: [0, 100] },
    steps: [
      { afterMs: 200, fault: { do: "chop", nodes: [1, 2, 3] } },
      ...[1, 2, 3, 2, 1].map((node) => ({
        afterMs: 150,
        fault: { do: "reset connections", nodes: [node] } as const,
      })),
    ],
    afterMs: 800,
    expect: { outcomes: [{ is: "leases", atLeast: 2 }] },
  },
  {
    name: "reset-before-the-reply",
    title:
      "A node executes an acquire, and its connection ends before it can say so: undone, not sent again.",
    rows: [20],
    locker: { ttlMs: 5_000 },
    work: { kind: "mutex", sectionMs: [0, 60] },
    steps: [
      ...([1, 2, 3] as const).map(
        (node) =>
          ({
            once: { client: node, node, request: "acquire", moment: "before its reply" },
            fault: { do: "reset connections", nodes: [node], clients: [node] },
          }) as const,
      ),
      ...([1, 2, 3] as const).map(
        (node) => ({ afterMs: 100, fault: { do: "reset before the reply", nodes: [node] } }) as const,
      ),
    ],
    afterMs: 600,
    expect: { outcomes: [{ is: "leases", atLeast: 3 }] },
  },
];
