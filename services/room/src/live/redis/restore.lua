-- Puts a room there unless it is there already.
--
-- KEYS  room, seats, order, leases
-- ARGV  revision, record, seconds to keep it, the revision of its last event, and of each seat in order of joining the
--       user, the seat and its leases

if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('DEL', unpack(KEYS))
local places = 0
for next = 5, #ARGV, 3 do
  places = places + 1
  redis.call('HSET', KEYS[2], ARGV[next], ARGV[next + 1])
  redis.call('ZADD', KEYS[3], places, ARGV[next])
  redis.call('HSET', KEYS[4], ARGV[next], ARGV[next + 2])
end
redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'record', ARGV[2], 'recorded', '1', 'places', places, 'told', ARGV[4])
for _, key in ipairs(KEYS) do
  redis.call('EXPIRE', key, ARGV[3])
end
return 1
