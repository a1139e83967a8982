/**
 * The scripts a Redis node runs, and the decoders of their replies. `node-state.ts` says the same in TypeScript; a test drives
 * both with the same requests. One call of VOTE carries many independent requests, so that all requests of one turn of the event
 * loop share a round trip, one TIME and one look at the marker.
 *
 * Numbers: Lua prints large numbers with an exponent, so what is stored comes from ARGV or through `%.0f`; integer replies are exact.
 */
import type { Faulted, Marker, Refusal, Request, Sighting, Vote } from "./lock-node.ts";
import type { Admission, AdmitRequest, NodeTerms } from "./node-state.ts";
import { DEAD_WAITERS_MAX, LINE_LENGTH_MAX, LINE_TTL_MS } from "./waiting-lines.ts";

/** Hash `inc until floor maxttl`: which memory of this node was admitted, and on what terms. */
export const MARKER_KEY = "holdfast:node";

/** With the waiter's name behind it, the channel on which it is told of releases; the message is the lock's key. A hint, never needed for safety. */
const NOTICE_CHANNEL_PREFIX = "holdfast:wake:";

/** Where `waiter` hears of releases. */
export function noticeChannel(waiter: string): string {
  return NOTICE_CHANNEL_PREFIX + waiter;
}

/** `<key>:fence`, in the same cluster slot as the lock. Beside it, `…:line` has those who wait: a sorted set, by the time they came. */
function fenceKey(key: string): string {
  return hasHashTag(key) ? `${key}:fence` : `{${key}}:fence`;
}

/** A hash tag is a non-empty text between the first `{` and the first `}` after it. */
function hasHashTag(key: string): boolean {
  const open = key.indexOf("{");
  return open >= 0 && key.indexOf("}", open + 1) > open + 1;
}

/** Is this, from its 42nd character on, the replication id of the node's present memory? A promotion changes it on a live connection (rule G1). */
function isReplicationIdOf(incarnation: string): string {
  return `string.find(redis.call('INFO', 'replication'), 'master_replid:' .. string.sub(${incarnation}, 42), 1, true)`;
}

/** TIME first; W and B in µs. */
const PRELUDE = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local inc, window, lead, fence_ttl = ARGV[1], ARGV[2] + 0, ARGV[3] + 0, ARGV[4]
local marker, is_known
`;

/** N1–N3: the marker and the replication id are read once per call, which nothing can change meanwhile. */
const ADMISSION = `
  if not marker then
    marker = redis.call('HMGET', KEYS[1], 'inc', 'until', 'floor', 'maxttl')
    is_known = marker[1] == inc and ${isReplicationIdOf("inc")}
  end
  if not is_known then return {'U'} end
  if now < marker[2] + 0 then return {'Q', marker[2] + 0} end
  if ttl + 0 > marker[4] + 0 then return {'T', marker[4] + 0} end`;

/** The line of the lock whose fence key this is. */
const LINE_OF = `
local function line_of(fence_key) return string.sub(fence_key, 1, -6) .. 'line' end
`;

/** Q3: the longest waiting that hears it. Whoever does not is gone; through pcall, since a notice must never make a release fail. */
const WAKE = `${LINE_OF}
local function wake(lock_key, fence_key)
  for _ = 1, ${DEAD_WAITERS_MAX} do
    local first = redis.pcall('ZPOPMIN', line_of(fence_key))[1]
    if not first then return false end
    local heard = redis.pcall('PUBLISH', '${NOTICE_CHANNEL_PREFIX}' .. first, lock_key)
    if type(heard) == 'number' and heard > 0 then return true end
  end
  return false
end
`;

/** Q1: the rank in the line of a lock that is held, or -1. */
const JOIN = `
local function join(fence_key, waiter, since)
  local line = line_of(fence_key)
  local size = redis.pcall('ZCARD', line)
  if type(size) ~= 'number' or size >= ${LINE_LENGTH_MAX} then return -1 end
  if type(redis.pcall('ZADD', line, since, waiter)) ~= 'number' then return -1 end
  redis.call('PEXPIRE', line, ${LINE_TTL_MS})
  return redis.call('ZRANK', line, waiter)
