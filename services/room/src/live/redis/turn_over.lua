-- Ends a turn that is still one's own.
--
-- KEYS  turn
-- ARGV  whose it was

if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 0
