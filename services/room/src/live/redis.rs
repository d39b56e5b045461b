//! Live state in Redis, shared by any number of room processes.
//!
//! All keys of a room are in one slot; no script touches two slots. What refers to a room from outside of its slot
//! (the agenda, a user's rooms) is written before the room itself, and whoever reads it looks at the room and puts right
//! what is stale. So a process may die between any two steps: what is left over is found to be nothing.

mod agenda;
mod connections;
mod keys;
mod measured;
mod positions;
mod record;
mod rooms;
mod turns;

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream::BoxStream};
use tutti_common::{
    clock::UnixMs,
    ids::{RoomId, UserId},
    redis::{Bus, NoAnswer, Redis, Script},
};
use tutti_proto::rooms::RoomEvent;

use self::{
    keys::Keys,
    rooms::decode_view,
    turns::{TURN, Turns},
};
use super::{
    Connected, Due, Feed, LiveError, LiveState, Member, Renewed, SNAPSHOT_MEMBERS, Snapshot, Turn,
};
use crate::domain::{Change, Measured, Room, Seat, Version, View};

/// How long what nobody uses any more is kept, in seconds. Every renewed lease is a use.
const KEEP_S: i64 = 24 * 60 * 60;

/// How many commands or members are sent at once.
const BATCH: usize = 1_000;

/// Live state in Redis.
pub struct RedisLive {
    redis: Redis,
    bus: Bus,
    keys: Keys,
    turns: Turns,
    scripts: Scripts,
    presence_grace: Duration,
    room_empty_grace: Duration,
}

struct Scripts {
    view: Script,
    turn: Script,
    seat: Script,
    commit: Script,
    restore: Script,
    snapshot: Script,
    members_after: Script,
    lease: Script,
    claim: Script,
    settle: Script,
}

impl From<NoAnswer> for LiveError {
    fn from(error: NoAnswer) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl RedisLive {
    /// Live state in Redis, under keys that begin with `prefix`; events are heard by `bus`. Seats are due
    /// `presence_grace` after their last sign of life, rooms `room_empty_grace` after they were left. Needs a
    /// runtime to be there.
    #[must_use]
    pub fn new(
        redis: Redis,
        bus: Bus,
        prefix: &str,
        presence_grace: Duration,
        room_empty_grace: Duration,
    ) -> Self {
        let keys = Keys::new(prefix);
        Self {
            turns: Turns::start(redis.clone(), keys.clone()),
            redis,
            bus,
            keys,
            scripts: Scripts {
                view: Script::new("view", include_str!("redis/view.lua")),
                turn: Script::new(
                    "turn",
                    concat!(
                        include_str!("redis/turn.lua"),
                        include_str!("redis/view.lua")
                    ),
                ),
                seat: Script::new("seat", include_str!("redis/seat.lua")),
                commit: Script::new(
                    "commit",
                    concat!(
                        include_str!("redis/members.lua"),
                        include_str!("redis/commit.lua")
                    ),
                ),
                restore: Script::new("restore", include_str!("redis/restore.lua")),
                snapshot: Script::new(
                    "snapshot",
                    concat!(
                        include_str!("redis/members.lua"),
                        include_str!("redis/snapshot.lua")
                    ),
                ),
                members_after: Script::new(
                    "members_after",
                    include_str!("redis/members_after.lua"),
                ),
                lease: Script::new("lease", include_str!("redis/lease.lua")),
                claim: Script::new("claim", include_str!("redis/claim.lua")),
                settle: Script::new("settle", include_str!("redis/settle.lua")),
            },
            presence_grace,
            room_empty_grace,
        }
    }
}

#[async_trait]
impl LiveState for RedisLive {
    async fn view(&self, room: RoomId, about: &[UserId]) -> Result<Option<View>, LiveError> {
        self.look_at_room(room, about).await
    }

    async fn snapshot(&self, room: RoomId) -> Result<Option<Snapshot>, LiveError> {
        self.take_snapshot(room).await
    }

