//! The statements on PostgreSQL.

/// The engine.
type Db = sqlx::Postgres;

/// Begins a transaction that writes.
const BEGIN: &str = "BEGIN";

#[path = "queries.rs"]
mod queries;

pub(super) use queries::SqlRooms;
