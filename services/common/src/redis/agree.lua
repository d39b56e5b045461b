-- Writes what is to be added to Redis's clock, unless somebody else has written something meanwhile.
--
-- KEYS  what is kept beside the clock
-- ARGV  since and serial of the lineage that was there, or nothing twice where there was none
--       since, serial and ahead of the one to be there
--
-- Answers whether it is there now, 1 or 0.

local kept = redis.call('HMGET', KEYS[1], 'since', 'serial')
if (kept[1] or '') ~= ARGV[1] or (kept[2] or '') ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], 'since', ARGV[3], 'serial', ARGV[4], 'ahead', ARGV[5])
return 1
