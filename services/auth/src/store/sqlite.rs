//! SQLite: what differs, and the statements compiled for it.

#[allow(clippy::duplicate_mod, reason = "compiled once for each engine")]
#[path = "queries.rs"]
mod queries;

pub(super) use queries::Queries;

type Db = sqlx::Sqlite;

/// The only writer from the beginning: a transaction that reads first and writes then would fail where
/// another wrote in between.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// Nobody else is writing.
const LOCK_USER: &str = "SELECT $1";

/// Nobody else is writing.
const LOCK_PAIR: &str = "SELECT $1";

/// Nobody else is writing.
const LOCK_EVENTS: &str = "SELECT 1";

const USERS_BY_IDS: &str = "
    SELECT user_id, username, name
    FROM users
    WHERE user_id IN (SELECT value FROM json_each($1))";

const FRIENDS_AMONG: &str = "
    SELECT user2_id AS user_id
    FROM friendships
    WHERE user1_id = $1
      AND user2_id IN (SELECT value FROM json_each($2))
    UNION ALL
    SELECT user1_id
    FROM friendships
    WHERE user2_id = $1
      AND user1_id IN (SELECT value FROM json_each($2))";
