-- Users, their sessions, and who is whose friend.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE TABLE users (
    user_id text PRIMARY KEY,
    email text NOT NULL,
    -- As it was given; unique without regard to case.
    email_key text NOT NULL UNIQUE,
    username text NOT NULL,
    -- In lower case and in byte order, so that a range of it is a prefix of usernames.
    username_key text COLLATE "C" NOT NULL UNIQUE,
    name text,
    password_hash text NOT NULL,
    profile jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    last_login timestamptz
);

-- Finds the middle of a username; its beginning is found by the unique index.
CREATE INDEX users_username_middle ON users USING gin (username_key gin_trgm_ops);

CREATE TABLE refresh_tokens (
    -- SHA-256 of the token; the token itself is nowhere.
    token_hash bytea PRIMARY KEY,
    -- The family: all tokens that came of one log-in.
    session_id text NOT NULL,
    user_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    -- When it was traded for its successor; a second time ends the session.
    used_at timestamptz
);

CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);

CREATE TABLE friend_requests (
    id text PRIMARY KEY,
    sender_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    receiver_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    status text NOT NULL CHECK (status IN ('pending', 'accepted', 'rejected')),
    created_at timestamptz NOT NULL,
    responded_at timestamptz,
    CHECK (sender_id <> receiver_id)
);

-- However many requests cross: at most one is pending between two users.
CREATE UNIQUE INDEX friend_requests_pending_pair
    ON friend_requests (LEAST(sender_id, receiver_id), GREATEST(sender_id, receiver_id))
    WHERE status = 'pending';
CREATE INDEX friend_requests_sender ON friend_requests (sender_id, receiver_id, status);
CREATE INDEX friend_requests_receiver ON friend_requests (receiver_id, sender_id, status);

CREATE TABLE friendships (
    id text PRIMARY KEY,
    user1_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    user2_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    UNIQUE (user1_id, user2_id),
    -- The pair has one way round.
    CHECK (user1_id < user2_id)
);

CREATE INDEX friendships_user2 ON friendships (user2_id);