end
`;

/** Q4: who is not in line any more was told, or forgotten; if the lock is free then, the next one is told. */
const LEAVE_LINE = `
local function leave_line(i, waiter)
  if redis.call('ZREM', line_of(KEYS[i + 1]), waiter) == 1 or redis.call('GET', KEYS[i]) then return false end
  return wake(KEYS[i], KEYS[i + 1])
end
`;

/** Each is a function of the places of its first and last lock key in KEYS and of its first field in ARGV. */
const ACQUIRE = `
local function acquire(k, last, a, from, waiter, since)
  local v, p, tau, ttl = ARGV[a], ARGV[a + 1] + 0, ARGV[a + 2], ARGV[a + 3]
  ${ADMISSION}
  local c, mine, same, held, holder = marker[3] + 0, 0, true, nil, nil -- N4
  for i = k, last, 2 do
    local lock, fence = redis.call('GET', KEYS[i]), redis.call('GET', KEYS[i + 1]) or 0
    fence = tonumber(fence) or error('the fence key ' .. KEYS[i + 1] .. ' holds something else')
    if fence > c then c = fence end
    if fence ~= p then same = false end
    if lock == v then mine = mine + 1
    elseif lock and lock ~= from and not held then held, holder = i, lock end -- X1
  end
  if mine > 0 then -- N5
    if same and not held and mine * 2 == last - k + 2 then return 'G' end
    return {'S', c}
  end
  if held then -- N6
    local ahead = -1
    if waiter then
      for i = k, last, 2 do if i ~= held then leave_line(i, waiter) end end
      ahead = join(KEYS[held + 1], waiter, since)
    end
    return {'H', (held - k) / 2, holder, redis.call('PTTL', KEYS[held]), c, ahead}
  end
  if p <= c then return {'S', c} end -- N7
  if window > 0 and math.abs(tau - now) > window or p > now + lead then return {'C'} end -- N8
  for i = k, last, 2 do -- N9
    redis.call('SET', KEYS[i + 1], ARGV[a + 1], 'PX', fence_ttl)
    redis.call('SET', KEYS[i], v, 'PX', ttl)
    if waiter then redis.call('ZREM', line_of(KEYS[i + 1]), waiter) end -- Q2
  end
  return 'G'
end
`;

const EXTEND = `
local function extend(k, last, a)
  local v, tau, ttl = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  ${ADMISSION}
  for i = k, last, 2 do
    local lock = redis.call('GET', KEYS[i])
    if lock ~= v then return {'X', (i - k) / 2, lock} end -- E1, E2
  end
  if window > 0 and math.abs(tau - now) > window then return {'C'} end
  for i = k, last, 2 do redis.call('PEXPIRE', KEYS[i], ttl) end
  return 'G'
end
`;

const RELEASE = `
local function release(k, last, a)
  local v, p, wakes, woke = ARGV[a], ARGV[a + 1] + 0, ARGV[a + 2] == '1', false
  for i = k, last, 2 do -- R1, first: it works at maxmemory
    if redis.call('GET', KEYS[i]) == v then
      redis.call('DEL', KEYS[i])
      if wakes and wake(KEYS[i], KEYS[i + 1]) then woke = true end
    end
  end
  local tombstone = math.min(p, now + lead)
  for i = k, last, 2 do -- R2
    local fence = redis.call('GET', KEYS[i + 1]) or 0
    fence = tonumber(fence) or error('the fence key ' .. KEYS[i + 1] .. ' holds something else')
    if fence < tombstone then
      redis.pcall('SET', KEYS[i + 1], string.format('%.0f', tombstone), 'PX', fence_ttl)
    end
  end
  return woke and 'W' or 'G'
