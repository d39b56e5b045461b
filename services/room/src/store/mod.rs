//! The record of rooms in SQL.

mod postgres;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use tutti_common::{
    clock::UnixMs,
    ids::RoomId,
    sql::{self, Database},
};

use crate::domain::{Room, Seat, SeatChange};

/// Why the record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer; later it may.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// A fault of ours.
    #[error("the record is not as expected")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<sqlx::Error> for StoreError {
    fn from(source: sqlx::Error) -> Self {
        if sql::is_passing(&source) {
            Self::Unavailable(source)
        } else {
            Self::Broken(Box::new(source))
        }
    }
}

/// The record of rooms. Nothing here decides anything.
#[async_trait]
pub trait RoomStore: Send + Sync + 'static {
    /// Puts a new room there, with its first participant.
    async fn insert(&self, room: &Room, first: &Seat) -> Result<(), StoreError>;

    /// Puts a room's state there, unless a later revision is there, and who came and went.
    async fn save(&self, room: &Room, seats: &[SeatChange], now: UnixMs) -> Result<(), StoreError>;

    /// Puts the running positions of rooms there.
    async fn save_positions(&self, rooms: &[Room]) -> Result<(), StoreError>;

    /// Takes a room away.
    async fn delete(&self, room: RoomId) -> Result<(), StoreError>;

    /// A room and who is in it, in order of joining. Nothing keeps the seats.
    async fn load(&self, room: RoomId) -> Result<Option<(Room, Vec<Seat>)>, StoreError>;

    /// The rooms after an id, in order of ids.
    async fn list(&self, after: Option<RoomId>, limit: u32) -> Result<Vec<RoomId>, StoreError>;

    /// Rooms that nobody is in and where nothing happened since then.
    async fn abandoned(&self, since: UnixMs, limit: u32) -> Result<Vec<RoomId>, StoreError>;
}

/// The record in a database.
#[must_use]
pub fn open(database: &Database) -> Arc<dyn RoomStore> {
    match database {
        Database::Postgres(pool) => Arc::new(postgres::SqlRooms::new(pool.clone())),
        Database::Sqlite(pool) => Arc::new(sqlite::SqlRooms::new(pool.clone())),
    }
}
