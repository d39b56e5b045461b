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

use crate::domain::{CloseReason, Room, Seat, SeatChange, Version};

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

/// What became of writing a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It is in the record.
    Done,
    /// Nothing is written: the record has this revision, which is not before the one that was to be written. Somebody else
    /// has changed the room, or began to and did not get as far as live state.
    Behind(Version),
    /// Nothing is written: the room is not in the record, or to be closed for that reason.
    Gone(Option<CloseReason>),
}

/// The record of rooms. Nothing here decides anything.
#[async_trait]
pub trait RoomStore: Send + Sync + 'static {
    /// Puts a new room there, with its first participant.
    async fn insert(&self, room: &Room, first: &Seat) -> Result<(), StoreError>;

    /// Puts a room's state there and who came and went, or nothing of it.
    async fn save(
        &self,
        room: &Room,
        seats: &[SeatChange],
        now: UnixMs,
    ) -> Result<Saved, StoreError>;

    /// Puts the running positions of rooms there.
    async fn save_positions(&self, rooms: &[Room]) -> Result<(), StoreError>;

    /// Puts down that a room is to end. From then on it is as good as not there, for all but [`Self::closing`] and
    /// [`Self::delete`]. What was put down first counts.
    async fn close(&self, room: RoomId, reason: CloseReason, now: UnixMs)
    -> Result<(), StoreError>;

    /// The rooms that were to end before then and are still there.
    async fn closing(
        &self,
        before: UnixMs,
        limit: u32,
    ) -> Result<Vec<(RoomId, CloseReason)>, StoreError>;

    /// Takes a room away that is to end.
    async fn delete(&self, room: RoomId) -> Result<(), StoreError>;

    /// A room and who is in it, in order of joining. Nothing keeps the seats.
    async fn load(&self, room: RoomId) -> Result<Option<(Room, Vec<Seat>)>, StoreError>;

    /// The rooms after an id, in order of ids.
    async fn list(&self, after: Option<RoomId>, limit: u32) -> Result<Vec<RoomId>, StoreError>;

    /// The rooms after an id where nothing happened since then, in order of ids.
    async fn quiet(
        &self,
        since: UnixMs,
        after: Option<RoomId>,
        limit: u32,
    ) -> Result<Vec<RoomId>, StoreError>;
}

/// The record in a database.
#[must_use]
pub fn open(database: &Database) -> Arc<dyn RoomStore> {
    match database {
        Database::Postgres(pool) => Arc::new(postgres::SqlRooms::new(pool.clone())),
        Database::Sqlite(pool) => Arc::new(sqlite::SqlRooms::new(pool.clone())),
    }
}
