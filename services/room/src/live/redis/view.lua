-- What the rules need to know of a room, as of one moment.
--
-- KEYS  room, seats, order, leases
-- ARGV  the users asked about
--
-- Answers nil where there is no room; otherwise its record, how many are in it, the eldest two, and of each user asked
-- about the seat and its leases.

local record = redis.call('HGET', KEYS[1], 'record')
if not record then
  return false
end
local seats = {}
for _, user in ipairs(ARGV) do
  seats[#seats + 1] = redis.call('HGET', KEYS[2], user)
  seats[#seats + 1] = redis.call('HGET', KEYS[4], user)
end
return {record, redis.call('ZCARD', KEYS[3]), redis.call('ZRANGE', KEYS[3], 0, 1), seats}
