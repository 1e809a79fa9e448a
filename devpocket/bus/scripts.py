"""What Redis does for us in one step each: Lua, run inside Redis, by Redis' own clock.

One clock matters: processes on different machines would otherwise fill each other's buckets. Every key expires by
itself once it says nothing any more.
"""

TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local outcomes = {}
for i, key in ipairs(KEYS) do
  local capacity = tonumber(ARGV[i * 3 - 2])
  local refill = tonumber(ARGV[i * 3 - 1])
  local amount = tonumber(ARGV[i * 3])
  local stored = redis.call('HMGET', key, 'tokens', 'at')
  local tokens = capacity
  if stored[1] then
    local gained = math.max(0, now - tonumber(stored[2])) / 1000000 * refill
    tokens = math.min(capacity, tonumber(stored[1]) + gained)
  end
  local allowed = 0
  if tokens >= amount then
    allowed = 1
    tokens = tokens - amount
  end
  redis.call('HSET', key, 'tokens', string.format('%.9f', tokens), 'at', string.format('%.0f', now))
  redis.call('PEXPIRE', key, math.ceil((capacity - tokens) / refill * 1000) + 1)
  outcomes[i] = {allowed, string.format('%.9f', tokens)}
end
return outcomes
"""
"""KEYS: buckets. ARGV: capacity, refill a second, amount, for each. Gives allowed (0 or 1) and tokens left, for each.

The arithmetic is that of :func:`devpocket.domain.limits.take`; the contract suite runs both.
"""

HOLD = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl = tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + ttl, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ttl)
return 1
"""
"""KEYS: the places of one user. ARGV: member, limit, time to live in ms. Gives 1 when the member holds a place."""

KEEP = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl = tonumber(ARGV[1])
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], now + ttl, ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ttl)
return 1
"""
"""KEYS: the places of one user. ARGV: time to live in ms, then every member to keep, or to put back after a loss."""
