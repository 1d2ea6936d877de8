"""What a Redis server does in one step, as scripts in Lua; `in_redis` says what the keys are.

KEYS of all: the shelf's records, its news, its epoch, and where it is about one, a claim.
"""

from __future__ import annotations

PULL = """
local epoch = redis.call('GET', KEYS[3])
if not epoch then return false end
local last, from = '0-0', '-'
if epoch == ARGV[1] then last, from = ARGV[2], '(' .. ARGV[2] end
local news = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', ARGV[4])
local out, seen, size, more = {}, {}, 0, #news == tonumber(ARGV[4])
for _, item in ipairs(news) do
  local name = item[2][2]
  local value = not seen[name] and redis.call('HGET', KEYS[1], name)
  if value then
    size = size + #value
    if #out > 0 and size > tonumber(ARGV[3]) then more = true break end
    out[#out + 1] = name
    out[#out + 1] = value
    seen[name] = true
  end
  last = item[1]
end
return {epoch, last, more and 1 or 0, out}
"""

HOLDS = """
local out = {}
if redis.call('EXISTS', KEYS[2]) == 0 then return out end
for i, name in ipairs(ARGV) do
  local value = redis.call('HGET', KEYS[1], name)
  out[i] = value and string.sub(value, 1, 32) or ''
end
return out
"""

# The name comes into the stream first: where a server is full in between, there is a name without a
# record, which readers pass over, and no record that no reader is told of.
PUSH = """
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('DEL', KEYS[1], KEYS[3]) end
local out, count = {}, 0
for i = 2, #ARGV, 3 do
  local name, over, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  count = count + 1
  local there = redis.call('HGET', KEYS[1], name)
  if there and string.sub(there, 1, 32) ~= over then
    out[count] = there
  else
    redis.call('SET', KEYS[3], ARGV[1], 'NX')
    redis.call('XADD', KEYS[2], '*', 'n', name)
    redis.call('HSET', KEYS[1], name, value)
    out[count] = false
  end
end
return out
"""

# A record that begins like ARGV[4] is none: it cannot be read.
CLAIM = """
if redis.call('EXISTS', KEYS[2]) == 1 then
  local value = redis.call('HGET', KEYS[1], ARGV[1])
  if value and string.sub(value, 1, 32) ~= ARGV[4] then return {0, value} end
end
local owner = redis.call('GET', KEYS[4])
if owner and owner ~= ARGV[2] then return {0, false} end
redis.call('SET', KEYS[4], ARGV[2], 'PX', ARGV[3])
return {1, false}
"""

# For none more milliseconds, which gives it up: then PEXPIRE removes the key.
HOLD = """
if redis.call('GET', KEYS[4]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[4], ARGV[2])
"""

ALL = (PULL, HOLDS, PUSH, CLAIM, HOLD)
