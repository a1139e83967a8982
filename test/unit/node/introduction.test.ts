/** Who must not vote, by what it says of itself (G2), and what of it may pass without an operator. */
import { expect, test } from "vitest";

import { type Introduction, isLasting, objection } from "../../../src/node/introduction.ts";
import { remedyFor, withRemedy } from "../../../src/node/remedies.ts";

const MET: Introduction = {
  runId: "a".repeat(40),
  replicationId: "b".repeat(40),
  evictedKeys: 0,
  role: "master",
  serverMode: "standalone",
  version: "7.0.15",
  maxMemory: 0,
  maxMemoryPolicy: "noeviction",
  nodeUs: 1,
  askedAt: 0,
  answeredAt: 0,
  marker: undefined,
};

/** `lasts`: for one that never was admitted, and for one that was. */
test.each<[Partial<Introduction>, RegExp | undefined, [boolean, boolean]]>([
  [{}, undefined, [false, false]],
  [{ version: "8.1.0" }, undefined, [false, false]],
  [{ version: "10.0.0" }, undefined, [false, false]],
  [{ version: "" }, undefined, [false, false]],
  [{ version: "6.2.14" }, /Redis 6\.2\.14: Redis 7 or Valkey 8 is needed/, [true, true]],
  [{ serverMode: "cluster" }, /cluster mode/, [true, true]],
  [{ serverMode: "cluster", role: "slave" }, /cluster mode/, [true, true]],
  [{ serverMode: "sentinel", role: "unknown", nodeUs: Number.NaN }, /Sentinel/, [true, true]],
  [{ role: "slave" }, /not a master but a slave/, [true, false]],
  [{ maxMemory: 1, maxMemoryPolicy: "allkeys-lru" }, /may evict/, [true, true]],
  [{ maxMemory: 1, maxMemoryPolicy: "allkeys-lru", role: "slave" }, /not a master/, [true, false]],
  [{ runId: "" }, /which server it is/, [true, true]],
  [{ nodeUs: Number.NaN }, /its time/, [true, true]],
])("%j", (more, said, lasts) => {
  const met = { ...MET, ...more };
  const found = objection(met, false);
  if (said === undefined) expect(found).toBeUndefined();
  else expect(found).toMatch(said);
  if (found !== undefined) expect(withRemedy(found)).toBe(found);
  expect([isLasting(met, false, false), isLasting(met, false, true)]).toEqual(lasts);
});

test("what is allowed is not objected to", () => {
  const met = { ...MET, maxMemory: 1, maxMemoryPolicy: "allkeys-lru" };
  expect([objection(met, true), isLasting(met, true, false)]).toEqual([undefined, false]);
});

test.each([
  "WRONGPASS invalid username-password pair or user is disabled.",
  "NOAUTH Authentication required.",
  "NOPERM User lock has no permissions to run the 'evalsha' command",
  "not admitted: NOPERM this user has no permissions to access one of the keys",
  "self-signed certificate in certificate chain",
  "unable to verify the first certificate",
  "certificate has expired",
  "Hostname/IP does not match certificate's altnames: IP: 127.0.0.1 is not in the cert's list",
  "0017:error:0A00010B:SSL routines:ssl3_get_record:wrong version number",
  'Unknown RESP type 72 "H". Please report this.',
  'Protocol error, got "H" as reply type byte. Please report this.',
  "ERR DB index is out of range",
  "CROSSSLOT Keys in request don't hash to the same slot",
  "ERR unknown command 'EVALSHA', with args beginning with: ",
])("an operator must mend %j", (detail) => {
  const remedy = remedyFor(detail) ?? "none";
  expect(withRemedy(detail)).toBe(`${detail}; ${remedy}`);
  expect(withRemedy(withRemedy(detail))).toBe(withRemedy(detail));
});

test.each([
  "connect ECONNREFUSED 127.0.0.1:6379",
  "getaddrinfo ENOTFOUND redis-1",
  "getaddrinfo EAI_AGAIN redis-1",
  "getaddrinfo ENOTFOUND certificate-store",
  "connect ETIMEDOUT",
  "read ECONNRESET",
  "LOADING Redis is loading the dataset in memory",
  "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
  "READONLY You can't write against a read only replica.",
  "OOM command not allowed when used memory > 'maxmemory'.",
  "BUSY Redis is busy running a script.",
  "NOREPLICAS Not enough good replicas to write.",
  "TRYAGAIN Multiple keys request during rehashing of slot",
  "NOSCRIPT No matching script.",
  "ERR max number of clients reached",
  "connected, but silent for 2000 ms",
  "the connection was closed",
  "waits for its admission",
])("%j may pass", (detail) => {
  expect(remedyFor(detail)).toBeUndefined();
  expect(withRemedy(detail)).toBe(detail);
});
