/**
 * The scripts a Redis node runs. `node-state.ts` says the same in TypeScript; a test drives both with the same requests. One call of VOTE
 * carries many independent requests, so that all requests of one turn of the event loop share a round trip, one TIME, one look at the
 * marker and one at their keys.
 *
 * Numbers: Lua prints large numbers with an exponent, so what is stored comes from ARGV or through `%.0f`; integer replies are exact.
 */
import { QUARANTINE_TTL_MS_MAX } from "../clock/validity.ts";
import { noticeChannel } from "./key-names.ts";
import { DEAD_WAITERS_MAX, LINE_LENGTH_MAX, LINE_TTL_MS } from "./waiting-lines.ts";

/**
 * As in `Marker`: inc · replid · history · since µs · declared init|first-use or empty · floor · ttl and earlier ms, turn µs (N3) · evicted ·
 * contact µs · options.
 */
export const MARKER_FIELDS = [
  "inc",
  "replid",
  "history",
  "since",
  "declared",
  "floor",
  "ttl",
  "earlier",
  "turn",
  "evicted",
  "contact",
  "options",
] as const;

const MARKER_FIELD_LIST = MARKER_FIELDS.map((field) => `'${field}'`).join(", ");

/**
 * G1. `history`: how often the server was told to become a replica or a master, and when that was last forgotten; empty where that is not known:
 * before Redis 7, and in a cluster, where replicas are made by other means. Asked only where the replication id is another one than the marker's.
 */
const SAME_MEMORY = `
local function history_of(server)
  local version = tonumber(string.match(server, 'redis_version:(%d+)')) or 0
  if version < 7 or string.find(server, 'redis_mode:cluster', 1, true) then return '' end
  local stats, calls = redis.call('INFO', 'commandstats'), {}
  if not string.find(stats, 'cmdstat_info:', 1, true) then return '' end
  for i, name in ipairs({'replicaof', 'slaveof', 'failover'}) do
    calls[i] = string.match(stats, 'cmdstat_' .. name .. ':calls=(%d+)') or '0'
  end
  calls[4] = string.match(stats, 'cmdstat_config|resetstat:(calls=%d+,usec=%d+)') or '-'
  return table.concat(calls, '/')
end
local function is_same_memory(inc, history, server, replication, history_now)
  return string.sub(inc, 1, 40) == string.match(server, 'run_id:(%x+)')
    and string.find(replication, 'role:master', 1, true)
    and string.find(replication, 'master_replid2:${"0".repeat(40)}', 1, true)
    and history_now ~= '' and history_now == history
end
`;

/**
 * TIME first; W and B in µs. All keys are read at once, and `value` keeps up with what the requests do, false for what is not there. What
 * is deleted is `gone` until the end of the call.
 */
const PRELUDE = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local inc, window, lead, fence_ttl = ARGV[1], ARGV[2] + 0, ARGV[3] + 0, ARGV[4] + 0
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

/** N1 and N2: the marker and the replication id are read once per call, which nothing can change meanwhile. */
const ADMISSION = `${SAME_MEMORY}
local since, ttl_granted, ttl_earlier, turn
local function is_admitted()
  marker = redis.call('HMGET', KEYS[1], 'inc', 'replid', 'since', 'declared', 'floor', 'ttl', 'earlier', 'turn')
  if marker[1] ~= inc then return false end
  local replication = redis.call('INFO', 'replication')
  if not string.find(replication, 'master_replid:' .. marker[2], 1, true) then
    local server = redis.call('INFO', 'server')
    if not is_same_memory(inc, redis.call('HGET', KEYS[1], 'history'), server, replication, history_of(server)) then return false end
    redis.pcall('HSET', KEYS[1], 'replid', string.match(replication, 'master_replid:(%x+)'))
  end
  since, marker[5], ttl_granted, ttl_earlier, turn = marker[3] + 0, marker[5] + 0, marker[6] + 0, marker[7] + 0, marker[8] + 0
  return true
end
local function refused()
  if is_known == nil then is_known = is_admitted() end
  if not is_known then return 'U' end
  local silence = ARGV[6] + 0
  if silence > 0 and now < since + silence and marker[4] ~= 'init' then
    details[#details + 1] = since + silence
    return 'Q'
  end
end
`;

