//! Live state in Redis, shared by any number of room processes.
//!
//! All keys of a room are in one slot; no script touches two slots. What refers to a room from outside of its slot
//! (the agenda, a user's rooms) is written before the room itself, and whoever reads it looks at the room and puts right
//! what is stale. So a process may die between any two steps: what is left over is found to be nothing.

mod agenda;
mod bus;
mod keys;
mod record;
mod turns;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{
    future::{join, try_join_all},
    stream::BoxStream,
};
use prost::Message as _;
use redis::{
    Client, FromRedisValue, IntoConnectionInfo as _, RedisResult, Script, ToRedisArgs,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};
use tokio::time::timeout;
use tutti_common::{
    clock::UnixMs,
    config::Secret,
    ids::{ConnectionId, RoomId, UserId},
};
use tutti_proto::rooms::RoomEvent;

use self::{
    bus::Bus,
    keys::Keys,
    record::{
        decode_leases, decode_room, decode_seat, encode_lease, encode_leases, encode_room,
        encode_seat, unreadable,
    },
    turns::Turns,
};
use super::{Connected, Due, Feed, LiveError, LiveState, SNAPSHOT_MEMBERS, Snapshot, Turn};
use crate::domain::{Change, Lease, Room, Seat, SeatChange, Version, View};

/// What all keys begin with.
pub const PREFIX: &str = "tutti";

/// How long Redis may take for anything.
const DEADLINE: Duration = Duration::from_secs(1);

/// How long what nobody uses any more is kept, in seconds. Every renewed lease is a use.
const KEEP_S: i64 = 24 * 60 * 60;

/// How many commands or members are sent at once.
const BATCH: usize = 1_000;

/// Live state in Redis.
pub struct RedisLive {
    redis: ConnectionManager,
    keys: Keys,
    bus: Bus,
    turns: Turns,
    scripts: Scripts,
    presence_grace: Duration,
    room_empty_grace: Duration,
}

struct Scripts {
    commit: Script,
    restore: Script,
    snapshot: Script,
    lease: Script,
    claim: Script,
    settle: Script,
}

/// A record, how many are in the room, the eldest two, and of those asked about seats and leases.
type ViewAnswer = (
    Option<Vec<u8>>,
    u32,
    Vec<String>,
    Vec<Option<Vec<u8>>>,
    Vec<Option<String>>,
);

/// A record, how many are in the room, and the first users with their seats.
type SnapshotAnswer = (Vec<u8>, u32, Vec<String>, Vec<Vec<u8>>);

/// A user, their seat, and the leases that are left of it.
type ReleasedAnswer = (String, Vec<u8>, String);

async fn within<T>(call: impl Future<Output = RedisResult<T>>) -> Result<T, LiveError> {
    match timeout(DEADLINE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(LiveError(error.to_string())),
        Err(_) => Err(LiveError("Redis does not answer in time".to_owned())),
    }
}

