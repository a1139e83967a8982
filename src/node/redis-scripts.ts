/**
 * The scripts a Redis node runs. `node-state.ts` says the same in TypeScript; a test drives both with the same requests. One call of VOTE
 * carries many independent requests, so that all requests of one turn of the event loop share a round trip, one TIME, one look at the
 * marker and one at their keys.
 *
 * Numbers: Lua prints large numbers with an exponent, so what is stored comes from ARGV or through `%.0f`; integer replies are exact.
 */
import { DEAD_WAITERS_MAX, LINE_LENGTH_MAX, LINE_TTL_MS } from "./waiting-lines.ts";

/** Hash `inc until floor maxttl`: which memory of this node was admitted, and on what terms. */
export const MARKER_KEY = "holdfast:node";

/** Exists while any line of the node may have somebody in it: most releases need not look for one. */
export const WAITING_KEY = "holdfast:waiting";

/** With the waiter's name behind it, the channel on which it is told of releases; the message is the lock's key. A hint, never needed for safety. */
const NOTICE_CHANNEL_PREFIX = "holdfast:wake:";

/** Where `waiter` hears of releases. */
export function noticeChannel(waiter: string): string {
  return NOTICE_CHANNEL_PREFIX + waiter;
}

/** `<key>:fence`, in the same cluster slot as the lock. Beside it, `…:line` has those who wait: a sorted set, by the time they came. */
export function fenceKey(key: string): string {
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

/**
 * TIME first; W and B in µs. All keys are read at once, and `value` keeps up with what the requests do, false for what is not there. What
 * is deleted is `gone` until the end of the call.
 */
const PRELUDE = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local inc, window, lead, fence_ttl = ARGV[1], ARGV[2] + 0, ARGV[3] + 0, ARGV[4]
local found, value, gone, details = redis.call('MGET', unpack(KEYS, 2)), {}, {}, {}
for i = 3, #KEYS do value[KEYS[i]] = found[i - 1] end
local does_anybody_wait = found[1]
local marker, is_known
`;

/** A key of another type looks like none in MGET: NX keeps it from being overwritten. Answers with what went wrong. */
const SET = `
local function set(key, text, ttl)
  local done
  if value[key] or gone[key] then done = redis.pcall('SET', key, text, 'PX', ttl)
  else done = redis.pcall('SET', key, text, 'PX', ttl, 'NX') end
  if not done then return 'the key ' .. key .. ' holds something else' end
  if done.err then return done.err end
  value[key], gone[key] = text, nil
end
local function fault(message)
  details[#details + 1] = message
  return 'E'
end
local function fence_of(key)
  local fence = value[key] and tonumber(value[key]) or not value[key] and 0 or nil
  if fence == fence then return fence end -- 'nan' is a number to Lua, and neither smaller nor larger than any
end
`;

/** N1–N3: the marker and the replication id are read once per call, which nothing can change meanwhile. */
const ADMISSION = `
local function refused(ttl)
  if not marker then
    marker = redis.call('HMGET', KEYS[1], 'inc', 'until', 'floor', 'maxttl')
    is_known = marker[1] == inc and ${isReplicationIdOf("inc")}
    if is_known then for i = 2, 4 do marker[i] = marker[i] + 0 end end
  end
  if not is_known then return 'U' end
  if now < marker[2] then
    details[#details + 1] = marker[2]
    return 'Q'
  end
  if ttl + 0 > marker[4] then
    details[#details + 1] = marker[4]
    return 'T'
  end
end
`;

/** Q3: the longest waiting that hears it. Whoever does not is gone; through pcall, since a notice must never make a release fail. */
const WAKE = `
local function line_of(fence_key) return string.sub(fence_key, 1, -6) .. 'line' end
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
  redis.pcall('SET', KEYS[2], 1, 'PX', ${LINE_TTL_MS})
  does_anybody_wait = true
  return redis.call('ZRANK', line, waiter)
end
`;

/** Q4: who is not in line any more was told, or forgotten; if the lock is free then, the next one is told. */
const LEAVE_LINE = `
local function leave_line(i, waiter)
  if redis.call('ZREM', line_of(KEYS[i + 1]), waiter) == 1 or value[KEYS[i]] then return false end
  return wake(KEYS[i], KEYS[i + 1])
end
`;

/** Each takes the places of its first and last lock key in KEYS, and answers with a status. */
const ACQUIRE = `
local function acquire(k, last, v, proposal, tau, ttl, from, waiter, since)
  local refusal = refused(ttl)
  if refusal then return refusal end
  local p, c, mine, same, held = proposal + 0, marker[3], 0, true, nil -- N4
  for i = k, last, 2 do
    local lock, fence = value[KEYS[i]], fence_of(KEYS[i + 1])
    if not fence then return fault('the fence key ' .. KEYS[i + 1] .. ' holds something else') end
    if fence > c then c = fence end
    if fence ~= p then same = false end
    if lock == v then mine = mine + 1
    elseif lock and lock ~= from and not held then held = i end -- X1
  end
  if mine > 0 then -- N5
    if same and not held and mine * 2 == last - k + 2 then return 'G' end
    details[#details + 1] = c
    return 'S'
  end
  if held then -- N6
    local ahead = -1
    if waiter then
      for i = k, last, 2 do if i ~= held then leave_line(i, waiter) end end
      ahead = join(KEYS[held + 1], waiter, since)
    end
    details[#details + 1] = {(held - k) / 2, value[KEYS[held]], redis.call('PTTL', KEYS[held]), c, ahead}
    return 'H'
  end
  if p <= c then -- N7
    details[#details + 1] = c
    return 'S'
  end
  if window > 0 and math.abs(tau - now) > window or p > now + lead then return 'C' end -- N8
  for i = k, last, 2 do -- N9
    local wrong = set(KEYS[i + 1], proposal, fence_ttl)
    if wrong then return fault(wrong) end
  end
  for i = k, last, 2 do
    local wrong = set(KEYS[i], v, ttl)
    if wrong then -- all or nothing
      for set_before = k, i - 2, 2 do value[KEYS[set_before]], gone[KEYS[set_before]] = false, true end
      return fault(wrong)
    end
    if waiter then redis.call('ZREM', line_of(KEYS[i + 1]), waiter) end -- Q2
  end
  return 'G'
end
`;

const EXTEND = `
local function extend(k, last, v, tau, ttl)
  local refusal = refused(ttl)
  if refusal then return refusal end
  for i = k, last, 2 do
    if value[KEYS[i]] ~= v then -- E1, E2
      details[#details + 1] = {(i - k) / 2, value[KEYS[i]]}
      return 'X'
    end
  end
  if window > 0 and math.abs(tau - now) > window then return 'C' end
  for i = k, last, 2 do redis.call('PEXPIRE', KEYS[i], ttl) end
  return 'G'
end
`;

const RELEASE = `
local function release(k, last, v, p, wakes)
  local woke = false
  for i = k, last, 2 do -- R1; a deletion works at maxmemory
    if value[KEYS[i]] == v then
      value[KEYS[i]], gone[KEYS[i]] = false, true
      if wakes and does_anybody_wait and wake(KEYS[i], KEYS[i + 1]) then woke = true end
    end
  end
  local tombstone = math.min(p, now + lead)
  for i = k, last, 2 do -- R2
    local fence = fence_of(KEYS[i + 1])
    if not fence then return fault('the fence key ' .. KEYS[i + 1] .. ' holds something else') end
    if fence < tombstone then set(KEYS[i + 1], string.format('%.0f', tombstone), fence_ttl) end
  end
  return woke and 'W' or 'G'
end
`;

const LEAVE = `
local function leave(k, last, waiter)
  local woke = false
  for i = k, last, 2 do if leave_line(i, waiter) then woke = true end end
  return woke and 'W' or 'G'
end
`;

/**
 * VOTE. KEYS: marker, waiting, then for every request its lock and fence keys in pairs.
 * ARGV: inc, W µs, B µs, fence ttl ms, the usual ttl ms, a letter for every request, then the fields of each:
 *   with one key: a acquire with the usual ttl: v p tau · e extend with the usual ttl: v tau · r release that wakes: v p
 *   after the number of keys: A acquire: v p tau ttl · W acquire that waits: v p tau ttl waiter since · X exchange: v p tau ttl from ·
 *   E extend: v tau ttl · R release: v p wakes 0|1 · L leave: waiter
 * Reply: now µs, a status letter for every request, then of those that have any, in their order, the details:
 *   G granted · W granted, and a waiter was told · H held: {key holder pttl fence rank}, rank -1 where it was not put in line ·
 *   S stale: fence · C clock · U unadmitted · Q quarantined: until · T ttl too long: maxttl · X not held with v: {key holder} · E: message
 * A request that fails (a foreign type under its key, out of memory) gets E and leaves the others of its call alone. What it did before is
 * undone but for its fences, which never hurt; Redis refuses for memory only the first write of a script.
 */
export const VOTE_SCRIPT: string = `${PRELUDE}${SET}${ADMISSION}${WAKE}${JOIN}${LEAVE_LINE}${ACQUIRE}${EXTEND}${RELEASE}${LEAVE}
local letters, statuses, k, a = ARGV[6], {}, 3, 7
for r = 1, #letters do
  local letter, v, last, status = string.byte(letters, r), ARGV[a], k, nil
  if letter == 97 then
    status = acquire(k, k, v, ARGV[a + 1], ARGV[a + 2], ARGV[5])
    a = a + 3
  elseif letter == 114 then
    status = release(k, k, v, ARGV[a + 1] + 0, true)
    a = a + 2
  elseif letter == 101 then
    status = extend(k, k, v, ARGV[a + 1], ARGV[5])
    a = a + 2
  else
    last, v, a = k + 2 * v - 2, ARGV[a + 1], a + 2
    local x, y, z = ARGV[a], ARGV[a + 1], ARGV[a + 2]
    if letter == 65 then
      status = acquire(k, last, v, x, y, z)
      a = a + 3
    elseif letter == 87 then
      status = acquire(k, last, v, x, y, z, nil, ARGV[a + 3], ARGV[a + 4])
      a = a + 5
    elseif letter == 88 then
      status = acquire(k, last, v, x, y, z, ARGV[a + 3])
      a = a + 4
    elseif letter == 69 then
      status = extend(k, last, v, x, y)
      a = a + 2
    elseif letter == 82 then
      status = release(k, last, v, x + 0, y == '1')
      a = a + 2
    else status = leave(k, last, v) end
  end
  statuses[r], k = status, last + 2
end
local deleted = {}
for key in pairs(gone) do deleted[#deleted + 1] = key end
if #deleted > 0 then redis.call('DEL', unpack(deleted)) end
return {now, table.concat(statuses), unpack(details)}
`;

/** Deletes what is gone, and answers with the one status. */
const ALONE = `
for key in pairs(gone) do redis.call('DEL', key) end
return {now, status, details[1]}
`;

/**
 * VOTE for a call of one request in its shorter form: the same rules from the same text, with the same arguments and replies, without the
 * loop and the rules of the others, which are a quarter of the server's work.
 */
export const LONE_SCRIPTS: Readonly<Record<string, string>> = {
  a: `${PRELUDE}${SET}${ADMISSION}${ACQUIRE}
local status = acquire(3, 3, ARGV[7], ARGV[8], ARGV[9], ARGV[5])
${ALONE}`,
  e: `${PRELUDE}${ADMISSION}${EXTEND}
local status = extend(3, 3, ARGV[7], ARGV[8], ARGV[5])
${ALONE}`,
  r: `${PRELUDE}${SET}${WAKE}${RELEASE}
local status = release(3, 3, ARGV[7], ARGV[8] + 0, true)
${ALONE}`,
};

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
