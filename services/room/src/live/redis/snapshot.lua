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
return {record, members(ARGV[1])}
