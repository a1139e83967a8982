/**
 * The Lua scripts and node-state.ts say the same: both are given the same random requests, at the same times of the node's clock, and
 * must answer the same to the microsecond. The server's clock stands still between requests, so that expiries fall on exact times. Some
 * requests meet a server that refuses to write: at maxmemory, or without enough replicas.
 */
import { randomInt } from "node:crypto";

import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { Marker, Request, Vote } from "../../src/node/lock-node.ts";
import {
  type AdmitRequest,
  NodeState,
  type NodeTerms,
  type ServerFacts,
  type WriteRefusal,
} from "../../src/node/node-state.ts";
import { MARKER_KEY, noticeChannel, WAITING_KEY } from "../../src/node/key-names.ts";
import {
  ADMIT_SCRIPT,
  INSPECT_SCRIPT,
  LONE_SCRIPTS,
  MARKER_FIELDS,
  VOTE_SCRIPT,
} from "../../src/node/redis-scripts.ts";
import { argumentsOf, type Wire } from "../../src/node/resp.ts";
import {
  admitCall,
  callHead,
  decodeAdmission,
  decodeSighting,
  decodeVotes,
  encodeRequest,
  inspectCall,
  voteCall,
} from "../../src/node/script-calls.ts";
import { type Cluster, startCluster } from "../../src/chaos/servers/cluster.ts";
import { clockShimUnavailable } from "../../src/chaos/servers/node-clock.ts";
import { markerFields } from "../../src/sim/scripts.ts";
import { admissionOf, serverOf } from "../unit/support/admission.ts";

const START_US = 1_800_000_000_000_000;
const WINDOW_MS = 100;

