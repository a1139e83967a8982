/**
 * What the scripts of redis-scripts.ts are asked and answer: requests into arguments, replies into votes. A reply of another shape is
 * nobody's vote: something between us and Redis made it up.
 */
import { fenceKey, MARKER_KEY, WAITING_KEY } from "./key-names.ts";
import type { Declaration, Faulted, Marker, Refusal, Request, Sighting, Vote } from "./lock-node.ts";
import type { Admission, AdmitRequest, NodeTerms } from "./node-state.ts";
import { MARKER_FIELDS } from "./redis-scripts.ts";
import { bulk, type Wire, wireOf } from "./resp.ts";

/** A request in the words of VOTE, the same for every node. */
export interface EncodedRequest {
  /** What kind of request it is. */
  readonly letter: string;
  /** How many lock and fence keys, and the keys. */
  readonly keyCount: number;
  readonly keys: string;
  readonly fieldCount: number;
  readonly fields: string;
}

/** `usualTtlMs`: what the call says once for all its requests, so that most of them need not. */
export function encodeRequest(request: Request, usualTtlMs: number): EncodedRequest {
  const { op, keys } = request;
  if (keys.length === 1) {
    if (op === "release" && request.wakes)
      return encoded("r", keys, 2, bulk(request.holder) + bulk(request.proposal));
    if (op === "extend" && request.ttlMs === usualTtlMs)
      return encoded("e", keys, 2, bulk(request.holder) + bulk(request.tauUs));
    if (op === "acquire" && request.ttlMs === usualTtlMs && request.waiter === undefined) {
      const fields = bulk(request.holder) + bulk(request.proposal) + bulk(request.tauUs);
      return encoded("a", keys, 3, fields);
    }
  }
  const fields = [keys.length, ...longFields(request)];
  return encoded(LETTERS[nameOf(request)], keys, fields.length, fields.map(bulk).join(""));
}

function encoded(
  letter: string,
  locks: readonly string[],
  fieldCount: number,
  fields: string,
): EncodedRequest {
  let keys = "";
  for (const lock of locks) keys += bulk(lock) + bulk(fenceKey(lock));
  return { letter, keyCount: 2 * locks.length, keys, fieldCount, fields };
}

/** As the longer forms are called on the wire. */
const LETTERS = { acquire: "A", wait: "W", exchange: "X", extend: "E", release: "R", leave: "L" } as const;

function nameOf(request: Request): keyof typeof LETTERS {
  return request.op === "acquire" && request.waiter !== undefined ? "wait" : request.op;
}

function longFields(request: Request): (string | number)[] {
  switch (request.op) {
    case "acquire": {
      const bid = [request.holder, request.proposal, request.tauUs, request.ttlMs];
      return request.waiter === undefined ? bid : [...bid, request.waiter.id, request.waiter.sinceUs];
    }
    case "exchange":
      return [request.holder, request.proposal, request.tauUs, request.ttlMs, request.from];
    case "extend":
      return [request.holder, request.tauUs, request.ttlMs];
    case "release":
      return [request.holder, request.proposal, request.wakes ? 1 : 0];
    case "leave":
      return [request.waiter];
  }
}

/** What all calls to a node begin with, once it is admitted: made once, not with every call. */
export function callHead(
  { incarnation, clockWindowMs, leadMs, fenceTtlMs, silenceMs }: NodeTerms,
  usualTtlMs: number,
): Wire {
  const window = [clockWindowMs * 1_000, leadMs * 1_000];
  return wireOf([incarnation, ...window, fenceTtlMs, usualTtlMs, silenceMs * 1_000]);
}

const CALL_KEYS = wireOf([MARKER_KEY, WAITING_KEY]);

/** One call of VOTE for all of them. */
export function voteCall(requests: readonly EncodedRequest[], head: Wire): Wire {
  let [letters, keys, fields] = ["", "", ""];
  let [keyCount, fieldCount] = [CALL_KEYS.count, 0];
  for (const request of requests) {
    letters += request.letter;
    keys += request.keys;
    fields += request.fields;
    keyCount += request.keyCount;
    fieldCount += request.fieldCount;
  }
  return {
    count: 1 + keyCount + head.count + 1 + fieldCount,
    text: bulk(keyCount) + CALL_KEYS.text + keys + head.text + bulk(letters) + fields,
  };
}

export function admitCall(request: AdmitRequest, terms: Pick<NodeTerms, "clockWindowMs" | "leadMs">): Wire {
  const { incarnation, tauUs, declared = "", notBeforeUs, youngSinceUs, staleAfterMs } = request;
  const window = [terms.clockWindowMs * 1_000, terms.leadMs * 1_000];
  const times = [notBeforeUs, youngSinceUs, staleAfterMs * 1_000];
  const flags = [request.allowEviction, request.resetsFloor].map(Number);
  return wireOf([
    1,
    MARKER_KEY,
    incarnation,
    ...window,
    tauUs,
    declared,
    ...times,
    ...flags,
    request.options,
  ]);
}

export function inspectCall(keys: readonly string[]): Wire {
  return wireOf([1 + 2 * keys.length, MARKER_KEY, ...keys.flatMap((key) => [key, fenceKey(key)])]);
}

export interface Votes {
  readonly nowUs: number;
  /** One for every request. */
  readonly votes: readonly Vote[];
}

