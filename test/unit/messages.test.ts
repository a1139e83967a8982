/** What an error says in the words of this library, whoever made it. */
import { createConnection } from "node:net";
import { runInNewContext } from "node:vm";

import { expect, test } from "vitest";

import { messageOf } from "../../src/errors.ts";

/** What Node makes of a name with two addresses on which nobody listens. */
async function refusedTwice(): Promise<unknown> {
  const socket = createConnection({
    host: "two.example",
    port: 1,
    autoSelectFamily: true,
    lookup: (_host, _options, found) =>
      found(null, [
        { address: "127.0.0.1", family: 4 },
        { address: "127.0.0.2", family: 4 },
      ]),
  });
  return new Promise((resolve) => socket.once("error", resolve));
}

test("an error of two addresses, which says nothing itself, tells what became of each", async () => {
  const error = await refusedTwice();
  expect((error as Error).message).toBe("");
  expect(messageOf(error)).toBe("connect ECONNREFUSED 127.0.0.1:1; connect ECONNREFUSED 127.0.0.2:1");
});

test.each<[string, unknown, string]>([
  ["a message", new Error("no way"), "no way"],
  ["a message beside parts", new AggregateError([new Error("a")], "all failed"), "all failed"],
  [
    "the same in every part",
    new AggregateError([new Error("refused"), new Error("refused"), new Error("timed out")]),
    "refused; timed out",
  ],
  ["parts of parts", new AggregateError([new AggregateError([new Error("deep")]), "text"]), "deep; text"],
  ["a cause alone", new Error("", { cause: new Error("why") }), "why"],
  ["a code alone", Object.assign(new Error(), { code: "ECONNRESET" }), "ECONNRESET"],
  ["nothing", new Error(), "an error without a message"],
  ["no parts", new AggregateError([]), "an error without a message"],
  ["another realm", runInNewContext("new Error('over there')"), "over there"],
  ["text", "just text", "just text"],
  ["no text", "", "an error without a message"],
  ["undefined", undefined, "undefined"],
  ["null", null, "null"],
  ["something bare", Object.create(null), "an error without a message"],
])("%s", (_, error, message) => {
  expect(messageOf(error)).toBe(message);
});

test("an error that is its own cause ends", () => {
  const error = new Error("");
  error.cause = error;
  expect(messageOf(error)).toBe("an error without a message");
});
