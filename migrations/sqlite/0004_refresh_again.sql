-- A client whose answer was lost, or whose other tab was faster, trades a refresh token again: it gets another successor, and the
-- one before, which nobody has used, is replaced.

-- The token it was traded for last.
ALTER TABLE refresh_tokens ADD COLUMN successor blob;
-- When another successor of the same token took its place. Its `used_at` is set as well.
ALTER TABLE refresh_tokens ADD COLUMN replaced_at text;
-- Counts the tokens of a session, from 1.
ALTER TABLE refresh_tokens ADD COLUMN generation integer NOT NULL DEFAULT 1;
