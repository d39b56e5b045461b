//! PostgreSQL: what differs, and the statements compiled for it.

#[allow(clippy::duplicate_mod, reason = "compiled once for each engine")]
#[path = "queries.rs"]
mod queries;

pub(super) use queries::Queries;

type Db = sqlx::Postgres;

const BEGIN: &str = "BEGIN";

/// Keeps other changes of a user's sessions waiting until the end of the transaction, and nothing else:
/// rows that refer to the user can be written meanwhile.
const LOCK_USER: &str = "SELECT 1 FROM users WHERE user_id = $1 FOR NO KEY UPDATE";

/// Keeps other changes between two users waiting until the end of the transaction; $1 names the pair.
const LOCK_PAIR: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";

/// Keeps others who tell of events waiting until the end of the transaction.
const LOCK_EVENTS: &str = "SELECT pg_advisory_xact_lock(7, 1)";

const USERS_BY_IDS: &str = "
    SELECT user_id, username, name
    FROM users
    WHERE user_id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)))";

const FRIENDS_AMONG: &str = "
    SELECT user2_id AS user_id
    FROM friendships
    WHERE user1_id = $1
      AND user2_id = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb)))
    UNION ALL
    SELECT user1_id
    FROM friendships
    WHERE user2_id = $1
      AND user1_id = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb)))";
