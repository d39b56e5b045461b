-- Takes tokens of a bucket that processes share, however many are there, as `limits::TokenBuckets` does.
--
-- KEYS  when the bucket will be full, in Unix µs; no key where it is full
-- ARGV  now in Unix µs, how long the bucket takes to get back what is taken, in µs
--
-- Answers when the bucket will be full.

local now = tonumber(ARGV[1])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + tonumber(ARGV[2])
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000) + 1)
return full_at
