-- Users whose username begins with something: their keys lie from $2 to before $3. At most $4, never $1,
-- and what they are to $1.
SELECT
    found.user_id,
    found.username,
    found.name,
    CASE
        WHEN EXISTS (
            SELECT 1
            FROM friendships
            WHERE (user1_id = $1 AND user2_id = found.user_id)
               OR (user1_id = found.user_id AND user2_id = $1)
        ) THEN 'friend'
        WHEN EXISTS (
            SELECT 1
            FROM friend_requests
            WHERE sender_id = $1 AND receiver_id = found.user_id AND status = 'pending'
        ) THEN 'request_sent'
        WHEN EXISTS (
            SELECT 1
            FROM friend_requests
            WHERE sender_id = found.user_id AND receiver_id = $1 AND status = 'pending'
        ) THEN 'request_received'
        ELSE 'none'
    END AS relationship
FROM (
    SELECT user_id, username, username_key, name
    FROM users
    WHERE username_key >= $2
      AND username_key < $3
      AND user_id <> $1
    ORDER BY username_key
    LIMIT $4
) AS found
ORDER BY found.username_key
