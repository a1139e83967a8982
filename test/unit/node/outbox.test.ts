/** What one call carries: as many requests as a script can take, in their order, each answered with its own vote. */
import { describe, expect, test } from "vitest";

import type { Vote } from "../../../src/node/lock-node.ts";
import { Outbox } from "../../../src/node/outbox.ts";
import { encodeRequest, type EncodedRequest } from "../../../src/node/script-calls.ts";

/** Lua passes at most so many values to one function. */
const LUA_VALUES_MAX = 8_000;

function request(name: string, keys: number): EncodedRequest {
  const names = Array.from({ length: keys }, (_, index) => `${name}:${index}`);
  return encodeRequest({ op: "leave", keys: names, waiter: name }, 1_000);
}

test.each([
  [200, 1],
  [200, 64],
])("%i requests of %i keys in one turn are sent in calls that a script can take", async (count, keys) => {
  const calls: (readonly EncodedRequest[])[] = [];
  const outbox = new Outbox((requests, answer) => {
    calls.push(requests);
    queueMicrotask(() =>
      answer(
        requests.map(({ fields }): Vote => ({
          kind: "faulted",
          reason: "error",
          detail: fields,
          sent: true,
        })),
      ),
    );
  });
  const all = Array.from({ length: count }, (_, index) => request(`r${index}`, keys));
  const votes = await Promise.all(
    all.map((each) => new Promise<Vote>((resolve) => outbox.put(each, resolve))),
  );
  expect(votes.map((vote) => "detail" in vote && vote.detail)).toEqual(all.map(({ fields }) => fields));
  expect(calls.flat()).toEqual(all);
  for (const call of calls)
    expect(call.reduce((sum, { keyCount }) => sum + keyCount, 0)).toBeLessThan(LUA_VALUES_MAX / 2);
});

const WAITING_MAX = 32_768;
/** As outbox.ts bounds them: 32 calls of 64 requests under way, and 32,768 that wait. */
const UNDER_WAY_MAX = 32 * 64;

describe("a node that does not answer", () => {
  interface Call {
    readonly requests: readonly EncodedRequest[];
    readonly answer: (votes: readonly Vote[]) => void;
  }

  function flooded(count: number): {
    calls: Call[];
    votes: (Vote | undefined)[];
    put: (more: number) => void;
  } {
    const calls: Call[] = [];
    const outbox = new Outbox((requests, answer) => calls.push({ requests, answer }));
    const votes: (Vote | undefined)[] = [];
    const put = (more: number) => {
      for (const end = votes.length + more; votes.length < end;) {
        const index = votes.push(undefined) - 1;
        outbox.put(request(`r${index}`, 1), (vote) => {
          if (votes[index] !== undefined) throw new Error(`request ${index} was answered twice`);
          votes[index] = vote;
        });
      }
    };
    put(count);
    return { calls, votes, put };
  }

  const echo = ({ requests, answer }: Call): void =>
    answer(requests.map(({ fields }) => ({ kind: "faulted", reason: "error", detail: fields, sent: true })));

  test("has a bounded number of requests under way, and another that waits; who comes later is told at once", async () => {
    const { calls, votes, put } = flooded(WAITING_MAX);
    await nextTurn();
    expect(calls.flatMap(({ requests }) => requests)).toHaveLength(UNDER_WAY_MAX);
    put(UNDER_WAY_MAX + 10);
    await nextTurn();
    expect(calls.flatMap(({ requests }) => requests)).toHaveLength(UNDER_WAY_MAX);
    const told = votes.filter((vote) => vote !== undefined);
    expect(told).toHaveLength(10);
    for (const vote of told) expect(vote).toMatchObject({ kind: "faulted", reason: "backlog", sent: false });
  });

  test("is asked for the rest as it answers, each once, in order, whatever the order of the answers", async () => {
    const { calls, votes } = flooded(WAITING_MAX);
    const done = new Set<Call>();
    await nextTurn();
    for (let answered = 0; answered < calls.length; answered++) {
      const open = calls.filter((call) => !done.has(call));
      const call = open[answered % 2 === 0 ? open.length - 1 : 0];
      if (call === undefined) break;
      done.add(call);
      echo(call);
      await nextTurn();
    }
    expect(calls.flatMap(({ requests }) => requests.map(({ fields }) => fields))).toEqual(
      votes.map((_, index) => request(`r${index}`, 1).fields),
    );
    expect(votes.map((vote) => vote !== undefined && "detail" in vote && vote.detail)).toEqual(
      votes.map((_, index) => request(`r${index}`, 1).fields),
    );
  });
});

describe("the only node", () => {
  test.each([
    [1, [1]],
    [7, [7]],
    [20, [8, 8, 4]],
    [160, Array<number>(8).fill(20)],
    [1_000, [...Array<number>(15).fill(64), 40]],
  ])("is sent %i requests of one turn in calls that overlap, and none in vain", async (count, sizes) => {
    const calls: number[] = [];
    const outbox = new Outbox((requests) => calls.push(requests.length), true);
    for (let index = 0; index < count; index++) outbox.put(request(`r${index}`, 1), () => {});
    await nextTurn();
    expect(calls).toEqual(sizes);
  });
});

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
