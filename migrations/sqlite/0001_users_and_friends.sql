-- Users, their sessions, and who is whose friend.

CREATE TABLE users (
    user_id text PRIMARY KEY,
    email text NOT NULL,
    -- As it was given; unique without regard to case.
    email_key text NOT NULL UNIQUE,
    username text NOT NULL,
    -- In lower case and in byte order, so that a range of it is a prefix of usernames.
    username_key text NOT NULL UNIQUE,
    name text,
    password_hash text NOT NULL,
    profile text NOT NULL DEFAULT '{}',
    created_at text NOT NULL,
    last_login text
) STRICT;

CREATE TABLE refresh_tokens (
    -- SHA-256 of the token; the token itself is nowhere.
    token_hash blob PRIMARY KEY,
    -- The family: all tokens that came of one log-in.
    session_id text NOT NULL,
    user_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at text NOT NULL,
    expires_at text NOT NULL,
    -- When it was traded for its successor; a second time ends the session.
    used_at text
) STRICT;

CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);

CREATE TABLE friend_requests (
    id text PRIMARY KEY,
    sender_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    receiver_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    status text NOT NULL CHECK (status IN ('pending', 'accepted', 'rejected')),
    created_at text NOT NULL,
    responded_at text,
    CHECK (sender_id <> receiver_id)
) STRICT;

-- However many requests cross: at most one is pending between two users.
CREATE UNIQUE INDEX friend_requests_pending_pair
    ON friend_requests (min(sender_id, receiver_id), max(sender_id, receiver_id))
    WHERE status = 'pending';
CREATE INDEX friend_requests_sender ON friend_requests (sender_id, receiver_id, status);
CREATE INDEX friend_requests_receiver ON friend_requests (receiver_id, sender_id, status);

CREATE TABLE friendships (
    id text PRIMARY KEY,
    user1_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    user2_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at text NOT NULL,
    UNIQUE (user1_id, user2_id),
    -- The pair has one way round.
    CHECK (user1_id < user2_id)
) STRICT;

CREATE INDEX friendships_user2 ON friendships (user2_id);
