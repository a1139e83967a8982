/** What one call carries: as many requests as a script can take, in their order, each answered with its own vote. */
import { expect, test } from "vitest";

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