impl RedisLive {
    /// Live state in the Redis at `url`, under keys that begin with `prefix`. It is connected to when it is first
    /// asked, and again whenever the connection is lost. Seats are due `presence_grace` after their last sign of
    /// life, rooms `room_empty_grace` after they were left. Needs a runtime to be there.
    ///
    /// # Errors
    /// If the address cannot be read.
    pub fn new(
        url: &Secret,
        prefix: &str,
        presence_grace: Duration,
        room_empty_grace: Duration,
    ) -> Result<Self, LiveError> {
        // What the driver says of an address may repeat the password in it.
        let unusable = |_| LiveError("the address of Redis cannot be used".to_owned());
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            // A peer that vanished without a word is given up, and looked for again.
            .set_user_timeout(DEADLINE * 2);
        let address = url
            .expose()
            .into_connection_info()
            .map_err(unusable)?
            .set_tcp_settings(tcp);
        let client = Client::open(address).map_err(unusable)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(DEADLINE))
            .set_response_timeout(Some(DEADLINE))
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(200))
            // It goes on trying; who waits for it has a deadline.
            .set_number_of_retries(usize::MAX);
        let keys = Keys::new(prefix);
        let redis =
            ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(unusable)?;
        Ok(Self {
            turns: Turns::start(redis.clone(), keys.clone()),
            redis,
            bus: Bus::start(client, keys.clone()),
            keys,
            scripts: Scripts {
                commit: Script::new(include_str!("redis/commit.lua")),
                restore: Script::new(include_str!("redis/restore.lua")),
                snapshot: Script::new(include_str!("redis/snapshot.lua")),
                lease: Script::new(include_str!("redis/lease.lua")),
                claim: Script::new(include_str!("redis/claim.lua")),
                settle: Script::new(include_str!("redis/settle.lua")),
            },
            presence_grace,
            room_empty_grace,
        })
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> Result<(), LiveError> {
        self.ask::<redis::Value>(&redis::cmd("PING")).await?;
        Ok(())
    }

    async fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, LiveError> {
        let mut redis = self.redis.clone();
        within(command.query_async(&mut redis)).await
    }

    async fn ask_all<T: FromRedisValue>(&self, pipeline: &redis::Pipeline) -> Result<T, LiveError> {
        let mut redis = self.redis.clone();
        within(pipeline.query_async(&mut redis)).await
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: impl ToRedisArgs,
    ) -> Result<T, LiveError> {
        let mut redis = self.redis.clone();
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(key);
        }
        call.arg(args);
        within(call.invoke_async(&mut redis)).await
    }

    /// What must be there before somebody sits in a room, or if that `is_there` already.
    async fn expect_seats<'a>(
        &self,
        room: RoomId,
        seats: impl Iterator<Item = &'a Seat>,
        is_there: bool,
    ) -> Result<(), LiveError> {
        let seats = seats.collect::<Vec<_>>();
        let entries = seats
            .iter()
            .map(|seat| {
                let at = seat.expires_at(self.presence_grace);
                (at, Due::Seat(room, seat.user))
            })
            .collect::<Vec<_>>();
        if is_there {
            self.look_no_later(&entries).await?;
        } else {
            // Never left where a look has put it: that look may be about to find nobody there.
            self.look_at(&entries).await?;
        }
        for seats in seats.chunks(BATCH) {
            let mut pipeline = redis::pipe();
            for seat in seats {
                let key = self.keys.rooms_of(seat.user);
                pipeline
                    .zadd(&key, room.to_string(), seat.joined_at.0)
                    .ignore()
                    .expire(&key, KEEP_S)
                    .ignore();
            }
            self.ask_all::<()>(&pipeline).await?;
        }
        Ok(())
    }

    /// What must be there before a room is empty.
    async fn expect_empty(&self, room: &Room) -> Result<(), LiveError> {
        match room.empty_since {
            Some(since) => {
                let entry = (since + self.room_empty_grace, Due::Room(room.id));
                self.look_at(&[entry]).await
            }
            None => Ok(()),
        }
    }

    /// Seats that lost a lease may be due earlier.
    async fn look_at_seats_again(&self, seats: &[(RoomId, Seat)]) -> Result<(), LiveError> {
        let entries = seats
            .iter()
            .map(|(room, seat)| {
                let at = seat.expires_at(self.presence_grace);
                (at, Due::Seat(*room, seat.user))
            })
            .collect::<Vec<_>>();
        self.look_no_later(&entries).await
    }

    async fn room(&self, id: RoomId) -> Result<Option<Room>, LiveError> {
        let record = self
            .ask::<Option<Vec<u8>>>(redis::cmd("HGET").arg(self.keys.room(id)).arg("record"))
            .await?;
        record.map(|record| decode_room(id, &record)).transpose()
    }

    async fn seat(&self, room: RoomId, user: UserId) -> Result<Option<Seat>, LiveError> {
        let mut pipeline = redis::pipe();
        pipeline
            .atomic()
            .hget(self.keys.seats(room), user.to_string())
            .hget(self.keys.leases(room), user.to_string());
        let (seat, leases) = self
            .ask_all::<(Option<Vec<u8>>, Option<String>)>(&pipeline)
            .await?;
        seat.map(|seat| decode_seat(user, &seat, leases.as_deref().unwrap_or_default()))
            .transpose()
    }

    /// Sets the leases of attached connections. Returns each connection's lease as the seat has it then, with all others of
    /// the seat, or nothing where it is not attached.
    async fn set_leases(
        &self,
        connections: &[Connected],
        until: UnixMs,
    ) -> Result<HashMap<ConnectionId, BTreeMap<Lease, UnixMs>>, LiveError> {
        let mut by_room = HashMap::<RoomId, Vec<&Connected>>::new();
        for connected in connections {
            if let Some(room) = connected.room {
                by_room.entry(room).or_default().push(connected);
            }
        }
        let batches = by_room
            .iter()
            .flat_map(|(&room, connections)| {
                connections.chunks(BATCH).map(move |batch| (room, batch))
            })
            .map(|(room, batch)| async move {
                let mut args = vec![until.0.to_string(), KEEP_S.to_string()];
                for connected in batch {
                    args.push(connected.user.to_string());
                    args.push(encode_lease(&Lease::Connection(connected.connection)));
                }
                let leases = self
                    .run::<Vec<String>>(&self.scripts.lease, &self.keys.all_of_room(room), &args)
                    .await?;
                batch
                    .iter()
                    .zip(leases)
                    .filter(|(_, leases)| !leases.is_empty())
                    .map(|(connected, leases)| Ok((connected.connection, decode_leases(&leases)?)))
                    .collect::<Result<Vec<_>, LiveError>>()
            });
        let leases = try_join_all(batches).await?;
        Ok(leases.into_iter().flatten().collect())
    }
}