describe.skipIf(clockShimUnavailable())("node-state.ts and the scripts", () => {
  let cluster: Cluster;
  let redis: Redis;
  let listener: Redis;
  /** What the server says of itself, read anew whenever that changes. */
  const server: { -readonly [fact in keyof ServerFacts]: ServerFacts[fact] } = serverOf(":");
  const notices: Record<"redis" | "model", string[]> = { redis: [], model: [] };
  let endHeard = () => {};

  beforeAll(async () => {
    cluster = await startCluster(1, { clockShim: true });
    clock()?.freeze();
    redis = new Redis(cluster.nodes[0]?.port ?? 0, "127.0.0.1", { protocol: 2 });
    await look();
    listener = redis.duplicate();
    listener.on("message", (channel: string, message: string) => {
      if (channel === LISTENING) endHeard();
      else notices.redis.push(`${waiterOf.get(channel)} ${message}`);
    });
    await listener.subscribe(LISTENING, ...waiterOf.keys());
  });
  afterAll(async () => {
    redis.disconnect();
    listener.disconnect();
    await cluster.stop();
  });

  const run = (script: string, call: Wire) => redis.call("EVAL", script, ...argumentsOf(call));
  const vote = (requests: readonly Request[], terms: NodeTerms) => {
    const encoded = requests.map((request) => encodeRequest(request, USUAL_TTL_MS));
    const lone = encoded.length === 1 ? LONE_SCRIPTS[encoded[0]?.letter ?? ""] : undefined;
    return run(lone ?? VOTE_SCRIPT, voteCall(encoded, callHead(terms, USUAL_TTL_MS)));
  };
  const clock = () => cluster.nodes[0]?.clock;
  const incarnationOf = ({ runId, replicationId }: ServerFacts) => `${runId}:${replicationId}`;

  async function look(): Promise<void> {
    const info = await redis.info("everything");
    const fact = (name: string) => new RegExp(`^${name}:(\\w+)`, "m").exec(info)?.[1] ?? "";
    const calls = (name: string) => new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(info)?.[1] ?? "0";
    const reset = /cmdstat_config\|resetstat:(calls=\d+,usec=\d+)/.exec(info)?.[1] ?? "-";
    server.runId = fact("run_id");
    server.replicationId = fact("master_replid");
    server.wasReplica = fact("master_replid2") !== "0".repeat(40);
    server.history = [...["replicaof", "slaveof", "failover"].map(calls), reset].join("/");
  }

  /** What happens to a server that changes its replication id. */
  async function disturb(disturbance: Disturbance): Promise<void> {
    if (disturbance === "backup") await redis.debug("CHANGE-REPL-ID");
    if (disturbance === "statistics reset") await redis.config("RESETSTAT");
    if (disturbance === "promotion") {
      await redis.replicaof("127.0.0.1", 1);
      await redis.replicaof("NO", "ONE");
    }
    await look();
  }

  test("answer the same to random requests", async () => {
    const seen = new Map<string, number>();
    const isReached = () => EVERY_REPLY.every((kind) => seen.has(kind));
    const property = (seed: number) =>
      fc.asyncProperty(
        fc.array(step(), { minLength: 5, maxLength: 40 }),
        fc.constantFrom(0, WINDOW_MS),
        fc.constantFrom(undefined, RELIC),
        async (steps, windowMs, relic) => {
          await redis.flushall();
          const state = new NodeState(server, relic, (waiter, key) => {
            const isHeard = PRESENT.includes(waiter);
            if (isHeard) notices.model.push(`${waiter} ${key}`);
            return isHeard;
          });
          if (relic !== undefined) await leave(relic);
          let nowUs = START_US;
          let incarnation = incarnationOf(server);
          for (const { waitUs, action } of steps) {
            nowUs += waitUs;
            clock()?.setMicros(BigInt(nowUs));
            if (action.kind === "disturbance") {
              await disturb(action.what);
              continue;
            }
            const terms = {
              ...TERMS,
              clockWindowMs: windowMs,
              silenceMs: action.silenceMs,
              incarnation: action.isStranger ? `${"0".repeat(40)}:${"1".repeat(40)}` : incarnation,
            };
            // Those who admit ask the server who it is; those who ask for votes know it from an admission.
            if (action.kind === "admit" && !action.isStranger) terms.incarnation = incarnationOf(server);
            const answers = await both(state, action, terms, nowUs);
            expect(answers.redis, `seed ${seed}`).toEqual(answers.model);
            for (const kind of answers.kinds) seen.set(kind, (seen.get(kind) ?? 0) + 1);
            incarnation = state.marker?.incarnation ?? incarnation;
          }
        },
      );
    // The sequences are of use only if they reach every reply; the rarest needs several things at once.
    for (let round = 0; round < ROUNDS_MIN || (round < ROUNDS_MAX && !isReached()); round++) {
      const seed = randomInt(2 ** 31);
      await fc.assert(property(seed), { numRuns: 500, seed });
    }
    // Needs five things at once: welcome, not waited for.
    seen.delete("growth refused, release woke, owed");
    expect([...seen.keys()].sort()).toEqual(EVERY_REPLY);
  });

  async function both(
    state: NodeState,
    action: Exclude<Action, { kind: "disturbance" }>,
    terms: NodeTerms,
    nowUs: number,
  ): Promise<{ redis: unknown; model: unknown; kinds: string[] }> {
    if (action.kind === "admit") {
      const request: AdmitRequest = {
        ...action,
        incarnation: terms.incarnation,
        tauUs: nowUs + action.tauOffsetUs,
        notBeforeUs: action.notBeforeUs === 0 ? 0 : nowUs - action.notBeforeUs,
        youngSinceUs: action.youngSinceUs === 0 ? 0 : nowUs - action.youngSinceUs,
      };
      const before = state.marker;
      const answer = decodeAdmission(await run(ADMIT_SCRIPT, admitCall(request, terms)));
      const model = state.admit(request, terms, nowUs);
      const isNew = model.kind === "admitted" && before?.sinceUs !== model.marker.sinceUs;
      return { redis: answer, model, kinds: [`admit ${model.kind}`, ...(isNew ? ["admit new"] : [])] };
    }
    if (action.kind === "inspect") {
      const keys = ["a", "b"];
      return {
        redis: decodeSighting(await run(INSPECT_SCRIPT, inspectCall(keys))),
        model: state.inspect(keys, nowUs),
        kinds: [],
      };
    }
    const { refuses } = action;
    // Redis refuses a script's first write and none after it: what a call of several comes to depends on their order.
    const requests = action.requests
      .slice(0, refuses === undefined ? undefined : 1)
      .map((make) => make(nowUs));
    if (refuses !== undefined) await redis.config("SET", ...LIMITS[refuses].on);
    const answers = await votesOn(requests, terms);
    if (refuses !== undefined) await redis.config("SET", ...LIMITS[refuses].off);
    state.refuses = refuses;
    const model = requests.map((request) => withoutDetail(state.apply(request, terms, nowUs)));
    const kinds = model.flatMap((each, index) => {
      // What a node refuses by the rules, it refuses whether it can write or not.
      if (refuses !== undefined && each.kind === "refused") return [];
      const request = requests[index];
      const letter = request && encodeRequest(request, USUAL_TTL_MS).letter;
      const form = letter !== letter?.toLowerCase() ? "" : requests.length === 1 ? "lone " : "short ";
      return `${refuses === undefined ? form : `${refuses} refused, `}${request?.op} ${wordFor(each)}`;
    });
    // What is published comes on another connection: everything said before this is heard once it comes.
    const allHeard = new Promise<void>((resolve) => (endHeard = resolve));
    await redis.publish(LISTENING, "end");
    await allHeard;
    const told = { redis: notices.redis.splice(0), model: notices.model.splice(0) };
    return {
      redis: { answers, told: told.redis },
      model: { answers: model, told: told.model },
      kinds: [...kinds, ...told.model.map(() => "notice")],
    };
  }

  /** A script that fails as a whole is what its one request came to. */
  async function votesOn(requests: readonly Request[], terms: NodeTerms): Promise<Vote[] | undefined> {
    try {
      const votes = decodeVotes(await vote(requests, terms), requests.length)?.votes;
      return votes?.map(withoutDetail);
    } catch (error) {
      expect(String(error)).toContain("NOREPLICAS");
      return [withoutDetail({ kind: "faulted", reason: "error", detail: String(error), sent: true })];
    }
  }

  /** The marker of an earlier memory, as a snapshot brings it back. */
  async function leave(marker: Marker): Promise<void> {
    const values = markerFields(marker);
    await redis.hset(
      MARKER_KEY,
      Object.fromEntries(MARKER_FIELDS.map((field, i) => [field, values[i] ?? ""])),
    );
  }

  test("isolate the requests of one call: a foreign value fails its own request alone", async () => {
    await redis.flushall();
    clock()?.setMicros(BigInt(START_US));
    const incarnation = incarnationOf(server);
    const terms = { ...TERMS, incarnation: `${incarnation}:${START_US}` };
    await run(ADMIT_SCRIPT, admitCall(admissionOf(incarnation, { tauUs: START_US }), terms));
    clock()?.setMicros(BigInt(START_US + 1_000_000));
    await redis.hset("foreign", "field", "value");
    await redis.set("{odd}:fence", "not a number");
    const acquire = (...keys: string[]): Request => ({
      op: "acquire",
      keys,
      holder: "v#1",
      proposal: START_US + 1_000_000 + keys.length,
      tauUs: START_US + 1_000_000,
      ttlMs: 1_000,
    });
    await redis.hset("{strange}:fence", "field", "value");
    const requests = ["foreign", "odd", "strange", "fine"].map((key) => acquire(key));
    const votes = decodeVotes(await vote(requests, terms), requests.length);
    expect(votes?.votes.map(({ kind }) => kind)).toEqual(["faulted", "faulted", "faulted", "granted"]);
    const both = decodeVotes(await vote([acquire("free", "foreign")], terms), 1);
    expect(both?.votes[0]).toMatchObject({ kind: "faulted", detail: "the key foreign holds something else" });
    expect(await redis.exists("odd", "strange", "free")).toBe(0);
    expect(await redis.type("foreign")).toBe("hash");
    expect(await redis.type("{strange}:fence")).toBe("hash");
  });

  test.each([
    ["text", ["SET", "x"]],
    ["a hash", ["HSET", "field", "value"]],
    ["a list", ["RPUSH", "x"]],
    ["a set", ["SADD", "x"]],
    ["a stream", ["XADD", "*", "field", "value"]],
  ])("%s in the place of a line fails no request, and stays", async (_, [command = "", ...args]) => {
    await redis.flushall();
    let nowUs = START_US;
    clock()?.setMicros(BigInt(nowUs));
    const incarnation = incarnationOf(server);
    const terms = { ...TERMS, incarnation: `${incarnation}:${START_US}` };
    await run(ADMIT_SCRIPT, admitCall(admissionOf(incarnation, { tauUs: nowUs }), terms));
    clock()?.setMicros(BigInt((nowUs += 1_000_000)));
    const bid = (holder: string, keys: string[]) => ({
      op: "acquire" as const,
      keys,
      holder,
      proposal: ++nowUs,
      tauUs: nowUs,
      ttlMs: 1_000,
      waiter: { id: "w1", sinceUs: START_US },
    });
    await redis.call(command, "{a}:line", ...args);
    await redis.set(WAITING_KEY, "1");
    const release = (holder: string, keys: string[]): Request => ({
      op: "release",
      keys,
      holder,
      proposal: nowUs,
      wakes: true,
    });
    const requests: Request[] = [
      bid("x#1", ["b"]),
      bid("x#2", ["a", "b"]), // held by x#1: joins b, leaves a
      release("x#1", ["b"]),
      bid("x#3", ["a", "b"]), // granted: leaves both
      bid("x#4", ["a"]), // held: joins a
      { op: "leave", keys: ["a", "b"], waiter: "w1" },
      release("x#3", ["a", "b"]),
    ];
    const votes = decodeVotes(await vote(requests, terms), requests.length)?.votes;
    const words = ["granted", "held, in line", "woke", "granted", "held", "granted", "granted"];
    expect(votes?.map(wordFor)).toEqual(words);
    expect(await redis.exists("a", "b")).toBe(0);
    expect(await redis.type("{a}:line")).toBe(
      { SET: "string", HSET: "hash", RPUSH: "list", SADD: "set", XADD: "stream" }[command],
    );
    notices.redis.length = 0;
  });
});

