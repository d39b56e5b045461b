-- Moves or removes members of a sorted set that nobody moved since they were looked at.
--
-- KEYS  the set
-- ARGV  of each the member, the score that was seen, and the new score or an empty text to remove it

for next = 1, #ARGV, 3 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[next])
  if score and tonumber(score) == tonumber(ARGV[next + 1]) then
    if ARGV[next + 2] == '' then
      redis.call('ZREM', KEYS[1], ARGV[next])
    else
      redis.call('ZADD', KEYS[1], ARGV[next + 2], ARGV[next])
    end
  end
end
return 0