#[async_trait]
impl LiveState for RedisLive {
    async fn view(&self, room: RoomId, about: &[UserId]) -> Result<Option<View>, LiveError> {
        // A field nobody has comes first: there must be one.
        let fields = std::iter::once(String::new())
            .chain(about.iter().map(ToString::to_string))
            .collect::<Vec<_>>();
        let mut pipeline = redis::pipe();
        pipeline
            .atomic()
            .hget(self.keys.room(room), "record")
            .zcard(self.keys.order(room))
            .zrange(self.keys.order(room), 0, 1)
            .cmd("HMGET")
            .arg(self.keys.seats(room))
            .arg(&fields)
            .cmd("HMGET")
            .arg(self.keys.leases(room))
            .arg(&fields);
        let (record, count, eldest, seats, leases) = self.ask_all::<ViewAnswer>(&pipeline).await?;
        let Some(record) = record else {
            return Ok(None);
        };
        let seats = seats.into_iter().zip(leases).skip(1);
        Ok(Some(View {
            room: decode_room(room, &record)?,
            seats: about
                .iter()
                .zip(seats)
                .filter_map(|(&user, (seat, leases))| {
                    let leases = leases.unwrap_or_default();
                    Some(decode_seat(user, &seat?, &leases))
                })
                .collect::<Result<_, _>>()?,
            count,
            eldest: eldest
                .iter()
                .map(|user| user.parse().map_err(unreadable))
                .collect::<Result<_, _>>()?,
        }))
    }

    async fn snapshot(&self, room: RoomId) -> Result<Option<Snapshot>, LiveError> {
        let [room_key, seats_key, order_key, _] = self.keys.all_of_room(room);
        let answer = self
            .run::<Option<SnapshotAnswer>>(
                &self.scripts.snapshot,
                &[room_key, seats_key, order_key],
                SNAPSHOT_MEMBERS,
            )
            .await?;
        let Some((record, count, users, seats)) = answer else {
            return Ok(None);
        };
        Ok(Some(Snapshot {
            room: decode_room(room, &record)?,
            members: users
                .iter()
                .zip(seats)
                .map(|(user, seat)| {
                    let user = user.parse().map_err(unreadable)?;
                    Ok((user, decode_seat(user, &seat, "")?.username))
                })
                .collect::<Result<_, LiveError>>()?,
            count,
        }))
    }

    async fn restore(&self, room: Room, seats: Vec<Seat>) -> Result<(), LiveError> {
        let is_there = self
            .ask::<bool>(redis::cmd("EXISTS").arg(self.keys.room(room.id)))
            .await?;
        // What refers to it from elsewhere may have been lost all the same.
        self.expect_seats(room.id, seats.iter(), is_there).await?;
        if is_there {
            return Ok(());
        }
        self.expect_empty(&room).await?;
        let mut args = vec![
            room.revision.0.to_string().into_bytes(),
            encode_room(&room),
            KEEP_S.to_string().into_bytes(),
        ];
        for seat in &seats {
            args.push(seat.user.to_string().into_bytes());
            args.push(encode_seat(seat));
            args.push(encode_leases(&seat.leases).into_bytes());
        }
        // Where another one was faster, its room stays.
        self.run::<bool>(
            &self.scripts.restore,
            &self.keys.all_of_room(room.id),
            &args,
        )
        .await?;
        Ok(())
    }

    async fn take_turn(&self, room: RoomId) -> Result<Turn, LiveError> {
        self.turns.take(room).await
    }