const TERMS: NodeTerms = {
  incarnation: "",
  clockWindowMs: WINDOW_MS,
  leadMs: 100,
  fenceTtlMs: 3_000,
  silenceMs: 0,
};

const RELIC: Marker = {
  incarnation: `${"2".repeat(40)}:${"3".repeat(40)}`,
  replicationId: "3".repeat(40),
  history: "0/0/0/-",
  sinceUs: START_US,
  declared: undefined,
  floor: START_US + 50_000,
  ttlMs: 2_000,
  earlierTtlMs: 0,
  turnUs: START_US + 2_000_000,
  evictedKeys: 0,
  contactUs: START_US,
  options: "others",
};

/** Waiters that can be told, and two that have gone. */
const PRESENT = ["w1", "w2"];
const GONE = ["w3", "w4"];
const waiterOf = new Map(PRESENT.map((waiter) => [noticeChannel(waiter), waiter]));
const LISTENING = "test:listening";

const LIMITS: Record<WriteRefusal, Record<"on" | "off", [string, number]>> = {
  growth: { on: ["maxmemory", 1], off: ["maxmemory", 0] },
  everything: { on: ["min-replicas-to-write", 1], off: ["min-replicas-to-write", 0] },
};

/** What went wrong is said in the server's own words. */
function withoutDetail(vote: Vote): Vote {
  return vote.kind === "faulted" ? { ...vote, detail: "" } : vote;
}