    async fn members(
        &self,
        room: RoomId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Member>, LiveError> {
        self.members_after(room, after, limit).await
    }

    async fn restore(&self, room: Room, seats: Vec<Seat>) -> Result<(), LiveError> {
        self.put_there(&room, &seats).await
    }

    async fn take_turn(&self, room: RoomId) -> Result<Turn, LiveError> {
        self.turns.take(room).await
    }

    async fn take_turn_and_look(
        &self,
        room: RoomId,
        about: &[UserId],
    ) -> Result<(Turn, Option<View>), LiveError> {
        let mut keys = self.keys.all_of_room(room).to_vec();
        keys.push(self.keys.turn(room));
        let mut args = about.iter().map(ToString::to_string).collect::<Vec<_>>();
        let word = turns::new_word();
        args.extend([TURN.as_millis().to_string(), word.clone()]);
        let ask = || {
            let answer = self
                .redis
                .run::<redis::Value>(&self.scripts.turn, &keys, &args);
            async move {
                match answer.await? {
                    // It is another one's turn.
                    redis::Value::Int(_) => Ok(None),
                    answer => Ok(Some(decode_view(room, about, answer)?)),
                }
            }
        };
        self.turns.take_with(room, word, ask).await
    }

    async fn commit(
        &self,
        expected: Version,
        change: Change,
        events: Vec<RoomEvent>,
    ) -> Result<bool, LiveError> {
        let made = self.make(expected, &change, &events, 0).await?;
        Ok(made.is_some())
    }

    async fn commit_and_look(
        &self,
        expected: Version,
        change: Change,
        events: Vec<RoomEvent>,
    ) -> Result<Option<Snapshot>, LiveError> {
        let made = self
            .make(expected, &change, &events, SNAPSHOT_MEMBERS)
            .await?;
        Ok(made.map(|(count, members)| Snapshot {
            room: change.room,
            members,
            count,
        }))
    }

    async fn is_filled(&self) -> Result<bool, LiveError> {
        let mut command = redis::cmd("EXISTS");
        command.arg(self.keys.filled());
        Ok(self.redis.ask("exists", &command).await?)
    }

    async fn set_filled(&self) -> Result<(), LiveError> {
        let mut command = redis::cmd("SET");
        command.arg(self.keys.filled()).arg(1);
        Ok(self.redis.ask("set", &command).await?)
    }

    async fn renew(
        &self,
        connections: &[Connected],
        alive_until: UnixMs,
    ) -> Result<Renewed, LiveError> {
        self.renew_all(connections, alive_until).await
    }

    async fn drop_connections(
        &self,
        connections: &[Connected],
        now: UnixMs,
    ) -> Result<(), LiveError> {
        self.drop_all(connections, now).await
    }

    async fn connections_of(
        &self,
        users: &[UserId],
        now: UnixMs,
    ) -> Result<HashMap<UserId, u32>, LiveError> {
        self.count_connections(users, now).await
    }

    async fn rooms_of(&self, user: UserId, now: UnixMs) -> Result<Vec<RoomId>, LiveError> {
        self.where_is(user, now).await
    }

    async fn due(&self, now: UnixMs, limit: usize) -> Result<Vec<Due>, LiveError> {
        self.claim(now, limit).await
    }

    async fn unrecorded(&self, now: UnixMs) -> Result<Vec<Room>, LiveError> {
        self.claim_positions(now).await
    }

    async fn recorded(&self, rooms: &[Room], claimed_at: UnixMs) -> Result<(), LiveError> {
        self.settle_positions(rooms, claimed_at).await
    }

    async fn measured(
        &self,
        room: RoomId,
        gateway: &str,
        measured: Measured,
        now: UnixMs,
    ) -> Result<Measured, LiveError> {
        self.measured_by_all(room, gateway, &measured, now).await
    }

    async fn tell(&self, room: RoomId, event: RoomEvent) -> Result<(), LiveError> {
        self.publish(room, &event).await
    }

    async fn subscribe(&self, room: RoomId) -> Result<BoxStream<'static, Feed>, LiveError> {
        let heard = self.bus.listen(&self.keys.channel(room)).await?;
        Ok(heard.map(Feed::from).boxed())
    }
}
