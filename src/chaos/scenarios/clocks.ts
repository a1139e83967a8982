/** Clocks of nodes and clients that are wrong, jump and run at other rates. */
import type { Scenario } from "../scenario.ts";
import { HELD, SETTLED } from "./moments.ts";

const HOUR_MS = 3_600_000;

export const CLOCK_SCENARIOS: readonly Scenario[] = [
  {
    name: "clock-an-hour-ahead",
    title: "A node's clock jumps an hour ahead, so that its locks expire: it is outvoted.",
    rows: [21],
    work: { kind: "long-hold" },
    steps: [{ ...SETTLED, afterMs: 200, fault: { do: "step the clock", nodes: [1], ms: HOUR_MS } }],
    afterMs: 1_500,
    expect: { outcomes: [{ is: "kept", client: 1 }] },
  },
  {
    name: "clock-an-hour-back",
    title: "A node's clock jumps an hour back, so that its locks never expire: it is outvoted.",
    rows: [22],
    work: { kind: "mutex", sectionMs: [0, 200] },
    steps: [{ afterMs: 300, fault: { do: "step the clock", nodes: [1], ms: -HOUR_MS } }],
    afterMs: 1_500,
    expect: { outcomes: [{ is: "leases", atLeast: 3 }] },
  },
  {
    name: "clocks-there-and-back",
    title: "Two of three clocks jump there and back five times a second: exclusion may fail, fences hold.",
    // With files: most clocks are wrong here, and memory must not be lost as well (docs/safety.md).
    cluster: { aof: true },
    rows: [23],
    work: { kind: "register", sectionMs: [100, 600] },
    steps: [{ afterMs: 300, fault: { do: "swing the clock", nodes: [1, 2], ms: 1_500 } }],
    afterMs: 2_000,
    expect: { breaks: "more than f node clocks off by more than clockWindowMs" },
  },
  {
    name: "clock-rates",
    title: "One node's clock runs at half the rate, then at the double one: refused once it is too far off.",
    rows: [24],
    work: { kind: "mutex", sectionMs: [0, 300] },
    steps: [
      { afterMs: 200, fault: { do: "run the clock at", nodes: [1], rate: 2 }, forMs: 1_200 },
      { afterMs: 1_500, fault: { do: "run the clock at", nodes: [2], rate: 0.5 }, forMs: 1_200 },
    ],
    afterMs: 1_400,
    expect: { outcomes: [{ is: "leases", atLeast: 3 }] },
  },
  {
    name: "clients-clock-ahead",
    title: "The holder's wall clock jumps an hour ahead: it takes its lock for lost, and asks again.",
    rows: [27],
    work: { kind: "long-hold" },
    steps: [{ ...HELD, afterMs: 300, fault: { do: "step a client's clock", clients: [1], ms: HOUR_MS } }],
    afterMs: 1_500,
    expect: { outcomes: [{ is: "leases", client: 1, atLeast: 2 }] },
  },
  {
    name: "clients-clock-back",
    title: "The holder's wall clock jumps an hour back: nothing changes.",
    rows: [27],
    work: { kind: "long-hold" },
    steps: [{ ...SETTLED, afterMs: 300, fault: { do: "step a client's clock", clients: [1], ms: -HOUR_MS } }],
    afterMs: 1_500,
    expect: { outcomes: [{ is: "kept", client: 1 }] },
  },
];
