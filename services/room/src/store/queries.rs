//! The statements, written once and compiled for each engine.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Pool, types::Json};
use tutti_common::{clock::UnixMs, ids::RoomId, sql::Statement as _};

use super::{BEGIN, Db, IS_ONE};
use crate::{
    domain::{Playback, Room, RoomName, RoomTerms, Seat, SeatChange, Song, Version},
    store::{RoomStore, StoreError},
};

/// Parameters from 8 on are for what is written together with it.
macro_rules! update_room {
    () => {
        "UPDATE music_rooms
         SET host_id = $2, current_song = $3, playback_state = $4, version = $5, revision = $6, last_activity = $7
         WHERE room_id = $1 AND revision < $6"
    };
}

const UPDATE_ROOM: &str = update_room!();

const UPDATE_ROOM_AND_TAKE_SEAT: &str = both!(
    update_room!(),
    "INSERT INTO room_participants (id, room_id, user_id, username, joined_at, last_seen, is_active)
     VALUES ($9, $1, $8, $10, $11, $11, TRUE)
     ON CONFLICT (room_id, user_id) DO UPDATE
     SET username = excluded.username, joined_at = excluded.joined_at, last_seen = excluded.last_seen,
         is_active = excluded.is_active"
);

const UPDATE_ROOM_AND_GIVE_SEAT: &str = both!(
    update_room!(),
    "UPDATE room_participants
     SET is_active = FALSE, last_seen = $9
     WHERE room_id = $1 AND user_id = $8"
);

/// A statement with what it needs.
type Bound = sqlx::query::Query<'static, Db, <Db as sqlx::Database>::Arguments>;

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
                // It was checked before it was written.
                name: self
                    .name
                    .as_deref()
                    .and_then(|name| RoomName::parse(name).ok()),
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
            let statement = of_room(UPDATE_ROOM_AND_TAKE_SEAT, room)
                .bind(seat.user.to_string())
                .bind(format!("{}:{}", room.id, seat.user))
                .bind(seat.username.clone())
                .bind(seat.joined_at.to_datetime());
            Some((statement, "take_seat"))
        }
        SeatChange::Give(user) => {
            let statement = of_room(UPDATE_ROOM_AND_GIVE_SEAT, room)
                .bind(user.to_string())
                .bind(now.to_datetime());
            Some((statement, "give_seat"))
        }
        // Leases are live state.
        SeatChange::Hold(..) | SeatChange::Release(..) => None,
    }
}

#[async_trait]
impl RoomStore for SqlRooms {
    async fn insert(&self, room: &Room, first: &Seat) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with(BEGIN).measured("begin").await?;
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

    async fn save(&self, room: &Room, seats: &[SeatChange], now: UnixMs) -> Result<(), StoreError> {
        let statements = seats
            .iter()
            .filter_map(|change| of_room_and_seat(room, change, now))
            .collect::<Vec<_>>();
        // One statement is done or not as it is: nobody has to wait for a transaction around it.
        if statements.is_empty() {
            let statement = of_room(UPDATE_ROOM, room);
            statement.execute(&self.pool).named("update_room").await?;
            return Ok(());
        }
        if IS_ONE && statements.len() == 1 {
            for (statement, name) in statements {
                statement.execute(&self.pool).named(name).await?;
            }
            return Ok(());
        }
        let mut transaction = self.pool.begin_with(BEGIN).measured("begin").await?;
        for (statement, name) in statements {
            statement.execute(&mut *transaction).named(name).await?;
        }
        transaction.commit().named("commit").await?;
        Ok(())
    }

    async fn save_positions(&self, rooms: &[Room]) -> Result<(), StoreError> {
        if rooms.is_empty() {
            return Ok(());
        }
        // Everybody takes rows in the same order, or two who write the same rooms would wait for each other.
        let mut rooms = rooms.iter().collect::<Vec<_>>();
        rooms.sort_unstable_by_key(|room| room.id);
        let mut transaction = self.pool.begin_with(BEGIN).measured("begin").await?;
        for room in rooms {
            of_room(UPDATE_ROOM, room)
                .execute(&mut *transaction)
                .named("update_room")
                .await?;
        }
        transaction.commit().named("commit").await?;
        Ok(())
    }

    async fn delete(&self, room: RoomId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM music_rooms WHERE room_id = $1")
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
             WHERE room_id = $1",
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
             WHERE room_id > $1
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

    async fn abandoned(&self, since: UnixMs, limit: u32) -> Result<Vec<RoomId>, StoreError> {
        sqlx::query_scalar::<_, String>(
            "SELECT room_id
             FROM music_rooms
             WHERE last_activity < $1
               AND NOT EXISTS (
                   SELECT 1
                   FROM room_participants
                   WHERE room_participants.room_id = music_rooms.room_id AND is_active)
             ORDER BY last_activity
             LIMIT $2",
        )
        .bind(since.to_datetime())
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .named("abandoned_rooms")
        .await?
        .into_iter()
        .map(|id| id.parse().map_err(broken))
        .collect()
    }
}
