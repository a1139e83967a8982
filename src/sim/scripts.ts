/**
 * The way from a script's arguments to what they ask of a node, and from a node's answer to the script's reply: the inverse of the
 * encoders and decoders of redis-scripts.ts, so that a simulated server is spoken to in the same bytes as a real one.
 */
import type { Granted, Marker, Request, Sighting, Vote } from "../node/lock-node.ts";
import type { Admission, AdmitRequest, NodeTerms } from "../node/node-state.ts";
import {
  ADMIT_SCRIPT,
  INSPECT_SCRIPT,
  LONE_SCRIPTS,
  MARKER_FIELDS,
  VOTE_SCRIPT,
} from "../node/redis-scripts.ts";

type Script = "vote" | "admit" | "inspect";

export const KNOWN_SCRIPTS: ReadonlyMap<string, Script> = new Map<string, Script>([
  [VOTE_SCRIPT, "vote"],
  ...Object.values(LONE_SCRIPTS).map((lua) => [lua, "vote"] as const),
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
  const keys = args.slice(1, 1 + keyCount).map(String);
  const fields = args.slice(1 + keyCount);
  switch (script) {
    case "inspect":
      return { kind: "inspect", keys: locksAmong(keys.slice(1)) };
    case "admit":
      return admitCall(fields);
    case "vote":
      return {
        kind: "vote",
        terms: termsOf(fields),
        requests: requestsOf(locksAmong(keys.slice(2)), Number(fields[4]), fields.slice(6)),
      };
  }
}

/** Each lock key is followed by its fence key. */
function locksAmong(keys: readonly string[]): string[] {
  return keys.filter((_, index) => index % 2 === 0);
}

function termsOf([incarnation, windowUs, leadUs, fenceTtlMs, , silenceUs]: Arguments): NodeTerms {
  return {
    incarnation: String(incarnation),
    clockWindowMs: Number(windowUs) / 1_000,
    leadMs: Number(leadUs) / 1_000,
    fenceTtlMs: Number(fenceTtlMs),
    silenceMs: Number(silenceUs) / 1_000,
  };
}

function admitCall([incarnation, windowUs, leadUs, tauUs, declared, ...rest]: Arguments): ScriptCall {
  const [notBeforeUs, youngSinceUs, staleAfterUs, allowEviction, resetsFloor, options] = rest;
  const request: AdmitRequest = {
    incarnation: String(incarnation),
    tauUs: Number(tauUs),
    declared: declared === "init" || declared === "first-use" ? declared : undefined,
    notBeforeUs: Number(notBeforeUs),
    youngSinceUs: Number(youngSinceUs),
    staleAfterMs: Number(staleAfterUs) / 1_000,
    allowEviction: Number(allowEviction) === 1,
    resetsFloor: Number(resetsFloor) === 1,
    options: String(options),
  };
  return { kind: "admit", request, terms: termsOf([String(incarnation), Number(windowUs), Number(leadUs)]) };
}

/** A letter for every request, and their fields. */
function requestsOf(keys: readonly string[], usualTtlMs: number, [letters, ...fields]: Arguments): Request[] {
  let [key, at] = [0, 0];
  return Array.from(String(letters), (letter) => {
    const isShort = letter === letter.toLowerCase();
    const count = isShort ? 1 : Number(fields[at++]);
    const take = fields.slice(at, at + (FIELDS[letter] ?? 0));
    const request = requestOf(letter, keys.slice(key, key + count), take, usualTtlMs);
    key += count;
    at += take.length;
    return request;
  });
}

/** How many fields a request has after the number of its keys. */
const FIELDS: Readonly<Record<string, number>> = { a: 3, e: 2, r: 2, A: 4, W: 6, X: 5, E: 3, R: 3, L: 1 };

function requestOf(letter: string, keys: readonly string[], fields: Arguments, usualTtlMs: number): Request {
  const [v, first, second, third = usualTtlMs, fourth, fifth] = fields;
  const holder = String(v);
  const bid = { keys, holder, proposal: Number(first), tauUs: Number(second), ttlMs: Number(third) };
  switch (letter) {
    case "W":
      return { op: "acquire", ...bid, waiter: { id: String(fourth), sinceUs: Number(fifth) } };
    case "X":
      return { op: "exchange", ...bid, from: String(fourth) };
    case "e":
    case "E":
      return { op: "extend", keys, holder, tauUs: Number(first), ttlMs: Number(second ?? usualTtlMs) };
    case "r":
    case "R":
      return { op: "release", keys, holder, proposal: Number(first), wakes: Number(second ?? 1) === 1 };
    case "L":
      return { op: "leave", keys, waiter: holder };
    default:
      return { op: "acquire", ...bid };
  }
}

/** A reply of VOTE. */
export function votesReply(nowUs: number, votes: readonly Vote[]): unknown {
  const words = votes.map(wordsOf);
  return [nowUs, words.map(([status]) => status).join(""), ...words.flatMap(([, ...details]) => details)];
}

/** The status, and its details where it has any. */
function wordsOf(vote: Vote): readonly [status: string, detail?: unknown] {
  if (vote.kind === "granted") return [grantOf(vote)];
  if (vote.kind === "faulted") return ["E", vote.detail];
  switch (vote.reason) {
    case "held":
      return ["H", [vote.key, vote.holder, vote.remainingMs, vote.fence, vote.ahead ?? -1]];
    case "stale":
      return ["S", vote.fence];
    case "clock":
      return ["C"];
    case "unadmitted":
      return ["U"];
    case "quarantined":
      return ["Q", vote.untilUs];
    case "missing":
      return ["X", [vote.key, vote.holder ?? null]];
  }
}

function grantOf({ woke, owesTombstone }: Granted): string {
  if (owesTombstone === true) return woke === true ? "P" : "O";
  return woke === true ? "W" : "G";
}

export function admissionReply(admission: Admission): unknown {
  const { nowUs } = admission;
  switch (admission.kind) {
    case "admitted":
      return [nowUs, "A", markerFields(admission.marker)];
    case "other-incarnation":
      return [nowUs, "U"];
    case "clock":
      return [nowUs, "C"];
  }
}

/** As HMGET answers for MARKER_FIELDS. */
export function markerFields(marker: Marker | undefined): (string | null)[] {
  if (marker === undefined) return MARKER_FIELDS.map(() => null);
  const { incarnation, replicationId, history, sinceUs, declared = "", floor } = marker;
  const { ttlMs, earlierTtlMs, turnUs, evictedKeys, contactUs, options } = marker;
  const times = [ttlMs, earlierTtlMs, turnUs, evictedKeys, contactUs];
  return [incarnation, replicationId, history, sinceUs, declared, floor, ...times, options].map(String);
}

export function inspectionReply({ nowUs, marker, keys }: Sighting): unknown {
  return [
    nowUs,
    markerFields(marker),
    ...keys.map(({ holder, remainingMs, fence }) => [
      holder ?? null,
      remainingMs,
      fence === 0 ? null : String(fence),
    ]),
  ];
}