function wordFor(vote: Vote): string {
  if (vote.kind === "refused")
    return vote.reason === "held" && vote.ahead !== undefined ? "held, in line" : vote.reason;
  if (vote.kind === "faulted") return vote.kind;
  return [vote.woke === true ? "woke" : "granted", ...(vote.owesTombstone === true ? ["owed"] : [])].join(
    ", ",
  );
}

const VOTES = [
  ...["granted", "held", "stale", "clock", "unadmitted", "quarantined"].map((reply) => `acquire ${reply}`),
  ...["granted", "missing", "clock", "unadmitted", "quarantined"].map((reply) => `extend ${reply}`),
  "release granted",
  "release woke",
  "release granted, owed",
  "release woke, owed",
];

const ROUNDS_MIN = 2;
const ROUNDS_MAX = 60;

const USUAL_TTL_MS = 500;

const EVERY_REPLY = [
  ...VOTES,
  ...["short", "lone"].flatMap((form) => VOTES.map((vote) => `${form} ${vote}`)),
  "acquire held, in line",
  ...["granted", "held", "stale", "clock", "unadmitted", "quarantined"].map((reply) => `exchange ${reply}`),
  "leave granted",
  "leave woke",
  ...[
    "acquire faulted",
    "exchange faulted",
    "release granted",
    "release granted, owed",
    "leave granted",
  ].flatMap((reply) => [`growth refused, ${reply}`, `everything refused, ${reply}`]),
  ...["extend granted", "release woke", "leave woke"].map((reply) => `growth refused, ${reply}`),
  ...["extend faulted", "release faulted"].map((reply) => `everything refused, ${reply}`),
  "notice",
  ...["admitted", "new", "clock", "other-incarnation"].map((reply) => `admit ${reply}`),
].sort();

type Action =
  | {
      readonly kind: "vote";
      readonly isStranger: boolean;
      readonly silenceMs: number;
      readonly refuses: WriteRefusal | undefined;
      readonly requests: readonly ((nowUs: number) => Request)[];
    }
  | (Omit<AdmitRequest, "incarnation" | "tauUs"> & {
      readonly kind: "admit";
      readonly isStranger: boolean;
      readonly silenceMs: number;
      readonly tauOffsetUs: number;
    })
  | { readonly kind: "inspect"; readonly isStranger: boolean; readonly silenceMs: number }
  | { readonly kind: "disturbance"; readonly what: Disturbance };

type Disturbance = "backup" | "promotion" | "statistics reset";

interface Step {
  readonly waitUs: number;
  readonly action: Action;
}

