-- Takes the turn with a room, where nobody has it; then comes what looks at the room.
--
-- KEYS  as what looks at the room has them, and the turn
-- ARGV  as what looks at the room has them, how long the turn lasts in milliseconds, and whose it is
--
-- Answers 0 where it is another one's turn; otherwise what the look answers.

local word = table.remove(ARGV)
local turn_ms = table.remove(ARGV)
if not redis.call('SET', KEYS[5], word, 'NX', 'PX', turn_ms) then
  return 0
end

