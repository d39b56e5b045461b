-- Counts in a log of the last window, as `limits::SlidingLog` does.
--
-- KEYS  log
-- ARGV  now, the window in ms, how many may be in it, whether to count (0 or 1)
--
-- Answers -1 where one more is allowed; otherwise in how many ms it will be.

local now, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local oldest = redis.call('LINDEX', KEYS[1], 0)
while oldest and tonumber(oldest) + window <= now do
  redis.call('LPOP', KEYS[1])
  oldest = redis.call('LINDEX', KEYS[1], 0)
end
-- The place is free again when the oldest of the last so many falls out of the window.
local index = redis.call('LLEN', KEYS[1]) - tonumber(ARGV[3])
if index >= 0 then
  return math.max(0, tonumber(redis.call('LINDEX', KEYS[1], index)) + window - now)
end
if ARGV[4] == '1' then
  redis.call('RPUSH', KEYS[1], ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return -1
