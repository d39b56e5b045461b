-- What other services must act on: kept for a day, so that nobody misses what happens while they do not listen.

CREATE TABLE account_events (
    -- In the order in which they were committed: who inserts holds a lock until then.
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('session_ended', 'friendship_ended')),
    user_id text NOT NULL,
    -- The session, or the other user.
    subject_id text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE INDEX account_events_created_at ON account_events (created_at);
