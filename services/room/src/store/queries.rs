//! The statements, written once and compiled for each engine.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Pool, types::Json};
use tutti_common::{clock::UnixMs, ids::RoomId, sql::Statement as _};

use super::{BEGIN, Db, save_both};
use crate::{
    domain::{CloseReason, Playback, Room, RoomName, RoomTerms, Seat, SeatChange, Song, Version},
    store::{RoomStore, Saved, StoreError},
};

/// Parameters from 8 on are for what is written together with it. The revision keeps the record in order, whoever may write:
/// the lock of a room ends by itself, and whoever had it may still be writing. See [`Saved`].
macro_rules! update_room {
    () => {
        "UPDATE music_rooms
         SET host_id = $2, current_song = $3, playback_state = $4, version = $5, revision = $6, last_activity = $7
         WHERE room_id = $1 AND revision < $6 AND closed_at IS NULL"
    };
}

const UPDATE_ROOM: &str = update_room!();

const TAKE_SEAT: &str = with_update!(
    update_room!(),
    "INSERT INTO room_participants (id, room_id, user_id, username, joined_at, last_seen, is_active)
     SELECT $9, $1, $8, $10, $11, $11, TRUE",
    "ON CONFLICT (room_id, user_id) DO UPDATE
     SET username = excluded.username, joined_at = excluded.joined_at, last_seen = excluded.last_seen,
         is_active = excluded.is_active"
);

const GIVE_SEAT: &str = with_update!(
    update_room!(),
    "UPDATE room_participants
     SET is_active = FALSE, last_seen = $9",
    "AND room_id = $1 AND user_id = $8"
);

/// A statement with what it needs.
pub(super) type Bound = sqlx::query::Query<'static, Db, <Db as sqlx::Database>::Arguments>;

/// Rooms in one of the engines.
pub(crate) struct SqlRooms {
    pool: Pool<Db>,
}

impl SqlRooms {
    pub(crate) fn new(pool: Pool<Db>) -> Self {
        Self { pool }
    }
}

