-- Where users have opened and renewed sessions: wrong passwords that others try elsewhere do not delay them there.

CREATE TABLE known_networks (
    user_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    -- SHA-256 of the user's id, a blank, and the IPv4 address or the IPv6 /64.
    network_hash bytea NOT NULL,
    -- The last time, to within a day.
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, network_hash)
);

CREATE INDEX known_networks_seen_at ON known_networks (seen_at);