    async fn commit(
        &self,
        expected: Version,
        change: Change,
        events: Vec<RoomEvent>,
    ) -> Result<bool, LiveError> {
        let room = &change.room;
        let taken = change.seats.iter().filter_map(|change| match change {
            SeatChange::Take(seat) => Some(seat),
            SeatChange::Give(_) | SeatChange::Hold(..) | SeatChange::Release(..) => None,
        });
        self.expect_seats(room.id, taken, false).await?;
        if !change.closed {
            self.expect_empty(room).await?;
        }
        let flag = |set: bool| if set { b"1".to_vec() } else { b"0".to_vec() };
        let mut args = vec![
            expected.0.to_string().into_bytes(),
            room.revision.0.to_string().into_bytes(),
            encode_room(room),
            // What is durable is in the record already.
            flag(change.durable),
            flag(change.closed),
            KEEP_S.to_string().into_bytes(),
            self.keys.channel(room.id).into_bytes(),
            events.len().to_string().into_bytes(),
        ];
        args.extend(events.iter().map(RoomEvent::encode_to_vec));
        for change in &change.seats {
            args.extend(match change {
                SeatChange::Take(seat) => vec![
                    b"take".to_vec(),
                    seat.user.to_string().into_bytes(),
                    encode_seat(seat),
                    encode_leases(&seat.leases).into_bytes(),
                ],
                SeatChange::Give(user) => vec![b"give".to_vec(), user.to_string().into_bytes()],
                SeatChange::Hold(user, lease, alive_until) => vec![
                    b"hold".to_vec(),
                    user.to_string().into_bytes(),
                    encode_lease(lease).into_bytes(),
                    alive_until.0.to_string().into_bytes(),
                ],
                SeatChange::Release(user, lease) => vec![
                    b"release".to_vec(),
                    user.to_string().into_bytes(),
                    encode_lease(lease).into_bytes(),
                ],
            });
        }
        let keys = self.keys.all_of_room(room.id);
        let commit = self.run::<Option<Vec<ReleasedAnswer>>>(&self.scripts.commit, &keys, &args);
        let released = if change.durable || change.closed {
            commit.await?
        } else {
            // Sent together, in this order. If the change is refused, the mark says nothing wrong of the room.
            let mut mark = redis::cmd("SADD");
            mark.arg(self.keys.unrecorded()).arg(room.id.to_string());
            let (committed, marked) = join(commit, self.ask::<i64>(&mark)).await;
            let released = committed?;
            if let Err(error) = marked {
                // The change is made and told; the next one marks the room again.
                tracing::warn!(room = %room.id, %error, "a room could not be marked as unrecorded");
            }
            released
        };
        let Some(released) = released else {
            return Ok(false);
        };
        let released = released
            .into_iter()
            .map(|(user, seat, leases)| {
                let user = user.parse().map_err(unreadable)?;
                Ok((room.id, decode_seat(user, &seat, &leases)?))
            })
            .collect::<Result<Vec<_>, LiveError>>()?;
        if let Err(error) = self.look_at_seats_again(&released).await {
            // The change is made and told. The seats are looked at when the leases that went would have ended.
            tracing::warn!(room = %room.id, %error, "seats may be kept a little longer");
        }
        Ok(true)
    }

    async fn is_filled(&self) -> Result<bool, LiveError> {
        self.ask(redis::cmd("EXISTS").arg(self.keys.filled())).await
    }

    async fn set_filled(&self) -> Result<(), LiveError> {
        self.ask(redis::cmd("SET").arg(self.keys.filled()).arg(1))
            .await
    }

    async fn forget(&self, room: RoomId) -> Result<(), LiveError> {
        self.ask::<i64>(redis::cmd("DEL").arg(&self.keys.all_of_room(room)))
            .await?;
        Ok(())
    }

    async fn renew(
        &self,
        connections: &[Connected],
        alive_until: UnixMs,
    ) -> Result<Vec<ConnectionId>, LiveError> {
        for batch in connections.chunks(BATCH) {
            let mut pipeline = redis::pipe();
            for connected in batch {
                let online = self.keys.online(connected.user);
                pipeline
                    .zadd(&online, connected.connection.to_string(), alive_until.0)
                    .ignore()
                    .expire(&online, KEEP_S)
                    .ignore()
                    .expire(self.keys.rooms_of(connected.user), KEEP_S)
                    .ignore();
            }
            self.ask_all::<()>(&pipeline).await?;
        }
        let attached = self.set_leases(connections, alive_until).await?;
        Ok(connections
            .iter()
            .filter(|connected| connected.room.is_some())
            .map(|connected| connected.connection)
            .filter(|connection| !attached.contains_key(connection))
            .collect())
    }

