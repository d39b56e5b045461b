-- Compare, store, publish: makes a change of a room if it is still at the revision that was looked at.
-- What the change is was decided elsewhere.
--
-- KEYS  room, seats, order, leases
-- ARGV  expected revision, new revision, record, whether it is in SQL (0 or 1), whether the room is over (0 or 1),
--       seconds to keep it, what publishes, channel, how many members to name at most, the revision of the last event,
--       number of events, each event, and then any of
--         take USER SEAT LEASES    give USER    hold USER LEASE UNTIL    release USER LEASE
--
-- Answers nil if another change came first; otherwise, of every seat that lost a lease and is still there, the user,
-- the seat and the leases that are left; and where members are to be named, how many are in the room, and the first
-- users and seats.

if redis.call('HGET', KEYS[1], 'revision') ~= ARGV[1] then
  return false
end

-- A seat's leases are one text: `lease=until lease=until`.
local function put_lease(user, lease, alive_until)
  local leases = {}
  for each, till in string.gmatch(redis.call('HGET', KEYS[4], user) or '', '(%S+)=(%S+)') do
    if each ~= lease then
      leases[#leases + 1] = each .. '=' .. till
    end
  end
  if alive_until then
    leases[#leases + 1] = lease .. '=' .. alive_until
  end
  redis.call('HSET', KEYS[4], user, table.concat(leases, ' '))
end

redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'record', ARGV[3], 'recorded', ARGV[4], 'told', ARGV[10])

local first_event = 12
local next = first_event + tonumber(ARGV[11])
local last_event = next - 1
local released = {}
while next <= #ARGV do
  local what, user = ARGV[next], ARGV[next + 1]
  if what == 'take' then
    redis.call('ZADD', KEYS[3], redis.call('HINCRBY', KEYS[1], 'places', 1), user)
    redis.call('HSET', KEYS[2], user, ARGV[next + 2])
    redis.call('HSET', KEYS[4], user, ARGV[next + 3])
    next = next + 4
  elseif what == 'give' then
    redis.call('ZREM', KEYS[3], user)
    redis.call('HDEL', KEYS[2], user)
    redis.call('HDEL', KEYS[4], user)
    next = next + 2
  elseif what == 'hold' then
    if redis.call('HEXISTS', KEYS[2], user) == 1 then
      put_lease(user, ARGV[next + 2], ARGV[next + 3])
    end
    next = next + 4
  else
    if redis.call('HEXISTS', KEYS[2], user) == 1 then
      put_lease(user, ARGV[next + 2])
      released[#released + 1] = user
      released[#released + 1] = redis.call('HGET', KEYS[2], user)
      released[#released + 1] = redis.call('HGET', KEYS[4], user)
    end
    next = next + 3
  end
end

for event = first_event, last_event do
  redis.call(ARGV[7], ARGV[8], ARGV[event])
end
if ARGV[5] == '1' then
  redis.call('DEL', unpack(KEYS))
  -- Nothing comes after this.
  redis.call(ARGV[7], ARGV[8], '')
else
  for _, key in ipairs(KEYS) do
    redis.call('EXPIRE', key, ARGV[6])
  end
end
if ARGV[9] == '0' then
  return {released, 0, {}, {}}
end
return {released, members(ARGV[9])}