function step(): fc.Arbitrary<Step> {
  const rarely = fc.nat(19).map((n) => n === 0);
  // Around the ms on which keys expire, and around the window and the lead.
  const pause = fc.oneof(
    fc.nat(2_000),
    fc.constantFrom(0, 999, 1_000, 1_001, 99_999, 100_000, 100_001, 500_000, 1_000_000, 3_001_000),
  );
  const offset = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: -2_000, max: 2_000 }) },
    fc.constantFrom(-100_001, -100_000, 100_000, 100_001, 200_000),
  );
  const key = fc.constantFrom(["a"], ["b"], ["a", "b"]);
  const holder = fc.constantFrom("x#1", "x#2", "y#1");
  const ttlMs = fc.constantFrom(
    1,
    ...Array(5).fill(USUAL_TTL_MS),
    1_000,
    1_000,
    2_000,
  ) as fc.Arbitrary<number>;
  const waiter = fc.constantFrom(...PRESENT, ...GONE);
  const bid = fc
    .record({ keys: key, holder, p: offset, tau: offset, ttlMs })
    .map(({ keys, holder: v, p, tau, ttlMs: ttl }) => (nowUs: number) => ({
      keys,
      holder: v,
      proposal: nowUs + p,
      tauUs: nowUs + tau,
      ttlMs: ttl,
    }));
  const acquire = bid.map((make) => (nowUs: number): Request => ({ op: "acquire", ...make(nowUs) }));
  const wait = fc.tuple(bid, waiter, fc.nat(3)).map(([make, id, sinceUs]) => (nowUs: number): Request => ({
    op: "acquire",
    ...make(nowUs),
    waiter: { id, sinceUs: START_US + sinceUs },
  }));
  const exchange = fc
    .tuple(bid, holder)
    .map(([make, from]) => (nowUs: number): Request => ({ op: "exchange", ...make(nowUs), from }));
  const leave = fc
    .tuple(key, waiter)
    .map(([keys, who]) => (): Request => ({ op: "leave", keys, waiter: who }));
  const extend = fc
    .record({ keys: key, holder, tau: fc.oneof(offset, fc.constantFrom(-100_001, 100_001)), ttlMs })
    .map(({ keys, holder: v, tau, ttlMs: ttl }) => (nowUs: number): Request => ({
      op: "extend",
      keys,
      holder: v,
      tauUs: nowUs + tau,
      ttlMs: ttl,
    }));
  const release = fc
    .record({
      keys: key,
      holder,
      // The last is more than B ahead.
      p: fc.oneof({ weight: 9, arbitrary: offset }, fc.constant(300_000)),
      wakes: fc.constantFrom(true, true, false),
    })
    .map(({ keys, holder: v, p, wakes }) => (nowUs: number): Request => ({
      op: "release",
      keys,
      holder: v,
      proposal: nowUs + p,
      wakes,
    }));
  const request = fc.oneof(
    { weight: 3, arbitrary: acquire },
    { weight: 2, arbitrary: extend },
    { weight: 2, arbitrary: release },
    { weight: 3, arbitrary: wait },
    exchange,
    leave,
  );
  const requests = fc.oneof(
    fc.array(request, { minLength: 1, maxLength: 1 }),
    fc.array(request, { minLength: 1, maxLength: 4 }),
  );
  const silenceMs = fc.constantFrom(0, 0, 200);
  const action: fc.Arbitrary<Action> = fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({
        kind: fc.constant("vote" as const),
        isStranger: rarely,
        silenceMs,
        requests,
        refuses: fc.oneof(
          { weight: 8, arbitrary: fc.constant(undefined) },
          fc.constantFrom<WriteRefusal>("growth", "everything"),
        ),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("admit" as const),
        isStranger: rarely,
        silenceMs,
        tauOffsetUs: offset,
        declared: fc.constantFrom(undefined, "init" as const, "first-use" as const),
        // So long before now; 0 is none.
        notBeforeUs: fc.constantFrom(0, 0, 0, 1, 100_000),
        youngSinceUs: fc.constantFrom(0, 0, 0, 1, 100_000),
        staleAfterMs: fc.constantFrom(0, 0, 0, 100),
        allowEviction: fc.boolean(),
        resetsFloor: fc.constantFrom(false, false, true),
        options: fc.constantFrom("mine", "others"),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("inspect" as const),
        isStranger: fc.constant(false),
        silenceMs,
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("disturbance" as const),
        what: fc.constantFrom<Disturbance>("backup", "backup", "promotion", "statistics reset"),
      }),
    },
  );
  return fc.record({ waitUs: pause, action });
}
