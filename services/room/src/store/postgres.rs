//! The statements on PostgreSQL.

use sqlx::{Pool, Postgres, Row as _};
use tutti_common::sql::Statement as _;

use self::queries::Bound;
use crate::domain::Room;

/// The engine.
type Db = Postgres;

/// Begins a transaction that writes.
const BEGIN: &str = "BEGIN";

/// The update of a room and, where that changes it, a change of who is in it, up to its condition and from there on. See
/// [`save_both`].
macro_rules! with_update {
    ($update:expr, $seat:expr, $rest:expr) => {
        concat!(
            "WITH updated AS (",
            $update,
            " RETURNING room_id), seated AS (",
            $seat,
            " WHERE EXISTS (SELECT 1 FROM updated) ",
            $rest,
            ") SELECT count(*) FROM updated"
        )
    };
}

/// Writes a room and, where that changes it, who is in it. Returns whether it was changed. It is one statement, so that nobody
/// has to wait for a transaction around it.
async fn save_both(
    pool: &Pool<Db>,
    _room: &Room,
    both: Bound,
    name: &'static str,
) -> Result<bool, sqlx::Error> {
    let answer = both.fetch_one(pool).named(name).await?;
    Ok(answer.try_get::<i64, _>(0)? > 0)
}

#[path = "queries.rs"]
mod queries;

pub(super) use queries::SqlRooms;
