-- What is known of the Hub tokens, and who holds one: the one place that decides, because it runs alone on Redis.
-- Called by gpu_tokens.py.
--
-- KEYS: for each token its record (a hash of numbers) and its leases (a sorted set, lease id -> when it expires);
-- the last key holds how many seconds one run reserves.
-- ARGV[1]: a JSON object with `verb`, `now` (seconds since 1970) and what the verb needs.

local ask = cjson.decode(ARGV[1])
local now = ask.now
local token_count = (#KEYS - 1) / 2
local reservation = tonumber(redis.call('GET', KEYS[#KEYS]) or '') or ask.reservation

local DAY = 86400
local KEPT = 7 * DAY          -- Records of tokens that are no longer configured go by themselves.
local FRESH = 600             -- A reading that names no reset is believed for ten minutes.
local LAG = 120               -- The Hub's counter has everything that ended two minutes ago.
local NAMES_A_RESET = 300     -- A shorter rest only waits for running tasks; a longer one ends with the quota's reset.
local BAD_TOKEN_WAITS = 600   -- A refused token that the Hub still knows is tried again after ten minutes.

local function record(i)
  local flat, fields = redis.call('HGETALL', KEYS[2 * i - 1]), {}
  for j = 1, #flat, 2 do fields[flat[j]] = tonumber(flat[j + 1]) end
  return fields
end

local function write(i, fields)
  local flat = {}
  for name, value in pairs(fields) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', KEYS[2 * i - 1], unpack(flat))
  redis.call('EXPIRE', KEYS[2 * i - 1], KEPT)
end

local function live_leases(i)
  return redis.call('ZCOUNT', KEYS[2 * i], '(' .. string.format('%.6f', now), '+inf')
end

-- Whether the last reading still tells what is left: nothing comes back before the reset that it names.
local function reading_holds(r)
  if not r.hub_at then return false end
  if r.hub_resets then return r.hub_resets > now end
  return now - r.hub_at <= FRESH
end

local function state_of(r, v)
  if (r.disabled_until or 0) > now then return 'disabled' end
  if (r.rest_until or 0) > now then return 'resting' end
  if v.left < reservation or (v.runs_left and v.runs_left < 1) then return 'spent' end
  if v.free < reservation or (v.runs_left and v.runs_left - v.leases < 1) then return 'leased' end
  return 'available'
end

-- When a token that rests or is spent can be used again; nothing when nobody has said.
local function back_at(r, v)
  local back
  if v.left < reservation then back = v.resets_at end
  if v.runs_left and v.runs_left < 1 then back = math.max(back or 0, v.runs_reset_at or v.resets_at or 0) end
  if v.state == 'resting' then back = math.max(back or 0, r.rest_until) end
  return back and back > now and back or nil
end

local function view(i)
  local r = record(i)
  local counting = (r.window_ends or 0) > now
  local v = {
    source = 'own count',
    limit = r.hub_base or ask.daily_seconds,
    used = counting and r.used or 0,
    runs = counting and r.runs or 0,
    resets_at = counting and r.window_ends or nil,
    leases = live_leases(i),
    last_used = r.last_used or 0,
    calls = r.calls or 0,
    failures = r.failures or 0,
    checked_at = r.hub_at,
  }
  v.left = math.max(0, v.limit - v.used)
  if r.hub_runs_limit then v.runs_left = math.max(0, r.hub_runs_limit - v.runs) end
  if reading_holds(r) then
    v.source = 'hub'
    v.left = math.max(0, r.hub_left - r.used_since)
    v.used = math.max(0, v.limit - v.left)
    v.resets_at = r.hub_resets or v.resets_at
    if r.hub_runs_limit and (r.hub_runs_reset or now + 1) > now then
      v.runs_left = math.max(0, r.hub_runs_left - r.runs_since)
      v.runs = math.max(0, r.hub_runs_limit - v.runs_left)
      v.runs_reset_at = r.hub_runs_reset
    end
  end
  v.free = v.left - v.leases * reservation
  v.state = state_of(r, v)
  v.rests_until = v.state == 'resting' and r.rest_until or nil
  v.back_at = v.state ~= 'disabled' and back_at(r, v) or nil
  return v
end

-- Most seconds first; among equals the one with fewest calls under way, then the one that has waited longest.
local function is_better(a, b)
  if a.free ~= b.free then return a.free > b.free end
  if a.leases ~= b.leases then return a.leases < b.leases end
  return a.last_used < b.last_used
end

-- The quota's day begins with the first use, and the Hub knows best when it ends.
local function count(i, seconds)
  local r = record(i)
  if (r.window_ends or 0) <= now then
    r.used, r.runs = 0, 0
    r.window_ends = (r.hub_resets or 0) > now and r.hub_resets or now - seconds + DAY
  end
  write(i, {
    used = r.used + seconds, runs = r.runs + 1, window_ends = r.window_ends, last_end = now,
    used_since = (r.used_since or 0) + seconds, runs_since = (r.runs_since or 0) + 1,
  })
end

local function release(i)
  return redis.call('ZREM', KEYS[2 * i], ask.lease_id) == 1
end

-- How much of our latest use a new reading does not have yet: what it shows above the amount that we expected, at most
-- what was used since the reading before, and nothing when our calls have rested for longer than the Hub's counter lags.
local function not_counted_yet(r, shown, expected, used_since)
  if not r.last_end or now - r.last_end > LAG then return 0 end
  return math.max(0, math.min(used_since, shown - expected))
end

local verbs = {}

function verbs.view()
  local views = {}
  for i = 1, token_count do views[i] = view(i) end
  return cjson.encode(views)
end

-- The number of the token that is leased now, or 0.
function verbs.lease()
  local best, best_view = 0, nil
  for i = 1, token_count do
    local v = view(i)
    if v.state == 'available' and (not best_view or is_better(v, best_view)) then best, best_view = i, v end
  end
  if best > 0 then
    local leases = KEYS[2 * best]
    redis.call('ZREMRANGEBYSCORE', leases, '-inf', now - DAY)
    redis.call('ZADD', leases, now + ask.lasts, ask.lease_id)
    redis.call('EXPIRE', leases, KEPT)
    write(best, { last_used = now, calls = best_view.calls + 1 })
  end
  return best
end

function verbs.give_back()
  if release(1) and ask.seconds > 0 then count(1, ask.seconds) end
  return 1
end

function verbs.rest()
  local r, ends = record(1), now + ask.seconds
  release(1)
  write(1, { rest_until = math.max(r.rest_until or 0, ends), failures = (r.failures or 0) + 1 })
  if ask.seconds >= NAMES_A_RESET then
    if (r.window_ends or 0) > ends then write(1, { window_ends = ends }) end
    if reading_holds(r) then write(1, { hub_resets = math.min(r.hub_resets or ends, ends) }) end
  end
  return 1
end

-- 1 when the token was in use until now.
function verbs.disable()
  local r = record(1)
  if ask.lease_id then release(1) end
  local was_disabled = (r.disabled_until or 0) > now
  local failures = (r.failures or 0) + (was_disabled and 0 or 1)
  write(1, { disabled_until = now + DAY, disabled_at = now, failures = failures })
  return was_disabled and 0 or 1
end

function verbs.enable()
  return redis.call('HDEL', KEYS[1], 'disabled_until', 'disabled_at')
end

-- The numbers of the tokens that the caller, and nobody else within the next minute, asks the Hub about.
function verbs.claim()
  local claimed = {}
  for i = 1, token_count do
    if ask.force or (record(i).asks_from or 0) <= now then
      write(i, { asks_from = now + ask.lasts })
      claimed[#claimed + 1] = i
    end
  end
  return claimed
end

function verbs.postpone()
  write(1, { asks_from = now + ask.seconds })
  return 1
end

-- 1 when the reading has brought a disabled token back.
function verbs.learn()
  local r, holds = record(1), reading_holds(record(1))
  local counting = (r.window_ends or 0) > now
  local since, runs_since = r.used_since or 0, r.runs_since or 0
  local expected = holds and r.hub_left - since or ask.base - (counting and r.used or 0)
  local fields = {
    hub_at = now, hub_base = ask.base, hub_resets = ask.resets_at, used_since = 0, runs_since = 0,
    hub_left = ask.left - not_counted_yet(r, ask.left, expected, since),
  }
  if ask.runs_limit then
    local expected_runs = ask.runs_limit - (counting and r.runs or 0)
    if holds and r.hub_runs_left then expected_runs = r.hub_runs_left - runs_since end
    fields.hub_runs_limit, fields.hub_runs_reset = ask.runs_limit, ask.runs_reset_at
    fields.hub_runs_left = ask.runs_left - not_counted_yet(r, ask.runs_left, expected_runs, runs_since)
  end
  if ask.resets_at and counting then fields.window_ends = ask.resets_at end
  redis.call('HDEL', KEYS[1], 'hub_resets', 'hub_runs_limit', 'hub_runs_left', 'hub_runs_reset')
  write(1, fields)
  if (r.disabled_until or 0) <= now or now - r.disabled_at < BAD_TOKEN_WAITS then return 0 end
  return verbs.enable() > 0 and 1 or 0
end

return verbs[ask.verb]()
