-- What other services must act on: kept for a day, so that nobody misses what happens while they do not listen.

CREATE TABLE account_events (
    -- In the order in which they were committed; none is used twice.
    id integer PRIMARY KEY AUTOINCREMENT,
    kind text NOT NULL CHECK (kind IN ('session_ended', 'friendship_ended')),
    user_id text NOT NULL,
    -- The session, or the other user.
    subject_id text NOT NULL,
    created_at text NOT NULL
) STRICT;

CREATE INDEX account_events_created_at ON account_events (created_at);
