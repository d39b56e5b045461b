-- Those who are in a room behind a place, in order of joining.
--
-- KEYS  seats, order
-- ARGV  the place, or -inf, how many at most
--
-- Answers users, their seats and their places.

local found = redis.call('ZRANGE', KEYS[2], ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
local users, places = {}, {}
for at = 1, #found, 2 do
  users[#users + 1] = found[at]
  places[#places + 1] = found[at + 1]
end
if #users == 0 then
  return {users, {}, places}
end
return {users, redis.call('HMGET', KEYS[1], unpack(users)), places}
