//! The statements on SQLite.

use sqlx::{Pool, Sqlite};
use tutti_common::sql::Statement as _;

use self::queries::{Bound, update_room};
use crate::domain::Room;

/// The engine.
type Db = Sqlite;

/// Begins a transaction that writes: it takes the lock at once, since a reader that begins to write later
/// cannot wait for another writer.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// A change of who is in a room, up to its condition and from there on. See [`save_both`].
macro_rules! with_update {
    ($update:expr, $seat:expr, $rest:expr) => {
        concat!($seat, " WHERE TRUE ", $rest)
    };
}

/// Writes a room and, where that changes it, who is in it. Returns whether it was changed.
async fn save_both(
    pool: &Pool<Db>,
    room: &Room,
    seat: Bound,
    name: &'static str,
) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin_with(BEGIN).named("begin").await?;
    let is_changed = update_room(room, &mut *transaction).await?;
    if is_changed {
        seat.execute(&mut *transaction).named(name).await?;
        transaction.commit().named("commit").await?;
    }
    Ok(is_changed)
}

#[path = "queries.rs"]
mod queries;

pub(super) use queries::SqlRooms;