/**
 * N3. Behind the writes that it is about, since Redis refuses for memory only the first write of a script: an extension is possible where no
 * memory is left. Nothing else can go wrong with a hash that was just read.
 */
const NOTE_TTL = `
local function note_ttl(ttl)
  ttl = math.min(ttl, ${QUARANTINE_TTL_MS_MAX})
  if now >= turn then
    ttl_earlier, ttl_granted, turn = ttl_granted, ttl, now + math.max(ttl_granted, ttl) * 1000
    redis.call('HSET', KEYS[1], 'ttl', string.format('%.0f', ttl), 'earlier', string.format('%.0f', ttl_earlier), 'turn', string.format('%.0f', turn))
  elseif ttl > ttl_granted then
    ttl_granted = ttl
    redis.call('HSET', KEYS[1], 'ttl', string.format('%.0f', ttl))
  end
end
`;

/**
 * Q3: the longest waiting that hears it. Whoever does not is gone. Here, in JOIN and in LEAVE every command goes through pcall: a line is a
 * hint, and whatever stands under its key (a foreign value) or keeps it from being written must fail no request and no call.
 */
const WAKE = `
local function line_of(fence_key) return string.sub(fence_key, 1, -6) .. 'line' end
local function wake(lock_key, fence_key)
  for _ = 1, ${DEAD_WAITERS_MAX} do
    local first = redis.pcall('ZPOPMIN', line_of(fence_key))[1]
    if not first then return false end
    local heard = redis.pcall('PUBLISH', '${noticeChannel("")}' .. first, lock_key)
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
  redis.pcall('PEXPIRE', line, ${LINE_TTL_MS})
  redis.pcall('SET', KEYS[2], 1, 'PX', ${LINE_TTL_MS})
  does_anybody_wait = true
  local rank = redis.pcall('ZRANK', line, waiter)
  return type(rank) == 'number' and rank or -1
end
`;

/** Q4: who is not in line any more was told, or forgotten; if the lock is free then, the next one is told. */
const LEAVE_LINE = `
local function leave_line(i, waiter)
  if redis.pcall('ZREM', line_of(KEYS[i + 1]), waiter) == 1 or value[KEYS[i]] then return false end
  return wake(KEYS[i], KEYS[i + 1])
end
`;

/** Each takes the places of its first and last lock key in KEYS, and answers with a status. */
const ACQUIRE = `
local function acquire(k, last, v, proposal, tau, ttl, from, waiter, since)
  local refusal = refused()
  if refusal then return refusal end
  local p, c, mine, same, held = proposal + 0, marker[5], 0, true, nil -- N4
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
      ahead = join(KEYS[held + 1], waiter, since)
      for i = k, last, 2 do if i ~= held then leave_line(i, waiter) end end
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
    local wrong = set(KEYS[i + 1], proposal, fence_ttl + ttl)
    if wrong then return fault(wrong) end
  end
  for i = k, last, 2 do
    local wrong = set(KEYS[i], v, ttl)
    if wrong then -- all or nothing
      for set_before = k, i - 2, 2 do value[KEYS[set_before]], gone[KEYS[set_before]] = false, true end
      return fault(wrong)
    end
    if waiter then redis.pcall('ZREM', line_of(KEYS[i + 1]), waiter) end -- Q2
  end
  note_ttl(ttl)
  return 'G'
end
`;

const EXTEND = `
local function extend(k, last, v, tau, ttl)
  local refusal = refused()
  if refusal then return refusal end
  for i = k, last, 2 do
    if value[KEYS[i]] ~= v then -- E1, E2
      details[#details + 1] = {(i - k) / 2, value[KEYS[i]]}
      return 'X'
    end
  end
  if window > 0 and math.abs(tau - now) > window then return 'C' end
  for i = k, last, 2 do redis.call('PEXPIRE', KEYS[i], ttl) end
  note_ttl(ttl)
  return 'G'
end
`;

