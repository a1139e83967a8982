/**
 * The scripts a Redis node runs, and the decoders of their replies. `node-state.ts` says the same in TypeScript; a test drives
 * both with the same requests. One call of VOTE carries many independent requests, so that all requests of one turn of the event
 * loop share a round trip, one TIME and one look at the marker.
 *
 * Numbers: Lua prints large numbers with an exponent, so what is stored comes from ARGV or through `%.0f`; integer replies are exact.
 */
import type { Faulted, Marker, Refusal, Request, Sighting, Vote } from "./lock-node.ts";
import type { Admission, AdmitRequest, NodeTerms } from "./node-state.ts";

/** Hash `inc until floor maxttl`: which memory of this node was admitted, and on what terms. */
export const MARKER_KEY = "holdfast:node";

/** The channel a release is announced on. A notice is a hint to waiters, never needed for safety. */
const RELEASE_CHANNEL_PREFIX = "holdfast:released:";

/** `<key>:fence`, in the same cluster slot as the lock. */
function fenceKey(key: string): string {
  return hasHashTag(key) ? `${key}:fence` : `{${key}}:fence`;
}

/** A hash tag is a non-empty text between the first `{` and the first `}` after it. */
function hasHashTag(key: string): boolean {
  const open = key.indexOf("{");
  return open >= 0 && key.indexOf("}", open + 1) > open + 1;
}

/** Is this the replication id of the node's present memory? A promotion changes it on a live connection (rule G1). */
function isReplicationId(argument: string): string {
  return `string.find(redis.call('INFO', 'replication'), 'master_replid:' .. ${argument}, 1, true)`;
}

/**
 * VOTE. KEYS: marker, then for every request its lock and fence keys in pairs.
 * ARGV: inc, the replid in it, W µs, B µs, fence ttl ms, then per request: op, number of keys, fields
 *   acquire: v p tau ttl · extend: v tau ttl · release: v p
 * Reply: now µs, then per request a status: G granted · H key holder pttl fence · S fence · C · U · Q until · T maxttl ·
 *   X key holder (extend: not held with v) · E message.
 * A request that fails (a foreign type under its key, out of memory) gets E and leaves the others of its call alone; its writes
 * come after all its checks, and Redis refuses for memory only the first write of a script, so it has then written nothing.
 */
export const VOTE_SCRIPT: string = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local inc, window, lead, fence_ttl = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

local checked, refusal, floor, maxttl
local function admission(ttl) -- N1-N3, once per call
  if not checked then
    checked = true
    local marker = redis.call('HMGET', KEYS[1], 'inc', 'until', 'floor', 'maxttl')
    floor, maxttl = tonumber(marker[3]), tonumber(marker[4])
    if marker[1] ~= inc or not ${isReplicationId("ARGV[2]")} then refusal = {'U'}
    elseif now < tonumber(marker[2]) then refusal = {'Q', tonumber(marker[2])} end
  end
  if refusal then return refusal end
  if ttl > maxttl then return {'T', maxttl} end
end

local function outside(tau) return window > 0 and math.abs(tau - now) > window end

local function fence_of(key)
  local stored = redis.call('GET', key)
  if not stored then return 0 end
  return tonumber(stored) or error('the fence key ' .. key .. ' holds something else')
end

local function acquire(k, last, a)
  local v, p, ttl = ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 3]
  local bad = admission(tonumber(ttl))
  if bad then return bad end
  local c, mine, same, held, holder = floor, 0, true, nil, nil -- N4
  for i = k, last, 2 do
    local lock, fence = redis.call('GET', KEYS[i]), fence_of(KEYS[i + 1])
    if fence > c then c = fence end
    if fence ~= p then same = false end
    if lock == v then mine = mine + 1
    elseif lock and not held then held, holder = i, lock end
  end
  if mine > 0 then -- N5
    if same and not held and mine * 2 == last - k + 2 then return 'G' end
    return {'S', c}
  end
  if held then return {'H', (held - k) / 2, holder, redis.call('PTTL', KEYS[held]), c} end -- N6
  if p <= c then return {'S', c} end -- N7
  if outside(tonumber(ARGV[a + 2])) or p > now + lead then return {'C'} end -- N8
  for i = k, last, 2 do -- N9
    redis.call('SET', KEYS[i + 1], ARGV[a + 1], 'PX', fence_ttl)
    redis.call('SET', KEYS[i], v, 'PX', ttl)
  end
  return 'G'
end

