-- A room that is to end: put down before live state and those in the room are told, so that whoever dies in between has
-- not left half of it. The row goes when that is done.

ALTER TABLE music_rooms
    -- When it was closed.
    ADD COLUMN closed_at timestamptz,
    ADD COLUMN close_reason text CHECK (close_reason IN ('closed_by_host', 'closed_by_operator', 'empty')),
    ADD CONSTRAINT music_rooms_closed CHECK ((closed_at IS NULL) = (close_reason IS NULL));

CREATE INDEX music_rooms_closed_at ON music_rooms (closed_at) WHERE closed_at IS NOT NULL;