    async fn drop_connections(
        &self,
        connections: &[Connected],
        now: UnixMs,
    ) -> Result<(), LiveError> {
        for batch in connections.chunks(BATCH) {
            let mut pipeline = redis::pipe();
            for connected in batch {
                pipeline
                    .zrem(
                        self.keys.online(connected.user),
                        connected.connection.to_string(),
                    )
                    .ignore();
            }
            self.ask_all::<()>(&pipeline).await?;
        }
        let leases = self.set_leases(connections, now).await?;
        let entries = connections
            .iter()
            .filter_map(|connected| {
                let last = leases.get(&connected.connection)?.values().max()?;
                let due = Due::Seat(connected.room?, connected.user);
                Some((*last + self.presence_grace, due))
            })
            .collect::<Vec<_>>();
        self.look_no_later(&entries).await
    }

    async fn online(&self, users: &[UserId], now: UnixMs) -> Result<HashSet<UserId>, LiveError> {
        let mut online = HashSet::new();
        for batch in users.chunks(BATCH) {
            let mut pipeline = redis::pipe();
            for &user in batch {
                let key = self.keys.online(user);
                pipeline
                    .zrembyscore(&key, "-inf", now.0)
                    .ignore()
                    .zcard(&key);
            }
            let counts = self.ask_all::<Vec<u64>>(&pipeline).await?;
            let found = batch.iter().zip(counts).filter(|(_, count)| *count > 0);
            online.extend(found.map(|(user, _)| *user));
        }
        Ok(online)
    }

    async fn rooms_of(&self, user: UserId) -> Result<Vec<RoomId>, LiveError> {
        let key = self.keys.rooms_of(user);
        let listed = self
            .ask::<Vec<(String, i64)>>(
                redis::cmd("ZRANGE")
                    .arg(&key)
                    .arg(0)
                    .arg(-1)
                    .arg("WITHSCORES"),
            )
            .await?;
        let looks = listed.iter().map(|(room, joined_at)| async move {
            let id = room.parse::<RoomId>().map_err(unreadable)?;
            Ok::<_, LiveError>((room, joined_at, id, self.seat(id, user).await?))
        });
        let mut rooms = Vec::new();
        let mut stale = Vec::new();
        for (room, joined_at, id, seat) in try_join_all(looks).await? {
            match seat {
                Some(seat) => rooms.push((seat.joined_at, id)),
                None => stale.extend([room.clone(), joined_at.to_string(), String::new()]),
            }
        }
        if !stale.is_empty() {
            self.run::<i64>(&self.scripts.settle, &[key], &stale)
                .await?;
        }
        rooms.sort_unstable();
        Ok(rooms.into_iter().rev().map(|(_, id)| id).collect())
    }

    async fn due(&self, now: UnixMs, limit: usize) -> Result<Vec<Due>, LiveError> {
        self.claim(now, limit).await
    }

    async fn unrecorded(&self) -> Result<Vec<Room>, LiveError> {
        let mut rooms = Vec::new();
        loop {
            let marked = self
                .ask::<Vec<String>>(redis::cmd("SPOP").arg(self.keys.unrecorded()).arg(BATCH))
                .await?;
            let is_last = marked.len() < BATCH;
            let looks = marked.iter().map(|room| async move {
                let id = room.parse().map_err(unreadable)?;
                let mut command = redis::cmd("HMGET");
                command
                    .arg(self.keys.room(id))
                    .arg("record")
                    .arg("recorded");
                match self.ask::<(Option<Vec<u8>>, Option<u8>)>(&command).await? {
                    (Some(record), Some(0)) => decode_room(id, &record).map(Some),
                    // It is gone, or what came last is recorded.
                    _ => Ok(None),
                }
            });
            rooms.extend(try_join_all(looks).await?.into_iter().flatten());
            if is_last {
                return Ok(rooms);
            }
        }
    }

    async fn still_unrecorded(&self, rooms: &[Room]) -> Result<(), LiveError> {
        for batch in rooms.chunks(BATCH) {
            let mut command = redis::cmd("SADD");
            command.arg(self.keys.unrecorded());
            for room in batch {
                command.arg(room.id.to_string());
            }
            self.ask::<i64>(&command).await?;
        }
        Ok(())
    }

    async fn subscribe(&self, room: RoomId) -> Result<BoxStream<'static, Feed>, LiveError> {
        self.bus.listen(room).await
    }
}