local function extend(k, last, a)
  local v, ttl = ARGV[a], ARGV[a + 2]
  local bad = admission(tonumber(ttl))
  if bad then return bad end
  for i = k, last, 2 do
    local lock = redis.call('GET', KEYS[i])
    if lock ~= v then return {'X', (i - k) / 2, lock} end -- E1, E2
  end
  if outside(tonumber(ARGV[a + 1])) then return {'C'} end
  for i = k, last, 2 do redis.call('PEXPIRE', KEYS[i], ttl) end
  return 'G'
end

local function release(k, last, a)
  local v, p = ARGV[a], tonumber(ARGV[a + 1])
  for i = k, last, 2 do -- R1, first: it works at maxmemory
    if redis.call('GET', KEYS[i]) == v then
      redis.call('DEL', KEYS[i])
      redis.pcall('PUBLISH', '${RELEASE_CHANNEL_PREFIX}' .. KEYS[i], ARGV[a + 1])
    end
  end
  local tombstone = math.min(p, now + lead)
  for i = k, last, 2 do -- R2
    if fence_of(KEYS[i + 1]) < tombstone then
      redis.pcall('SET', KEYS[i + 1], string.format('%.0f', tombstone), 'PX', fence_ttl)
    end
  end
  return 'G'
end

local replies, k, a = {now}, 2, 6
while ARGV[a] do
  local op, last = ARGV[a], k + 2 * ARGV[a + 1] - 2
  local run, fields = release, 2
  if op == 'acquire' then run, fields = acquire, 4 elseif op == 'extend' then run, fields = extend, 3 end
  local fine, reply = pcall(run, k, last, a + 2)
  if not fine then reply = {'E', type(reply) == 'table' and reply.err or tostring(reply)} end
  replies[#replies + 1] = reply
  k, a = last + 2, a + 2 + fields
end
return replies
`;

/**
 * ADMIT. KEYS: marker. ARGV: run id, replid, maxttl ms, quarantine ms, W µs, B µs, tau µs, declared 0|1.
 * Reply: now µs, then A until floor maxttl · U other incarnation · C clock · T maxttl of an earlier admission.
 */
export const ADMIT_SCRIPT: string = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local maxttl, window = tonumber(ARGV[3]), tonumber(ARGV[5])
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if run_id ~= ARGV[1] or not ${isReplicationId("ARGV[2]")} then return {now, 'U'} end
if window > 0 and math.abs(tonumber(ARGV[7]) - now) > window then return {now, 'C'} end
local inc = ARGV[1] .. ':' .. ARGV[2]
local old = redis.call('HMGET', KEYS[1], 'inc', 'until', 'floor', 'maxttl')
local ends, floor, old_max = tonumber(old[2]), tonumber(old[3]) or 0, tonumber(old[4]) or 0
if old[1] == inc then -- A1
  if old_max > maxttl then maxttl = old_max end
  if ARGV[8] == '1' and ends > now then ends = now end
else -- A2
  if old_max > maxttl then return {now, 'T', old_max} end
  ends, floor = now + ARGV[4] * 1000, math.max(floor, now + ARGV[6])
end
redis.call('HSET', KEYS[1], 'inc', inc, 'until', string.format('%.0f', ends), 'floor', string.format('%.0f', floor), 'maxttl', maxttl)
return {now, 'A', ends, floor, maxttl}
`;

/**
 * INSPECT. KEYS: marker, then lock and fence keys in pairs.
 * Reply: now µs, marker fields (inc until floor maxttl, absent as nil), then per key: holder or nil, pttl, fence or nil.
 */
export const INSPECT_SCRIPT: string = `
local time = redis.call('TIME')
local reply = {time[1] * 1000000 + time[2], redis.call('HMGET', KEYS[1], 'inc', 'until', 'floor', 'maxttl')}
for i = 2, #KEYS, 2 do
  reply[#reply + 1] = {redis.call('GET', KEYS[i]), redis.call('PTTL', KEYS[i]), redis.call('GET', KEYS[i + 1])}
end
return reply
`;

/** Arguments of one script call as ioredis takes them: number of keys, keys, arguments. */
export type ScriptArguments = (string | number)[];

export function voteArguments(requests: readonly Request[], terms: NodeTerms): ScriptArguments {
  const keys: string[] = [MARKER_KEY];
  const fields: (string | number)[] = [];
  for (const request of requests) {
    for (const key of request.keys) keys.push(key, fenceKey(key));
    pushFields(fields, request);
  }
  return [keys.length, ...keys, ...termFields(terms), ...fields];
}

export function admitArguments(request: AdmitRequest, terms: NodeTerms): ScriptArguments {
  const [runId, replicationId] = request.incarnation.split(":");
  const { maxTtlMs, quarantineMs, tauUs, declared } = request;
  const window = [terms.clockWindowMs * 1_000, terms.leadMs * 1_000];
  return [
    1,
    MARKER_KEY,
    runId ?? "",
    replicationId ?? "",
    maxTtlMs,
    quarantineMs,
    ...window,
    tauUs,
    declared ? 1 : 0,
  ];
}

export function inspectArguments(keys: readonly string[]): ScriptArguments {
  return [1 + 2 * keys.length, MARKER_KEY, ...keys.flatMap((key) => [key, fenceKey(key)])];
}

function termFields({ incarnation, clockWindowMs, leadMs, fenceTtlMs }: NodeTerms): (string | number)[] {
  const replicationId = incarnation.slice(incarnation.indexOf(":") + 1);
  return [incarnation, replicationId, clockWindowMs * 1_000, leadMs * 1_000, fenceTtlMs];
}

function pushFields(fields: (string | number)[], request: Request): void {
  const { op, keys, holder } = request;
  switch (op) {
    case "acquire":
      fields.push(op, keys.length, holder, request.proposal, request.tauUs, request.ttlMs);
      return;
    case "extend":
      fields.push(op, keys.length, holder, request.tauUs, request.ttlMs);
      return;
    case "release":
      fields.push(op, keys.length, holder, request.proposal);
  }
}

/** One vote per request, or undefined where the reply has another shape (something between us and Redis made it up). */
export function decodeVotes(reply: unknown, requests: number): Vote[] | undefined {
  if (!Array.isArray(reply) || reply.length !== requests + 1) return undefined;
  const [nowUs, ...statuses] = reply as unknown[];
  return isInteger(nowUs) ? statuses.map((status) => decodeStatus(status, nowUs)) : undefined;
}

function decodeStatus(status: unknown, nowUs: number): Vote {
  if (status === "G") return { kind: "granted", nowUs };
  if (!Array.isArray(status)) return malformed(status);
  if (status[0] === "E") return { kind: "faulted", reason: "error", detail: String(status[1]), sent: true };
  const refusal = decodeRefusal(status as unknown[]);
  return refusal === undefined ? malformed(status) : { kind: "refused", nowUs, ...refusal };
}

function decodeRefusal([code, first, second, third, fourth]: unknown[]): Refusal | undefined {
  switch (code) {
    case "H":
      if (!isInteger(first) || typeof second !== "string" || !isInteger(third) || !isInteger(fourth))
        return undefined;
      return { reason: "held", key: first, holder: second, remainingMs: third, fence: fourth };
    case "S":
      return isInteger(first) ? { reason: "stale", fence: first } : undefined;
    case "C":
      return { reason: "clock" };
    case "U":
      return { reason: "unadmitted" };
    case "Q":
      return isInteger(first) ? { reason: "quarantined", untilUs: first } : undefined;
    case "T":
      return isInteger(first) ? { reason: "ttl-too-long", maxTtlMs: first } : undefined;
    case "X":
      return isInteger(first)
        ? { reason: "missing", key: first, holder: typeof second === "string" ? second : undefined }
        : undefined;
    default:
      return undefined;
  }
}

export function decodeAdmission(reply: unknown, incarnation: string): Admission | undefined {
  if (!Array.isArray(reply)) return undefined;
  const [nowUs, code, first, second, third] = reply as unknown[];
  if (!isInteger(nowUs)) return undefined;
  if (code === "U") return { kind: "other-incarnation", nowUs };
  if (code === "C") return { kind: "clock", nowUs };
  if (code === "T" && isInteger(first)) return { kind: "ttl-too-short", nowUs, maxTtlMs: first };
  if (code !== "A" || !isInteger(first) || !isInteger(second) || !isInteger(third)) return undefined;
  return { kind: "admitted", nowUs, marker: { incarnation, untilUs: first, floor: second, maxTtlMs: third } };
}

export function decodeSighting(reply: unknown): Sighting | undefined {
  if (!Array.isArray(reply)) return undefined;
  const [nowUs, marker, ...keys] = reply as unknown[];
  if (!isInteger(nowUs)) return undefined;
  return { nowUs, marker: decodeMarker(marker), keys: keys.map(decodeKey) };
}

/** HMGET's answer; undefined where the marker is absent or not one of ours. */
export function decodeMarker(fields: unknown): Marker | undefined {
  if (!Array.isArray(fields)) return undefined;
  const [incarnation, untilUs, floor, maxTtlMs] = fields as unknown[];
  const marker = { untilUs: Number(untilUs), floor: Number(floor), maxTtlMs: Number(maxTtlMs) };
  return typeof incarnation === "string" && Object.values(marker).every(isInteger)
    ? { incarnation, ...marker }
    : undefined;
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
