//! The statements on PostgreSQL.

/// The engine.
type Db = sqlx::Postgres;

/// Begins a transaction that writes.
const BEGIN: &str = "BEGIN";

/// Whether [`both`] makes one statement.
const IS_ONE: bool = true;

/// Two statements that are sent together.
macro_rules! both {
    ($first:expr, $second:expr) => {
        concat!("WITH first AS (", $first, ") ", $second)
    };
}

#[path = "queries.rs"]
mod queries;

pub(super) use queries::SqlRooms;