end
`;

const LEAVE = `
local function leave(k, last, a)
  local woke = false
  for i = k, last, 2 do if leave_line(i, ARGV[a]) then woke = true end end
  return woke and 'W' or 'G'
end
`;

/**
 * VOTE. KEYS: marker, then for every request its lock and fence keys in pairs.
 * ARGV: inc, W µs, B µs, fence ttl ms, then per request: op, number of keys, fields
 *   acquire: v p tau ttl · wait (an acquire that waits): v p tau ttl waiter since · exchange: v p tau ttl from ·
 *   extend: v tau ttl · release: v p wakes 0|1 · leave: waiter
 * Reply: now µs, then per request a status: G granted · W granted, and a waiter was told · H key holder pttl fence rank (-1: not in
 *   line) · S fence · C · U · Q until · T maxttl · X key holder (extend: not held with v) · E message.
 * A request that fails (a foreign type under its key, out of memory) gets E and leaves the others of its call alone; its writes
 * come after all its checks, and Redis refuses for memory only the first write of a script, so it has then written nothing.
 */
export const VOTE_SCRIPT: string = `${PRELUDE}${WAKE}${JOIN}${LEAVE_LINE}${ACQUIRE}${EXTEND}${RELEASE}${LEAVE}
local replies, k, a = {now}, 2, 5
while ARGV[a] do
  local op, last = ARGV[a], k + 2 * ARGV[a + 1] - 2
  local run, fields, from, waiter, since = release, 3, nil, nil, nil
  if op == 'acquire' then run, fields = acquire, 4
  elseif op == 'extend' then run, fields = extend, 3
  elseif op == 'wait' then run, fields, waiter, since = acquire, 6, ARGV[a + 6], ARGV[a + 7]
  elseif op == 'exchange' then run, fields, from = acquire, 5, ARGV[a + 6]
  elseif op == 'leave' then run, fields = leave, 1 end
  local fine, reply = pcall(run, k, last, a + 2, from, waiter, since)
  if not fine then reply = {'E', type(reply) == 'table' and reply.err or tostring(reply)} end
  replies[#replies + 1] = reply
  k, a = last + 2, a + 2 + fields
end
return replies
`;

/** What makes up the most of the requests has a script of its own. */
export type SoloOperation = "acquire" | "extend" | "release";

/**
 * VOTE for a lone request of one of these kinds: the same rules from the same text, without the loop and the rules of the other kinds,
 * which would be a fifth of the server's work. KEYS and reply as VOTE; ARGV: the same four, then the request's fields. What fails is
 * the call's error.
 */
export const SOLO_SCRIPTS: Readonly<Record<SoloOperation, string>> = {
  acquire: soloScript("acquire", ACQUIRE),
  extend: soloScript("extend", EXTEND),
  release: soloScript("release", WAKE + RELEASE),
};

/** The script for this request when it travels alone, or undefined where it takes VOTE. */
export function soloOperation(request: Request): SoloOperation | undefined {
  const operation = wireName(request);
  return operation in SOLO_SCRIPTS ? (operation as SoloOperation) : undefined;
}

function soloScript(op: SoloOperation, lua: string): string {
  return `${PRELUDE}${lua}
return {now, ${op}(2, #KEYS - 1, 5)}
`;
}

/**
 * ADMIT. KEYS: marker. ARGV: inc, maxttl ms, quarantine ms, W µs, B µs, tau µs, declared 0|1.
 * Reply: now µs, then A until floor maxttl · U other incarnation · C clock · T maxttl of an earlier admission.
 */
export const ADMIT_SCRIPT: string = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local inc, maxttl, window = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if run_id ~= string.sub(inc, 1, 40) or not ${isReplicationIdOf("inc")} then return {now, 'U'} end
if window > 0 and math.abs(tonumber(ARGV[6]) - now) > window then return {now, 'C'} end
local old = redis.call('HMGET', KEYS[1], 'inc', 'until', 'floor', 'maxttl')
local ends, floor, old_max = tonumber(old[2]), tonumber(old[3]) or 0, tonumber(old[4]) or 0
if old[1] == inc then -- A1
  if old_max > maxttl then maxttl = old_max end
  if ARGV[7] == '1' and ends > now then ends = now end
else -- A2
  if old_max > maxttl then return {now, 'T', old_max} end
  ends, floor = now + ARGV[3] * 1000, math.max(floor, now + ARGV[5])
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
  const args: ScriptArguments = [1, MARKER_KEY];
  for (const { keys } of requests) pushKeys(args, keys);
  pushTerms(args, terms);
  for (const request of requests) {
    args.push(wireName(request), request.keys.length);
    pushFields(args, request);
  }
  return args;
}

export function soloArguments(request: Request, terms: NodeTerms): ScriptArguments {
  const args: ScriptArguments = [1, MARKER_KEY];
  pushKeys(args, request.keys);
  pushTerms(args, terms);
  pushFields(args, request);
  return args;
}

export function admitArguments(request: AdmitRequest, terms: NodeTerms): ScriptArguments {
  const { incarnation, maxTtlMs, quarantineMs, tauUs, declared } = request;
  const window = [terms.clockWindowMs * 1_000, terms.leadMs * 1_000];
  return [1, MARKER_KEY, incarnation, maxTtlMs, quarantineMs, ...window, tauUs, declared ? 1 : 0];
}

export function inspectArguments(keys: readonly string[]): ScriptArguments {
  const args: ScriptArguments = [1, MARKER_KEY];
  pushKeys(args, keys);
  return args;
}

/** The first argument counts the keys. */
function pushKeys(args: ScriptArguments, keys: readonly string[]): void {
  for (const key of keys) args.push(key, fenceKey(key));
  args[0] = Number(args[0]) + 2 * keys.length;
}

function pushTerms(
  args: ScriptArguments,
  { incarnation, clockWindowMs, leadMs, fenceTtlMs }: NodeTerms,
): void {
  args.push(incarnation, clockWindowMs * 1_000, leadMs * 1_000, fenceTtlMs);
}

function wireName(request: Request): Request["op"] | "wait" {
  return request.op === "acquire" && request.waiter !== undefined ? "wait" : request.op;
}

function pushFields(args: ScriptArguments, request: Request): void {
  switch (request.op) {
    case "acquire":
      args.push(request.holder, request.proposal, request.tauUs, request.ttlMs);
      if (request.waiter !== undefined) args.push(request.waiter.id, request.waiter.sinceUs);
      return;
    case "exchange":
      args.push(request.holder, request.proposal, request.tauUs, request.ttlMs, request.from);
      return;
    case "extend":
      args.push(request.holder, request.tauUs, request.ttlMs);
      return;
    case "release":
      args.push(request.holder, request.proposal, request.wakes ? 1 : 0);
      return;
    case "leave":
      args.push(request.waiter);
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
  if (status === "W") return { kind: "granted", nowUs, woke: true };
  if (!Array.isArray(status)) return malformed(status);
  if (status[0] === "E") return { kind: "faulted", reason: "error", detail: String(status[1]), sent: true };
  const refusal = decodeRefusal(status as unknown[]);
  return refusal === undefined ? malformed(status) : { kind: "refused", nowUs, ...refusal };
}

function decodeHeld([key, holder, remainingMs, fence, ahead]: unknown[]): Refusal | undefined {
  if (!isInteger(key) || typeof holder !== "string" || !isInteger(remainingMs) || !isInteger(fence))
    return undefined;
  const place = isInteger(ahead) && ahead >= 0 ? { ahead } : undefined;
  return { reason: "held", key, holder, remainingMs, fence, ...place };
}

function decodeRefusal([code, ...fields]: unknown[]): Refusal | undefined {
  const [first, second] = fields;
  switch (code) {
    case "H":
      return decodeHeld(fields);
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
