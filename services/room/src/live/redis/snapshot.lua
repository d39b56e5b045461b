-- A room with its members, as of one moment.
--
-- KEYS  room, seats, order
-- ARGV  how many members at most
--
-- Answers nil where there is no room; otherwise its record, how many are in it, and the first users and seats.

local record = redis.call('HGET', KEYS[1], 'record')
if not record then
  return false
end
local users = redis.call('ZRANGE', KEYS[3], 0, tonumber(ARGV[1]) - 1)
local seats = {}
if #users > 0 then
  seats = redis.call('HMGET', KEYS[2], unpack(users))
end
return {record, redis.call('ZCARD', KEYS[3]), users, seats}
