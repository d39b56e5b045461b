-- A client whose answer was lost, or whose other tab was faster, trades a refresh token again: it gets another successor, and the
-- one before, which nobody has used, is replaced.

ALTER TABLE refresh_tokens
    -- The token it was traded for last.
    ADD COLUMN successor bytea,
    -- When another successor of the same token took its place. Its `used_at` is set as well.
    ADD COLUMN replaced_at timestamptz,
    -- Counts the tokens of a session, from 1.
    ADD COLUMN generation integer NOT NULL DEFAULT 1;