#[derive(sqlx::FromRow)]
struct RoomRow {
    room_id: String,
    host_id: String,
    name: Option<String>,
    is_friends_only: bool,
    max_participants: i32,
    current_song: Option<String>,
    playback_state: Json<PlaybackRow>,
    version: i64,
    revision: i64,
    created_at: DateTime<Utc>,
    last_activity: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct SeatRow {
    user_id: String,
    username: String,
    joined_at: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
struct PlaybackRow {
    playing: bool,
    position: f64,
    current_time: f64,
    timestamp_ms: f64,
    rate: f64,
}

impl From<Playback> for PlaybackRow {
    fn from(playback: Playback) -> Self {
        Self {
            playing: playback.playing,
            position: playback.position,
            current_time: playback.current_time,
            timestamp_ms: playback.timestamp_ms,
            rate: playback.rate,
        }
    }
}

fn broken(source: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Broken(Box::new(source))
}

impl RoomRow {
    fn into_room(self, seats: &[Seat]) -> Result<Room, StoreError> {
        let PlaybackRow {
            playing,
            position,
            current_time,
            timestamp_ms,
            rate,
        } = self.playback_state.0;
        let last_activity = UnixMs::from_datetime(self.last_activity);
        Ok(Room {
            id: self.room_id.parse().map_err(broken)?,
            host: self.host_id.parse().map_err(broken)?,
            terms: RoomTerms {
                name: self.name.as_deref().and_then(RoomName::from_record),
                is_friends_only: self.is_friends_only,
                max_participants: u32::try_from(self.max_participants).map_err(broken)?,
            },
            song: self.current_song.map(Song::from_record),
            playback: Playback {
                playing,
                position,
                current_time,
                timestamp_ms,
                rate,
            },
            version: Version(self.version),
            revision: Version(self.revision),
            told: Version(self.revision),
            created_at: UnixMs::from_datetime(self.created_at),
            last_activity,
            empty_since: seats.is_empty().then_some(last_activity),
        })
    }
}

impl SeatRow {
    fn into_seat(self) -> Result<Seat, StoreError> {
        Ok(Seat {
            user: self.user_id.parse().map_err(broken)?,
            username: self.username,
            joined_at: UnixMs::from_datetime(self.joined_at),
            leases: BTreeMap::new(),
        })
    }
}

/// What writes a room, with its first seven parameters.
fn of_room(statement: &'static str, room: &Room) -> Bound {
    sqlx::query(statement)
        .bind(room.id.to_string())
        .bind(room.host.to_string())
        .bind(room.song.as_ref().map(|song| song.as_json().to_owned()))
        .bind(Json(PlaybackRow::from(room.playback)))
        .bind(room.version.0)
        .bind(room.revision.0)
        .bind(room.last_activity.to_datetime())
}

/// What writes a room and a change of who is in it; nothing for what is not in the record.
fn of_room_and_seat(
    room: &Room,
    change: &SeatChange,
    now: UnixMs,
) -> Option<(Bound, &'static str)> {
    match change {
        SeatChange::Take(seat) => {
            let statement = of_room(TAKE_SEAT, room)
                .bind(seat.user.to_string())
                .bind(format!("{}:{}", room.id, seat.user))
                .bind(seat.username.clone())
                .bind(seat.joined_at.to_datetime());
            Some((statement, "take_seat"))
        }
        SeatChange::Give(user) => {
            let statement = of_room(GIVE_SEAT, room)
                .bind(user.to_string())
                .bind(now.to_datetime());
            Some((statement, "give_seat"))
        }
        // Leases are live state.
        SeatChange::Hold(..) | SeatChange::Release(..) => None,
    }
}

/// Writes a room. Returns whether that changed it.
pub(super) async fn update_room(
    room: &Room,
    on: impl sqlx::Executor<'_, Database = Db>,
) -> Result<bool, sqlx::Error> {
    let done = of_room(UPDATE_ROOM, room).execute(on).named("update_room");
    Ok(done.await?.rows_affected() > 0)
}

impl SqlRooms {
    /// Why a room was not written.
    async fn why_not(&self, room: RoomId) -> Result<Saved, StoreError> {
        let found = sqlx::query_as::<_, (i64, Option<String>)>(
            "SELECT revision, close_reason
             FROM music_rooms
             WHERE room_id = $1",
        )
        .bind(room.to_string())
        .fetch_optional(&self.pool)
        .named("find_revision")
        .await?;
        Ok(match found {
            None => Saved::Gone(None),
            Some((revision, None)) => Saved::Behind(Version(revision)),
            Some((_, Some(reason))) => Saved::Gone(Some(close_reason(&reason)?)),
        })
    }
}

fn close_reason(name: &str) -> Result<CloseReason, StoreError> {
    CloseReason::of(name).ok_or_else(|| StoreError::Broken(format!("no reason: {name}").into()))
}

#[async_trait]
impl RoomStore for SqlRooms {
    async fn insert(&self, room: &Room, first: &Seat) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with(BEGIN).named("begin").await?;
        sqlx::query(
            "INSERT INTO music_rooms
                 (room_id, host_id, name, is_friends_only, max_participants, current_song, playback_state, version,
                  revision, created_at, last_activity)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(room.id.to_string())
        .bind(room.host.to_string())
        .bind(room.terms.name.as_ref().map(|name| name.as_str().to_owned()))
        .bind(room.terms.is_friends_only)
        .bind(i32::try_from(room.terms.max_participants).map_err(broken)?)
        .bind(room.song.as_ref().map(|song| song.as_json().to_owned()))
        .bind(Json(PlaybackRow::from(room.playback)))
        .bind(room.version.0)
        .bind(room.revision.0)
        .bind(room.created_at.to_datetime())
        .bind(room.last_activity.to_datetime())
        .execute(&mut *transaction)
        .named("insert_room")
        .await?;
        sqlx::query(
            "INSERT INTO room_participants (id, room_id, user_id, username, joined_at, last_seen, is_active)
             VALUES ($1, $2, $3, $4, $5, $5, TRUE)",
        )
        .bind(format!("{}:{}", room.id, first.user))
        .bind(room.id.to_string())
        .bind(first.user.to_string())
        .bind(first.username.clone())
        .bind(first.joined_at.to_datetime())
        .execute(&mut *transaction)
        .named("insert_seat")
        .await?;
        transaction.commit().named("commit").await?;
        Ok(())
    }

    async fn save(
        &self,
        room: &Room,
        seats: &[SeatChange],
        now: UnixMs,
    ) -> Result<Saved, StoreError> {
        let mut changes = seats
            .iter()
            .filter_map(|change| of_room_and_seat(room, change, now));
        let is_changed = match (changes.next(), changes.next()) {
            (None, _) => update_room(room, &self.pool).await?,
            (Some((both, name)), None) => save_both(&self.pool, room, both, name).await?,
            (Some(_), Some(_)) => {
                let fault = "two people cannot come or go in one change";
                return Err(StoreError::Broken(fault.into()));
            }
        };
        if is_changed {
            Ok(Saved::Done)
        } else {
            self.why_not(room.id).await
        }
    }

    async fn save_positions(&self, rooms: &[Room]) -> Result<(), StoreError> {
        if rooms.is_empty() {
            return Ok(());
        }
        // Everybody takes rows in the same order, or two who write the same rooms would wait for each other.
        let mut rooms = rooms.iter().collect::<Vec<_>>();
        rooms.sort_unstable_by_key(|room| room.id);
        let mut transaction = self.pool.begin_with(BEGIN).named("begin").await?;
        for room in rooms {
            update_room(room, &mut *transaction).await?;
        }
        transaction.commit().named("commit").await?;
        Ok(())
    }

    async fn close(
        &self,
        room: RoomId,
        reason: CloseReason,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE music_rooms
             SET closed_at = $2, close_reason = $3
             WHERE room_id = $1 AND closed_at IS NULL",
        )
        .bind(room.to_string())
        .bind(now.to_datetime())
        .bind(reason.name())
        .execute(&self.pool)
        .named("close_room")
        .await?;
        Ok(())
    }

    async fn closing(
        &self,
        before: UnixMs,
        limit: u32,
    ) -> Result<Vec<(RoomId, CloseReason)>, StoreError> {
        sqlx::query_as::<_, (String, String)>(
            "SELECT room_id, close_reason
             FROM music_rooms
             WHERE closed_at < $1
             ORDER BY closed_at
             LIMIT $2",
        )
        .bind(before.to_datetime())
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .named("closing_rooms")
        .await?
        .into_iter()
        .map(|(id, reason)| Ok((id.parse().map_err(broken)?, close_reason(&reason)?)))
        .collect()
    }

    async fn delete(&self, room: RoomId) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM music_rooms
             WHERE room_id = $1 AND closed_at IS NOT NULL",
        )
        .bind(room.to_string())
        .execute(&self.pool)
        .named("delete_room")
        .await?;
        Ok(())
    }

    async fn load(&self, room: RoomId) -> Result<Option<(Room, Vec<Seat>)>, StoreError> {
        let row = sqlx::query_as::<_, RoomRow>(
            "SELECT room_id, host_id, name, is_friends_only, max_participants, current_song, playback_state, version,
                    revision, created_at, last_activity
             FROM music_rooms
             WHERE room_id = $1 AND closed_at IS NULL",
        )
        .bind(room.to_string())
        .fetch_optional(&self.pool)
        .named("load_room")
        .await?;
        let Some(row) = row else { return Ok(None) };
        let seats = sqlx::query_as::<_, SeatRow>(
            "SELECT user_id, username, joined_at
             FROM room_participants
             WHERE room_id = $1 AND is_active
             ORDER BY joined_at, user_id",
        )
        .bind(room.to_string())
        .fetch_all(&self.pool)
        .named("load_seats")
        .await?
        .into_iter()
        .map(SeatRow::into_seat)
        .collect::<Result<Vec<_>, _>>()?;
        Ok(Some((row.into_room(&seats)?, seats)))
    }

    async fn list(&self, after: Option<RoomId>, limit: u32) -> Result<Vec<RoomId>, StoreError> {
        sqlx::query_scalar::<_, String>(
            "SELECT room_id
             FROM music_rooms
             WHERE room_id > $1 AND closed_at IS NULL
             ORDER BY room_id
             LIMIT $2",
        )
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .named("list_rooms")
        .await?
        .into_iter()
        .map(|id| id.parse().map_err(broken))
        .collect()
    }

    async fn quiet(
        &self,
        since: UnixMs,
        after: Option<RoomId>,
        limit: u32,
    ) -> Result<Vec<RoomId>, StoreError> {
        sqlx::query_scalar::<_, String>(
            "SELECT room_id
             FROM music_rooms
             WHERE room_id > $1 AND last_activity < $2 AND closed_at IS NULL
             ORDER BY room_id
             LIMIT $3",
        )
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .bind(since.to_datetime())
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .named("quiet_rooms")
        .await?
        .into_iter()
        .map(|id| id.parse().map_err(broken))
        .collect()
    }
}
