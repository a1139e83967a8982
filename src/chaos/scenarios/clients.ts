/** Clients that stop, block, die and come in herds. */
import type { Scenario, Step } from "../scenario.ts";
import { HELD } from "./moments.ts";

export const CLIENT_SCENARIOS: readonly Scenario[] = [
  {
    name: "blocked-event-loop",
    title: "A holder computes past its validity without a pause: its late write is refused by the resource.",
    rows: [28],
    work: { kind: "register", sectionMs: [300, 600] },
    steps: [
      { ...HELD, fault: { do: "block", clients: [1], ms: 1_400 } },
      {
        afterMs: 1_800,
        once: { client: 1, has: "acquired" },
        fault: { do: "block", clients: [1], ms: 1_400 },
      },
    ],
    afterMs: 2_000,
    expect: { outcomes: [{ is: "late writes refused", atLeast: 1 }] },
  },
  {
    name: "stopped-with-replies-on-the-way",
    title: "A client is stopped between a node's vote and its reply: what it reads then is too old.",
    rows: [29],
    work: { kind: "register", sectionMs: [500, 800] },
    steps: [
      {
        once: { client: 1, node: 1, request: "acquire", moment: "before its reply" },
        fault: { do: "stop", clients: [1] },
        forMs: 1_300,
      },
      {
        afterMs: 1_500,
        once: { client: 2, has: "acquired" },
        fault: { do: "hold replies", nodes: [1], clients: [2] },
      },
      {
        once: { client: 2, node: 2, request: "extend", moment: "before its reply" },
        fault: { do: "stop", clients: [2] },
        forMs: 1_300,
      },
      { fault: { do: "heal the network", nodes: [1], clients: [2] } },
      {
        afterMs: 1_500,
        once: { client: 3, node: 3, request: "release", moment: "before it arrives" },
        fault: { do: "stop", clients: [3] },
        forMs: 1_300,
      },
    ],
    afterMs: 1_500,
    expect: {},
  },
  {
    name: "grants-read-too-late",
    title:
      "Nobody else wants the lock, and its grants are on their way when the client is stopped until they have expired: they are none.",
    rows: [29],
    work: { kind: "mutex", clients: 1, sectionMs: [20, 40], waitMs: 5_000 },
    steps: [1, 2, 3].flatMap((): Step[] => [
      { ...HELD, fault: { do: "hold replies", nodes: [1], clients: [1] } },
      {
        once: { client: 1, node: 2, request: "acquire", moment: "before its reply" },
        fault: { do: "stop", clients: [1] },
        forMs: 1_300,
      },
      { fault: { do: "heal the network", nodes: [1], clients: [1] } },
    ]),
    afterMs: 3_000,
    expect: { outcomes: [{ is: "leases", atLeast: 4 }] },
  },
  {
    name: "holder-killed",
    title: "Clients are killed mid-hold and mid-acquire: others have their turn when the ttl is over.",
    rows: [49],
    work: { kind: "mutex", sectionMs: [300, 500] },
    steps: [
      { ...HELD, afterMs: 50, fault: { do: "kill a client", clients: [1] } },
      {
        once: { client: 2, node: 1, request: "acquire", moment: "before its reply" },
        fault: { do: "kill a client", clients: [2] },
      },
      { once: { client: 3, has: "acquired" }, fault: { do: "start anew", clients: [1, 2] } },
    ],
    afterMs: 1_000,
    expect: { outcomes: [{ is: "leases", client: 3, atLeast: 1 }] },
  },
  {
    name: "herd",
    title: "A hundred contenders in five processes ask at once: every one has its turn.",
    rows: [50],
    cluster: { nodes: 5 },
    work: { kind: "herd", clients: 5, contenders: 20, sectionMs: [0, 2], restMs: [0, 0], waitMs: 8_000 },
    steps: [{ once: { client: 1, has: "released", times: 20 }, fault: { do: "flush scripts", nodes: [1] } }],
    afterMs: 2_500,
    expect: { outcomes: [{ is: "everybody had a turn" }] },
  },
  {
    name: "counter",
    title: "Five clients count under the lock while a node dies: no update is lost.",
    rows: [1],
    work: { kind: "counter", clients: 5, sectionMs: [0, 20], restMs: [0, 10], waitMs: 2_000 },
    steps: [{ afterMs: 500, fault: { do: "kill", nodes: [2] }, forMs: 700 }],
    afterMs: 1_500,
    expect: { outcomes: [{ is: "no lost update" }, { is: "leases", atLeast: 10 }] },
  },
];
