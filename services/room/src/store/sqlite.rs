//! The statements on SQLite.

/// The engine.
type Db = sqlx::Sqlite;

/// Begins a transaction that writes: it takes the lock at once, since a reader that begins to write later
/// cannot wait for another writer.
const BEGIN: &str = "BEGIN IMMEDIATE";

#[path = "queries.rs"]
mod queries;

pub(super) use queries::SqlRooms;