/**
 * R1, R2. At maxmemory Redis refuses the first write of a script if it needs memory, and none after a deletion: where there was a lock to
 * delete, the tombstone is written after that.
 */
const RELEASE = `
local function raise(i, k, last, tombstone)
  if not set(KEYS[i + 1], tombstone, fence_ttl) then return true end
  for j = k, last, 2 do if gone[KEYS[j]] then redis.pcall('DEL', KEYS[j]) end end
  return not set(KEYS[i + 1], tombstone, fence_ttl)
end
local function release(k, last, v, p, wakes)
  local woke, tombstone = false, math.min(p, now + lead)
  local owes = tombstone < p
  for i = k, last, 2 do -- R1
    if value[KEYS[i]] == v then
      value[KEYS[i]], gone[KEYS[i]] = false, true
      if wakes and does_anybody_wait and wake(KEYS[i], KEYS[i + 1]) then woke = true end
    end
  end
  for i = k, last, 2 do -- R2
    local fence = fence_of(KEYS[i + 1])
    if not fence or fence < tombstone and not raise(i, k, last, string.format('%.0f', tombstone)) then owes = true end
  end
  if owes then return woke and 'P' or 'O' end
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
 * ARGV: inc, W µs, B µs, fence ttl ms, the usual ttl ms, the silence of young memories µs, a letter for every request, then the fields of each:
 *   with one key: a acquire with the usual ttl: v p tau · e extend with the usual ttl: v tau · r release that wakes: v p
 *   after the number of keys: A acquire: v p tau ttl · W acquire that waits: v p tau ttl waiter since · X exchange: v p tau ttl from ·
 *   E extend: v tau ttl · R release: v p wakes 0|1 · L leave: waiter
 * Reply: now µs, a status letter for every request, then of those that have any, in their order, the details:
 *   G granted · W granted, and a waiter was told · O released, but without its whole tombstone · P that, and a waiter was told ·
 *   H held: {key holder pttl fence rank}, rank -1 where it was not put in line ·
 *   S stale: fence · C clock · U unadmitted · Q quarantined: until · X not held with v: {key holder} · E: message
 * A request that fails (a foreign type under its key, out of memory) gets E and leaves the others of its call alone. What it did before is
 * undone but for its fences, which never hurt; Redis refuses for memory only the first write of a script.
 */
export const VOTE_SCRIPT: string = `${PRELUDE}${SET}${ADMISSION}${NOTE_TTL}${WAKE}${JOIN}${LEAVE_LINE}${ACQUIRE}${EXTEND}${RELEASE}${LEAVE}
local letters, statuses, k, a = ARGV[7], {}, 3, 8
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
  a: `${PRELUDE}${SET}${ADMISSION}${NOTE_TTL}${ACQUIRE}
local status = acquire(3, 3, ARGV[8], ARGV[9], ARGV[10], ARGV[5])
${ALONE}`,
  e: `${PRELUDE}${ADMISSION}${NOTE_TTL}${EXTEND}
local status = extend(3, 3, ARGV[8], ARGV[9], ARGV[5])
${ALONE}`,
  r: `${PRELUDE}${SET}${WAKE}${RELEASE}
local status = release(3, 3, ARGV[8], ARGV[9] + 0, true)
${ALONE}`,
};

/**
 * ADMIT. KEYS: marker. ARGV: inc, W µs, B µs, tau µs, declared init|first-use or empty, not before µs (G6), young since µs (G8), stale after µs
 * (G7), allow eviction 0|1, resets the floor 0|1, options.
 * Reply: now µs, then A and the marker's fields · U other incarnation · C clock.
 */
