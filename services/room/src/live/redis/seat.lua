-- A seat, as of one moment.
--
-- KEYS  seats, leases
-- ARGV  user
--
-- Answers the seat and its leases.

return {redis.call('HGET', KEYS[1], ARGV[1]), redis.call('HGET', KEYS[2], ARGV[1])}
