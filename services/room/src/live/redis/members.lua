-- How many are in a room, and the first of them, at most so many, with their seats.
--
-- KEYS  room, seats, order
local function members(most)
  local users = redis.call('ZRANGE', KEYS[3], 0, tonumber(most) - 1)
  local seats = {}
  if #users > 0 then
    seats = redis.call('HMGET', KEYS[2], unpack(users))
  end
  return redis.call('ZCARD', KEYS[3]), users, seats
end

