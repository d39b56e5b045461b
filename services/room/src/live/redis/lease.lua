-- Says until when leases of a room's seats are alive; makes none.
--
-- KEYS  room, seats, order, leases
-- ARGV  until, seconds to keep the room, and of each lease the user and the lease
--
-- Answers the revision of the room's last event, and for each lease all leases of its seat, or an empty text where there is
-- no such lease. A room that a process of an earlier version made has no such revision until it changes.

local found = {}
for next = 3, #ARGV, 2 do
  local user, lease = ARGV[next], ARGV[next + 1]
  local leases = {}
  local is_there = false
  for each, till in string.gmatch(redis.call('HGET', KEYS[4], user) or '', '(%S+)=(%S+)') do
    if each == lease then
      is_there = true
      till = ARGV[1]
    end
    leases[#leases + 1] = each .. '=' .. till
  end
  local text = ''
  if is_there then
    text = table.concat(leases, ' ')
    redis.call('HSET', KEYS[4], user, text)
  end
  found[#found + 1] = text
end
for _, key in ipairs(KEYS) do
  redis.call('EXPIRE', key, ARGV[2])
end
local told = redis.call('HGET', KEYS[1], 'told')
return {told and tonumber(told), found}
