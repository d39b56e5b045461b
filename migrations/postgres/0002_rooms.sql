-- Rooms and who is in them.

CREATE TABLE music_rooms (
    room_id text PRIMARY KEY,
    host_id text NOT NULL REFERENCES users,
    name text,
    is_friends_only boolean NOT NULL,
    max_participants integer NOT NULL,
    -- A JSON object as the host sent it: jsonb would reorder its members and refuse "\u0000".
    current_song text,
    playback_state jsonb NOT NULL,
    -- Rises with syncs and changes of host: what clients go by.
    version bigint NOT NULL,
    -- Rises with every change: what orders them.
    revision bigint NOT NULL,
    created_at timestamptz NOT NULL,
    last_activity timestamptz NOT NULL
);

CREATE INDEX music_rooms_host ON music_rooms (host_id);
CREATE INDEX music_rooms_last_activity ON music_rooms (last_activity);

CREATE TABLE room_participants (
    id text PRIMARY KEY,
    room_id text NOT NULL REFERENCES music_rooms ON DELETE CASCADE,
    user_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    username text NOT NULL,
    joined_at timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    is_active boolean NOT NULL,
    UNIQUE (room_id, user_id)
);

CREATE INDEX room_participants_active ON room_participants (room_id, joined_at) WHERE is_active;
CREATE INDEX room_participants_user ON room_participants (user_id) WHERE is_active;
