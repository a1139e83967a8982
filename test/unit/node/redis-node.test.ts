/** What a node makes of answers that say no: an error is not proof that nothing was executed. */
import { expect, test } from "vitest";

import { VirtualClock } from "../../../src/clock/virtual-clock.ts";
import { type Connection, ConnectionEndedError } from "../../../src/node/connection.ts";
import type { Vote } from "../../../src/node/lock-node.ts";
import { RedisNode } from "../../../src/node/redis-node.ts";
import { encodeRequest } from "../../../src/node/script-calls.ts";

function nodeWhoseCallsFail(error: Error): RedisNode {
  const connection: Connection = {
    name: "n1",
    keyPrefix: "",
    isReady: true,
    isSilent: false,
    lastError: "",
    open: () => {},
    call: () => Promise.reject(error),
    sendScript: (_command, _script, _call, _answered, failed) => queueMicrotask(() => failed(error)),
    close: () => Promise.resolve(),
  };
  const listener = { isListening: false, renew: () => {}, close: () => Promise.resolve() };
  return new RedisNode(
    { connect: () => connection, listen: () => listener },
    {
      usualTtlMs: 1_000,
      isOnly: false,
      waitReplicas: 0,
      nodeTimeoutMs: 250,
      encode: (request) => encodeRequest(request, 1_000),
      clockWindowMs: 0,
      leadMs: 1_000,
      fenceTtlMs: 86_400_000,
    },
    new VirtualClock(),
    { toldTime: () => {}, met: () => {}, changed: () => {} },
  );
}

test.each([
  [new ConnectionEndedError(), "unreachable"],
  [new Error("ERR upstream failure"), "error"],
  [new Error("OOM command not allowed when used memory > 'maxmemory'."), "error"],
])(
  "%s: all requests of the call are unknown, none is known not to have been executed",
  async (error, reason) => {
    const node = nodeWhoseCallsFail(error);
    const ask = (key: string) =>
      new Promise<Vote>((resolve) =>
        node.ask({ op: "release", keys: [key], holder: "o#1", proposal: 1, wakes: true }, resolve),
      );
    const votes = await Promise.all(["a", "b", "c"].map(ask));
    for (const vote of votes)
      expect(vote).toEqual({ kind: "faulted", reason, detail: error.message, sent: true });
  },
);
