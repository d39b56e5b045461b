-- The public keys that access tokens are checked with, as each auth process publishes its own again and again: all processes tell
-- gateways of the keys of all, and sign with a new one only once it is known.

CREATE TABLE published_keys (
    -- Made anew each time a process starts.
    process_id text NOT NULL,
    key_id text NOT NULL,
    public_key blob NOT NULL,
    -- How long the access tokens of this process live.
    access_token_ttl_ms integer NOT NULL,
    published_at text NOT NULL,
    -- When the process said last that it has the key.
    seen_at text NOT NULL,
    PRIMARY KEY (process_id, key_id)
) STRICT;
