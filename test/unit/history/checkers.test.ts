/** Every checker refuses a history that was doctored to break its property, and none of them a sound one. */
import { describe, expect, test } from "vitest";

import { check, CHECKERS, type Property } from "../../../src/history/checkers.ts";
import { type HistoryEvent, leasesOf } from "../../../src/history/history.ts";

const NODES = ["n1", "n2", "n3"];
const QUORUM = 2;

/** One lease: asked at `at`, granted by all nodes 1 ms later, valid for 100 ms. */
function lease(op: string, at: number, fence: number, key = "k"): HistoryEvent[] {
  const client = op.split("#")[0] ?? op;
  const who = { client, op };
  const holder = `holder of ${op}`;
  const votes = NODES.map((node) =>
    vote({ at: at + 0.5, node, holder, keys: [key], before: [null], after: [holder] }),
  );
  const terms = { quorum: QUORUM, until: at + 101, remainingMs: 100, minValidityMs: 10 };
  return [
    { at, type: "acquiring", ...who, keys: [key], mustSucceed: false },
    ...votes,
    { at: at + 1, type: "acquired", ...who, keys: [key], holder, fence, ...terms },
  ];
}

function vote(fact: Partial<HistoryEvent & { type: "vote" }> & { holder: string; at: number }): HistoryEvent {
  return {
    type: "vote",
    node: "n1",
    request: "acquire",
    keys: ["k"],
    vote: "granted",
    before: [null],
    after: [fact.holder],
    ...fact,
  };
}

function releasing(op: string, at: number): HistoryEvent {
  return { at, type: "releasing", client: op.split("#")[0] ?? op, op };
}

function write(op: string, at: number, fence: number): HistoryEvent {
  return { at, type: "write", client: op.split("#")[0] ?? op, op, key: "k", fence, isStored: true };
}

function extended(op: string, startedAt: number, at: number): HistoryEvent[] {
  const holder = `holder of ${op}`;
  const request = { request: "extend" as const, before: [holder], after: [holder] };
  return [
    ...["n1", "n2"].map((node) => vote({ at: startedAt + 0.5, node, holder, ...request })),
    {
      at,
      type: "extended",
      client: op.split("#")[0] ?? op,
      op,
      startedAt,
      startedBy: startedAt,
      until: at + 100,
    },
  ];
}

/** Two leases of one key after each other, with everything a history has. */
const SOUND: readonly HistoryEvent[] = [
  { at: 0, type: "pace", nodes: NODES, quorum: QUORUM, promptMs: 2, returnMs: 1, lockMs: 5 },
  ...lease("a#1", 0, 10),
  { at: 5, type: "asked", client: "a", op: "a#1", isHeld: true },
  ...extended("a#1", 30, 31),
  write("a#1", 40, 10),
  releasing("a#1", 50),
  ...NODES.map((node) =>
    vote({
      at: 51,
      node,
      request: "release",
      holder: "holder of a#1",
      before: ["holder of a#1"],
      after: [null],
    }),
  ),
  { at: 51.5, type: "released", client: "a", op: "a#1", outcome: "released" },
  { at: 52, type: "memory-lost", node: "n3", silentUntil: 55 },
  ...lease("b#2", 60, 20),
  write("b#2", 61.5, 20),
  { at: 160.9, type: "open-nodes", op: "b#2", open: 1, quorum: QUORUM },
  { at: 170, type: "healed" },
  { at: 171, type: "acquiring", client: "a", op: "a#3", keys: ["k"], mustSucceed: true },
  ...lease("a#3", 171, 30).slice(1),
];

/** The second lease was asked for when its key had been free for some ms, and was granted no earlier. */
function askedAt55(history: readonly HistoryEvent[]): HistoryEvent[] {
  return history.map((event) =>
    event.type === "acquiring" && event.op === "b#2" ? { ...event, at: 55 } : event,
  );
}

const ALL = Object.keys(CHECKERS) as Property[];

test("a sound history has no violation", () => {
  expect(check(SOUND, ALL)).toEqual([]);
});

describe("a doctored history is refused by the checker of its property, and by no other", () => {
  const without = (matches: (event: HistoryEvent) => boolean) => SOUND.filter((event) => !matches(event));
  const changed = (change: (event: HistoryEvent) => HistoryEvent) => SOUND.map(change);
  const plus = (...events: HistoryEvent[]) => [...SOUND, ...events].sort((a, b) => a.at - b.at);

  const doctored: Record<Property, { history: HistoryEvent[]; also?: Property[] }> = {
    // The first lease was never given back, so it went on into the second one's time.
    S1: { history: without((event) => event.type === "releasing") },
    S2: {
      history: changed((event) =>
        event.type === "acquired" && event.op === "b#2" ? { ...event, fence: 9 } : event,
      ),
    },
    S3: {
      history: changed((event) =>
        event.type === "acquired" && event.op === "b#2" ? { ...event, fence: 10 } : event,
      ),
      also: ["S2"],
    },
    S4: { history: plus(write("a#1", 70, 10)) },
    S5: { history: plus({ at: 100, type: "open-nodes", op: "b#2", open: 2, quorum: QUORUM }) },
    S6: {
      history: without(
        (event) => event.type === "vote" && event.holder === "holder of b#2" && event.node !== "n1",
      ),
    },
    S7: {
      history: plus(
        vote({
          at: 70,
          request: "release",
          holder: "holder of a#1",
          before: ["holder of b#2"],
          after: [null],
        }),
      ),
    },
    S8: {
      history: changed((event) =>
        event.type === "vote" && event.request === "extend" && event.node === "n1"
          ? { ...event, before: [null] }
          : event,
      ),
    },
    S9: { history: plus(vote({ at: 58, node: "n2", holder: "holder of a#1" })) },
    S10: {
      history: changed((event) => (event.type === "memory-lost" ? { ...event, silentUntil: 65 } : event)),
    },
    S11: { history: plus({ at: 162, type: "asked", client: "b", op: "b#2", isHeld: true }) },
    L1: {
      history: [
        ...without((event) => "op" in event && event.op === "a#3" && event.type === "acquired"),
        { at: 900, type: "not-acquired", client: "a", op: "a#3", code: "ACQUIRE_TIMEOUT" },
      ],
      also: ["L2"],
    },
    // One node is silent, the other two could have granted it.
    L2: { history: askedAt55(SOUND) },
    // Two nodes hang, and are able again at 58.
    L4: {
      history: askedAt55(SOUND).concat(
        ...["n1", "n2"].flatMap((target): HistoryEvent[] => [
          { at: 54, type: "condition", target, condition: "hung", isOn: true },
          { at: 57, type: "condition", target, condition: "hung", isOn: false },
        ]),
      ),
    },
  };

  test.each(ALL)("%s", (property) => {
    const { history, also = [] } = doctored[property];
    const seen = new Set(check(history, ALL).map((violation) => violation.property));
    expect([...seen].sort()).toEqual([property, ...also].sort());
  });
});

