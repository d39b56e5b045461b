-- Looks at Redis's clock, and at what is to be added to it.
--
-- KEYS  what is kept beside the clock
-- ARGV  what the caller takes for the agreed time, in Unix microseconds, or nothing where it does not know
--       by how many microseconds it may be wrong
--
-- Answers the seconds and microseconds of the clock, the lineage (since, serial, ahead), and how often somebody has
-- confirmed the sum.

local time = redis.call('TIME')
local kept = redis.call('HMGET', KEYS[1], 'since', 'serial', 'ahead', 'confirmed')
if ARGV[1] ~= '' and kept[3] then
  local agreed = time[1] * 1000000 + time[2] + kept[3]
  if math.abs(agreed - ARGV[1]) <= tonumber(ARGV[2]) then
    -- A server that takes no writes tells the time all the same.
    redis.pcall('HINCRBY', KEYS[1], 'confirmed', 1)
  end
end
return {time[1], time[2], kept[1], kept[2], kept[3], kept[4]}