export const ADMIT_SCRIPT: string = `${SAME_MEMORY}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local inc, window, lead, declared, resets = ARGV[1], ARGV[2] + 0, now + ARGV[3], ARGV[5], ARGV[10] == '1'
local server, replication = redis.call('INFO', 'server'), redis.call('INFO', 'replication')
local replid = string.match(replication, 'master_replid:(%x+)')
if (string.match(server, 'run_id:(%x+)') or '') .. ':' .. replid ~= inc or not string.find(replication, 'role:master', 1, true) then return {now, 'U'} end
if window > 0 and math.abs(ARGV[4] - now) > window then return {now, 'C'} end
local evicted = tonumber(string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')) or 0
local history = history_of(server)
local old = redis.call('HMGET', KEYS[1], ${MARKER_FIELD_LIST})
local since, floor = tonumber(old[4]) or 0, tonumber(old[6]) or 0
local is_same = old[1] and string.sub(old[1], 1, 40) == string.sub(inc, 1, 40) and (old[2] == replid or is_same_memory(old[1], old[3], server, replication, history))
is_same = is_same and since >= ARGV[6] + 0 and (ARGV[8] + 0 == 0 or now - (tonumber(old[11]) or 0) <= ARGV[8] + 0)
for i = 1, #old do is_same = is_same and old[i] end -- a field that is missing would be missing for good
local evicted_then = tonumber(old[10]) or 0
is_same = is_same and (ARGV[9] == '1' or evicted <= evicted_then)
if is_same then -- A1
  local began = declared == 'init' and now or math.min(math.max(since, ARGV[7] + 0), now)
  if ARGV[7] + 0 > since then floor = math.max(floor, lead) end
  if resets then floor = math.min(floor, lead) end
  since = began
  if declared ~= 'init' then declared = old[5] end
  evicted = math.min(evicted, evicted_then)
  redis.call('HSET', KEYS[1], 'since', string.format('%.0f', since), 'declared', declared, 'floor', string.format('%.0f', floor))
else -- A2
  since, floor = now, resets and lead or math.max(floor, lead)
  redis.call('HSET', KEYS[1], 'inc', inc .. ':' .. string.format('%.0f', now), 'since', string.format('%.0f', since), 'declared', declared, 'floor', string.format('%.0f', floor),
    'ttl', old[7] or 0, 'earlier', old[8] or 0, 'turn', old[9] or 0, 'options', ARGV[11])
end
redis.call('HSET', KEYS[1], 'replid', replid, 'history', history, 'evicted', evicted, 'contact', string.format('%.0f', now))
return {now, 'A', redis.call('HMGET', KEYS[1], ${MARKER_FIELD_LIST})}
`;

/**
 * INSPECT. KEYS: marker, then lock and fence keys in pairs.
 * Reply: now µs, the marker's fields, absent as nil, then per key: holder or nil, pttl, fence or nil.
 */
export const INSPECT_SCRIPT: string = `
local time = redis.call('TIME')
local reply = {time[1] * 1000000 + time[2], redis.call('HMGET', KEYS[1], ${MARKER_FIELD_LIST})}
for i = 2, #KEYS, 2 do
  reply[#reply + 1] = {redis.call('GET', KEYS[i]), redis.call('PTTL', KEYS[i]), redis.call('GET', KEYS[i + 1])}
end
return reply
`;

/**
 * LOWER_FENCES. KEYS: fence keys. ARGV: B µs, fence ttl ms. Those further ahead of the clock than B are brought back to that. Reply: how many.
 */
export const LOWER_FENCES_SCRIPT: string = `
local time = redis.call('TIME')
local most, lowered = time[1] * 1000000 + time[2] + ARGV[1], 0
for _, key in ipairs(KEYS) do
  local fence = tonumber(redis.pcall('GET', key) or '')
  -- Times in µs, and whole: what else looks like a fence is somebody else's.
  if fence and fence > most and fence < 9007199254740992 and fence % 1 == 0 then
    redis.call('SET', key, string.format('%.0f', most), 'PX', ARGV[2])
    lowered = lowered + 1
  end
end
return lowered
`;
