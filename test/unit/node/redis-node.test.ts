/** What a node makes of answers that say no: an error is not proof that nothing was executed. */
import { expect, test } from "vitest";

import { VirtualClock } from "../../../src/clock/virtual-clock.ts";
import { type Connection, ConnectionEndedError } from "../../../src/node/connection.ts";
import type { Introduction } from "../../../src/node/introduction.ts";
import type { Marker, Vote } from "../../../src/node/lock-node.ts";
import type { AdmitRequest } from "../../../src/node/node-state.ts";
import { RedisNode } from "../../../src/node/redis-node.ts";
import { encodeRequest } from "../../../src/node/script-calls.ts";

function nodeOver(
  connection: Partial<Connection>,
  waitReplicas = 0,
  met: (met: Introduction) => void = () => {},
): RedisNode {
  const whole: Connection = {
    name: "n1",
    keyPrefix: "",
    isReady: true,
    isSilent: false,
    lastError: "",
    session: 1,
    open: () => {},
    redial: () => {},
    call: () => Promise.reject(new Error("not asked for")),
    sendScript: () => {},
    close: () => Promise.resolve(),
  };
  const listener = { isListening: false, renew: () => {}, close: () => Promise.resolve() };
  return new RedisNode(
    // Accessors stay what they are.
    {
      connect: () => Object.defineProperties(whole, Object.getOwnPropertyDescriptors(connection)),
      listen: () => listener,
    },
    {
      usualTtlMs: 1_000,
      isOnly: false,
      waitReplicas,
      nodeTimeoutMs: 250,
      encode: (request) => encodeRequest(request, 1_000),
      clockWindowMs: 0,
      leadMs: 1_000,
      fenceTtlMs: 86_400_000,
    },
    new VirtualClock(),
    { toldTime: () => {}, met: (_node, found) => met(found), changed: () => {} },
  );
}

function nodeWhoseCallsFail(error: Error): RedisNode {
  return nodeOver({
    call: () => Promise.reject(error),
    sendScript: (_command, _script, _call, _answered, failed) => queueMicrotask(() => failed(error)),
  });
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

test.each([
  ["replicas are asked on the session that wrote", 1, { kind: "granted" }, ["WAIT"]],
  // The other has written nothing, and all replicas have that.
  ["and not on one that took its place", 2, { kind: "faulted", sent: true }, []],
])("%s", async (_, later, expected, commands) => {
  let session = 1;
  let answer: ((votes: unknown) => void) | undefined;
  const asked: string[] = [];
  const node = nodeOver(
    {
      get session() {
        return session;
      },
      call: (command) => Promise.resolve(asked.push(command)),
      sendScript: (_command, _script, _call, answered) => (answer = answered),
    },
    1,
  );
  const marker = { incarnation: "i" } as Marker;
  const met = { marker } as Introduction;
  node.become({ kind: "admitted", met, marker, silenceMs: 0, votesFrom: -Infinity, votesUntil: Infinity });
  const request = { op: "acquire", keys: ["a"], holder: "o#1", proposal: 1, tauUs: 0, ttlMs: 1_000 } as const;
  const vote = new Promise<Vote>((resolve) => node.ask(request, resolve));
  await Promise.resolve();
  session = later;
  answer?.([1, "G"]);
  expect(await vote).toMatchObject(expected);
  expect(asked).toEqual(commands);
});

test("dialled again: excluded, not admitted for an error, refused its votes; and not for what is a lock's own", async () => {
  const reasons: string[] = [];
  let failure = "";
  const node = nodeOver({
    redial: (reason) => reasons.push(reason),
    sendScript: (_command, _script, _call, _answered, failed) =>
      queueMicrotask(() => failed(new Error(failure))),
  });
  const refusedWith = (message: string) => {
    failure = message;
    return new Promise<Vote>((resolve) =>
      node.ask({ op: "release", keys: ["a"], holder: "o#1", proposal: 1, wakes: true }, resolve),
    );
  };
  node.become({ kind: "excluded", detail: "a replica", met: undefined });
  const mended = [
    "READONLY You can't write",
    "NOPERM this user",
    "NOAUTH Authentication",
    "LOADING Redis is",
  ];
  for (const message of mended) await refusedWith(message);
  for (const message of ["WRONGTYPE Operation", "OOM command not allowed", "ERR upstream failure"])
    await refusedWith(message);
  failure = "ERR of any kind";
  await node.admit({} as AdmitRequest);
  expect(reasons).toEqual(["a replica", ...mended, "ERR of any kind"]);
});

test("what a server said of itself, whose place another took meanwhile, is not the other's", async () => {
  let session = 1;
  const told: string[] = [];
  const answers: (() => void)[] = [];
  const node = nodeOver(
    {
      get session() {
        return session;
      },
      call: (command) => {
        const server = `run_id:${session}`;
        return new Promise((resolve) => answers.push(() => resolve(command === "INFO" ? server : [])));
      },
    },
    0,
    ({ runId }) => told.push(runId),
  );
  node.meet();
  session = 2;
  node.meet();
  for (const answer of answers) answer();
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect(told).toEqual(["2"]);
});
