-- Takes what is due and puts it off, so that nobody else gets it meanwhile.
--
-- KEYS  agenda
-- ARGV  now, how many at most, until when

local due = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, each in ipairs(due) do
  redis.call('ZADD', KEYS[1], ARGV[3], each)
end
return due