/** Undefined where the reply has another shape. `tookMs`: how long it was on its way. */
export function decodeVotes(reply: unknown, requests: number, tookMs?: number): Votes | undefined {
  if (!Array.isArray(reply)) return undefined;
  const [nowUs, statuses, ...details] = reply as unknown[];
  if (!isInteger(nowUs) || typeof statuses !== "string" || statuses.length !== requests) return undefined;
  const when = tookMs === undefined ? { nowUs } : { nowUs, tookMs };
  // Most are granted: one object for all of them.
  const granted: Vote = { kind: "granted", ...when };
  const votes: Vote[] = Array(requests).fill(granted);
  if (details.length === 0 && !/[^G]/.test(statuses)) return { nowUs, votes };
  let detail = 0;
  for (let index = 0; index < requests; index++) {
    const status = statuses.charAt(index);
    if (status !== "G")
      votes[index] = decodeStatus(status, DETAILED.has(status) ? details[detail++] : undefined, when);
  }
  return { nowUs, votes };
}

const DETAILED: ReadonlySet<string> = new Set(["H", "S", "Q", "T", "X", "E"]);

interface When {
  readonly nowUs: number;
  readonly tookMs?: number;
}

function decodeStatus(status: string, detail: unknown, when: When): Vote {
  if (status === "W") return { kind: "granted", ...when, woke: true };
  if (status === "O") return { kind: "granted", ...when, owesTombstone: true };
  if (status === "P") return { kind: "granted", ...when, woke: true, owesTombstone: true };
  if (status === "E") return { kind: "faulted", reason: "error", detail: String(detail), sent: true };
  const refusal = decodeRefusal(status, detail);
  return refusal === undefined ? malformed([status, detail]) : { kind: "refused", ...when, ...refusal };
}

function decodeRefusal(status: string, detail: unknown): Refusal | undefined {
  switch (status) {
    case "H":
      return decodeHeld(detail);
    case "S":
      return isInteger(detail) ? { reason: "stale", fence: detail } : undefined;
    case "C":
      return { reason: "clock" };
    case "U":
      return { reason: "unadmitted" };
    case "Q":
      return isInteger(detail) ? { reason: "quarantined", untilUs: detail } : undefined;
    case "X":
      return decodeMissing(detail);
    default:
      return undefined;
  }
}

function decodeHeld(detail: unknown): Refusal | undefined {
  if (!Array.isArray(detail)) return undefined;
  const [key, holder, remainingMs, fence, ahead] = detail as unknown[];
  if (!isInteger(key) || typeof holder !== "string" || !isInteger(remainingMs) || !isInteger(fence))
    return undefined;
  const place = isInteger(ahead) && ahead >= 0 ? { ahead } : undefined;
  return { reason: "held", key, holder, remainingMs, fence, ...place };
}

function decodeMissing(detail: unknown): Refusal | undefined {
  const [key, holder] = Array.isArray(detail) ? (detail as unknown[]) : [];
  return isInteger(key)
    ? { reason: "missing", key, holder: typeof holder === "string" ? holder : undefined }
    : undefined;
}

export function decodeAdmission(reply: unknown): Admission | undefined {
  if (!Array.isArray(reply)) return undefined;
  const [nowUs, code, fields] = reply as unknown[];
  if (!isInteger(nowUs)) return undefined;
  if (code === "U") return { kind: "other-incarnation", nowUs };
  if (code === "C") return { kind: "clock", nowUs };
  const marker = code === "A" ? decodeMarker(fields) : undefined;
  return marker && { kind: "admitted", nowUs, marker };
}

export function decodeSighting(reply: unknown): Sighting | undefined {
  if (!Array.isArray(reply)) return undefined;
  const [nowUs, marker, ...keys] = reply as unknown[];
  if (!isInteger(nowUs)) return undefined;
  return { nowUs, marker: decodeMarker(marker), keys: keys.map(decodeKey) };
}

/** HMGET's answer for MARKER_FIELDS; undefined where the marker is absent or not one of ours. */
export function decodeMarker(fields: unknown): Marker | undefined {
  if (!Array.isArray(fields)) return undefined;
  const text = (name: MarkerField) => textOf((fields as unknown[])[MARKER_FIELDS.indexOf(name)]);
  const [incarnation, replicationId, declared] = [text("inc"), text("replid"), text("declared")];
  const numbers = numbersOf(text);
  if (incarnation === "" || replicationId === "" || numbers === undefined) return undefined;
  return {
    incarnation,
    replicationId,
    history: text("history"),
    declared: isDeclaration(declared) ? declared : undefined,
    options: text("options"),
    ...numbers,
  };
}

/** Undefined where one of them is none: what is absent is not 0. */
function numbersOf(text: (name: MarkerField) => string): MarkerNumbers | undefined {
  const number = (name: MarkerField) => (text(name) === "" ? NaN : Number(text(name)));
  const numbers: MarkerNumbers = {
    sinceUs: number("since"),
    floor: number("floor"),
    ttlMs: number("ttl"),
    earlierTtlMs: number("earlier"),
    turnUs: number("turn"),
    evictedKeys: number("evicted"),
    contactUs: number("contact"),
  };
  return Object.values(numbers).every(isInteger) ? numbers : undefined;
}

type MarkerField = (typeof MARKER_FIELDS)[number];
type MarkerNumbers = {
  readonly [name in keyof Marker as Marker[name] extends number ? name : never]: number;
};

function textOf(field: unknown): string {
  return typeof field === "string" ? field : "";
}

function isDeclaration(field: string): field is Declaration {
  return field === "init" || field === "first-use";
}

function decodeKey(entry: unknown): Sighting["keys"][number] {
  const [holder, remainingMs, fence] = Array.isArray(entry) ? (entry as unknown[]) : [];
  return {
    holder: typeof holder === "string" ? holder : undefined,
    remainingMs: Math.max(0, Number(remainingMs) || 0),
    fence: Number(fence) || 0,
  };
}

function malformed(status: unknown): Faulted {
  return {
    kind: "faulted",
    reason: "error",
    detail: `unexpected reply ${JSON.stringify(status)?.slice(0, 80)}`,
    sent: true,
  };
}

function isInteger(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
