//! The statements on SQLite.

/// The engine.
type Db = sqlx::Sqlite;

/// Begins a transaction that writes: it takes the lock at once, since a reader that begins to write later
/// cannot wait for another writer.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// Whether [`both`] makes one statement.
const IS_ONE: bool = false;

/// Two statements that are sent together.
macro_rules! both {
    ($first:expr, $second:expr) => {
        concat!($first, "; ", $second)
    };
}

#[path = "queries.rs"]
mod queries;

pub(super) use queries::SqlRooms;
