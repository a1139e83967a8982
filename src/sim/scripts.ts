/**
 * The way from a script's arguments to what they ask of a node, and from a node's answer to the script's reply: the inverse of the
 * encoders and decoders of redis-scripts.ts, so that a simulated server is spoken to in the same bytes as a real one.
 */
import type { Request, Sighting, Vote } from "../node/lock-node.ts";
import type { Admission, AdmitRequest, NodeTerms } from "../node/node-state.ts";
import { ADMIT_SCRIPT, INSPECT_SCRIPT, SOLO_SCRIPTS, VOTE_SCRIPT } from "../node/redis-scripts.ts";

type Script = "vote" | "acquire" | "extend" | "release" | "admit" | "inspect";

export const KNOWN_SCRIPTS: ReadonlyMap<string, Script> = new Map<string, Script>([
  [VOTE_SCRIPT, "vote"],
  [SOLO_SCRIPTS.acquire, "acquire"],
  [SOLO_SCRIPTS.extend, "extend"],
  [SOLO_SCRIPTS.release, "release"],
  [ADMIT_SCRIPT, "admit"],
  [INSPECT_SCRIPT, "inspect"],
]);

export type ScriptCall =
  | { readonly kind: "vote"; readonly requests: readonly Request[]; readonly terms: NodeTerms }
  | { readonly kind: "admit"; readonly request: AdmitRequest; readonly terms: NodeTerms }
  | { readonly kind: "inspect"; readonly keys: readonly string[] };

type Arguments = readonly (string | number)[];

export function parseCall(script: Script, args: Arguments): ScriptCall {
  const keyCount = Number(args[0]);
  // The marker's key, then each lock key with its fence key.
  const keys = args
    .slice(2, 1 + keyCount)
    .filter((_, index) => index % 2 === 0)
    .map(String);
  const fields = args.slice(1 + keyCount);
  switch (script) {
    case "inspect":
      return { kind: "inspect", keys };
    case "admit":
      return admitCall(fields);
    case "vote":
      return { kind: "vote", terms: termsOf(fields), requests: batched(keys, fields.slice(4)) };
    default:
      return { kind: "vote", terms: termsOf(fields), requests: [requestOf(script, keys, fields.slice(4))] };
  }
}

function termsOf([incarnation, windowUs, leadUs, fenceTtlMs]: Arguments): NodeTerms {
  return {
    incarnation: String(incarnation),
    clockWindowMs: Number(windowUs) / 1_000,
    leadMs: Number(leadUs) / 1_000,
    fenceTtlMs: Number(fenceTtlMs),
  };
}

function admitCall([
  incarnation,
  maxTtlMs,
  quarantineMs,
  windowUs,
  leadUs,
  tauUs,
  declared,
]: Arguments): ScriptCall {
  const request: AdmitRequest = {
    incarnation: String(incarnation),
    maxTtlMs: Number(maxTtlMs),
    quarantineMs: Number(quarantineMs),
    tauUs: Number(tauUs),
    declared: Number(declared) === 1,
  };
  return {
    kind: "admit",
    request,
    terms: termsOf([String(incarnation), Number(windowUs), Number(leadUs), 0]),
  };
}

/** What a request is called in the arguments of VOTE. */
type Operation = Request["op"] | "wait";

const FIELDS = { acquire: 4, wait: 6, exchange: 5, extend: 3, release: 3, leave: 1 } as const;

function batched(keys: readonly string[], fields: Arguments): Request[] {
  const requests: Request[] = [];
  let key = 0;
  for (let at = 0; at < fields.length;) {
    const op = String(fields[at]) as Operation;
    const count = Number(fields[at + 1]);
    requests.push(requestOf(op, keys.slice(key, key + count), fields.slice(at + 2)));
    key += count;
    at += 2 + FIELDS[op];
  }
  return requests;
}

function requestOf(
  op: Operation,
  keys: readonly string[],
  [v, first, second, third, fourth, fifth]: Arguments,
): Request {
  const holder = String(v);
  const bid = { keys, holder, proposal: Number(first), tauUs: Number(second), ttlMs: Number(third) };
  switch (op) {
    case "acquire":
      return { op, ...bid };
    case "wait":
      return { op: "acquire", ...bid, waiter: { id: String(fourth), sinceUs: Number(fifth) } };
    case "exchange":
      return { op, ...bid, from: String(fourth) };
    case "extend":
      return { op, keys, holder, tauUs: Number(first), ttlMs: Number(second) };
    case "release":
      return { op, keys, holder, proposal: Number(first), wakes: Number(second) === 1 };
    case "leave":
      return { op, keys, waiter: holder };
  }
}

export function voteReply(vote: Vote): unknown {
  if (vote.kind === "granted") return vote.woke === true ? "W" : "G";
  if (vote.kind === "faulted") return ["E", vote.detail];
  switch (vote.reason) {
    case "held":
      return ["H", vote.key, vote.holder, vote.remainingMs, vote.fence, vote.ahead ?? -1];
    case "stale":
      return ["S", vote.fence];
    case "clock":
      return ["C"];
    case "unadmitted":
      return ["U"];
    case "quarantined":
      return ["Q", vote.untilUs];
    case "ttl-too-long":
      return ["T", vote.maxTtlMs];
    case "missing":
      return ["X", vote.key, vote.holder ?? null];
  }
}

export function admissionReply(admission: Admission): unknown {
  const { nowUs } = admission;
  switch (admission.kind) {
    case "admitted": {
      const { untilUs, floor, maxTtlMs } = admission.marker;
      return [nowUs, "A", untilUs, floor, maxTtlMs];
    }
    case "other-incarnation":
      return [nowUs, "U"];
    case "clock":
      return [nowUs, "C"];
    case "ttl-too-short":
      return [nowUs, "T", admission.maxTtlMs];
  }
}

export function inspectionReply({ nowUs, marker, keys }: Sighting): unknown {
  const fields = marker && [marker.incarnation, marker.untilUs, marker.floor, marker.maxTtlMs].map(String);
  return [
    nowUs,
    fields ?? [null, null, null, null],
    ...keys.map(({ holder, remainingMs, fence }) => [
      holder ?? null,
      remainingMs,
      fence === 0 ? null : String(fence),
    ]),
  ];
}