test("S8: a node on which the lock was put back during the round did not hold it all along", () => {
  const putBack = vote({ at: 30.2, node: "n1", holder: "holder of a#1" });
  const history = [...SOUND, putBack].sort((a, b) => a.at - b.at);
  expect(check(history, ["S8"])).toHaveLength(1);
});

test("S6: less time left than was asked for", () => {
  const history = SOUND.map((event) => (event.type === "acquired" ? { ...event, remainingMs: 9 } : event));
  expect(check(history, ["S6"])).toHaveLength(3);
});

describe("L2 and L4 ask nothing", () => {
  const who = { client: "b", op: "b#2" };
  const cases: [string, (history: readonly HistoryEvent[]) => readonly HistoryEvent[]][] = [
    ["of a history without a pace", (history) => history.filter(({ type }) => type !== "pace")],
    [
      "while a lock can be left that was not given back",
      (history) =>
        history.map((event) => (event.type === "released" ? { ...event, outcome: "uncertain" } : event)),
    ],
    ["after a process was killed", (history) => [...history, { at: 56, type: "crashed", client: "z" }]],
    [
      "while too few nodes are able",
      (history) => [
        ...history,
        { at: 54, type: "condition", target: "n1", condition: "down", isOn: true },
        { at: 54, type: "condition", target: "n2", condition: "down", isOn: true },
      ],
    ],
    [
      "for who wants several keys",
      (history) =>
        history.map((event) => (event.type === "acquiring" ? { ...event, keys: ["k", "l"] } : event)),
    ],
    [
      "for who has given up",
      (history) => [...history, { at: 56.5, type: "not-acquired", ...who, code: "ABORTED" }],
    ],
  ];
  test.each(cases)("%s", (_, change) => {
    expect(check(change(askedAt55(SOUND)), ["L2", "L4"])).toEqual([]);
  });
});

describe("an adoption", () => {
  const from = { client: "a", op: "a#1" };
  const to = { client: "b", op: "b#9" };
  const terms = { quorum: QUORUM, until: 142, remainingMs: 100, minValidityMs: 10 };
  const holder = "holder of a#1";
  const extension = { request: "extend" as const, before: [holder], after: [holder], holder };
  const adopted: readonly HistoryEvent[] = [
    ...lease("a#1", 0, 10),
    { at: 30, type: "detached", ...from },
    { at: 40, type: "acquiring", ...to, keys: ["k"], mustSucceed: false },
    ...["n1", "n2"].map((node) => vote({ at: 41, node, ...extension })),
    { at: 42, type: "acquired", ...to, keys: ["k"], holder, fence: 10, adopts: "a#1", ...terms },
    write("b#9", 43, 10),
    write("a#1", 44, 10),
  ];

  test("goes on with the same lock, under the same fence", () => {
    expect(check(adopted, ALL)).toEqual([]);
  });

  test("needs a quorum that has kept it (S6)", () => {
    const history = adopted.filter(
      (event) => !(event.type === "vote" && event.request === "extend" && event.node === "n2"),
    );
    expect(check(history, ALL).map(({ property }) => property)).toEqual(["S6"]);
  });

  test("of what was not let go of is a second lease (S1)", () => {
    const history = adopted.filter(({ type }) => type !== "detached");
    expect(check(history, ALL).map(({ property }) => property)).toEqual(["S1"]);
  });
});

describe("a lease ends", () => {
  const start = lease("a#1", 0, 10);
  const who = { client: "a", op: "a#1" };
  const cases: [string, HistoryEvent[], number][] = [
    ["with its validity", [], 101],
    ["later when it was extended", extended("a#1", 30, 31), 131],
    ["when it is given back", [releasing("a#1", 50)], 50],
    ["when it is proved to be gone", [{ at: 40, type: "lost", ...who, cause: "gone", until: 101 }], 40],
    [
      "not when the loss is signalled ahead of its end",
      [{ at: 90, type: "lost", ...who, cause: "expired", until: 101 }],
      101,
    ],
    ["with its process", [{ at: 20, type: "crashed", client: "a" }], 20],
    ["earlier when its client's clock jumped", [{ at: 20, type: "shortened", ...who, until: 25 }], 25],
  ];
  test.each(cases)("%s", (_, events, endedAt) => {
    expect(leasesOf([...start, ...events])[0]?.endedAt).toBe(endedAt);
  });
});
