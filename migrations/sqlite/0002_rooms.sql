-- Rooms and who is in them.

CREATE TABLE music_rooms (
    room_id text PRIMARY KEY,
    host_id text NOT NULL REFERENCES users,
    name text,
    is_friends_only integer NOT NULL,
    max_participants integer NOT NULL,
    -- A JSON object as the host sent it.
    current_song text,
    playback_state text NOT NULL,
    -- Rises with syncs and changes of host: what clients go by.
    version integer NOT NULL,
    -- Rises with every change: what orders them.
    revision integer NOT NULL,
    created_at text NOT NULL,
    last_activity text NOT NULL
) STRICT;

CREATE INDEX music_rooms_host ON music_rooms (host_id);
CREATE INDEX music_rooms_last_activity ON music_rooms (last_activity);

CREATE TABLE room_participants (
    id text PRIMARY KEY,
    room_id text NOT NULL REFERENCES music_rooms ON DELETE CASCADE,
    user_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    username text NOT NULL,
    joined_at text NOT NULL,
    last_seen text NOT NULL,
    is_active integer NOT NULL,
    UNIQUE (room_id, user_id)
) STRICT;

CREATE INDEX room_participants_active ON room_participants (room_id, joined_at) WHERE is_active;
CREATE INDEX room_participants_user ON room_participants (user_id) WHERE is_active;
