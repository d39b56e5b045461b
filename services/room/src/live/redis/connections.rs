//! Connections: what keeps seats, who is online, and who is where.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use futures_util::future::try_join_all;
use redis::Cmd;
use tutti_common::{
    clock::UnixMs,
    ids::{ConnectionId, RoomId, UserId},
};

use super::{
    BATCH, KEEP_S, RedisLive,
    record::{decode_leases, encode_lease, unreadable},
};
use crate::{
    domain::{Lease, Version},
    live::{Connected, Due, LiveError, Renewed},
};

/// How old an entry is at least before it is stale without a seat: longer than a join may take from the moment that its seat
/// names, which is bounded by the record's time for a statement and Redis's for a few calls.
const STALE_AFTER: Duration = Duration::from_secs(30);

fn is_young(joined_at_ms: f64, now: UnixMs) -> bool {
    joined_at_ms > (now - STALE_AFTER).as_f64()
}

/// What leases are once they were set.
#[derive(Default)]
struct Leased {
    /// Of each attached connection all leases of its seat.
    attached: HashMap<ConnectionId, BTreeMap<Lease, UnixMs>>,
    /// Of each room the revision of the last change that had events.
    last_events: HashMap<RoomId, Version>,
}

impl RedisLive {
    pub(super) async fn renew_all(
        &self,
        connections: &[Connected],
        alive_until: UnixMs,
    ) -> Result<Renewed, LiveError> {
        let mut commands = Vec::with_capacity(connections.len() * 3);
        for connected in connections {
            commands.extend(self.online_commands(
                connected.user,
                connected.connection,
                alive_until,
            ));
            let mut keep = redis::cmd("EXPIRE");
            keep.arg(self.keys.rooms_of(connected.user)).arg(KEEP_S);
            commands.push(keep);
        }
        self.redis.ask_all::<i64>("renew", &commands).await?;
        let leased = self.set_leases(connections, alive_until).await?;
        let detached = connections
            .iter()
            .filter(|connected| connected.room.is_some())
            .map(|connected| connected.connection)
            .filter(|connection| !leased.attached.contains_key(connection))
            .collect();
        Ok(Renewed {
            detached,
            last_events: leased.last_events.into_iter().collect(),
        })
    }

    /// What says that a user is online.
    pub(super) fn online_commands(
        &self,
        user: UserId,
        connection: ConnectionId,
        alive_until: UnixMs,
    ) -> [Cmd; 2] {
        let key = self.keys.online(user);
        let mut add = redis::cmd("ZADD");
        add.arg(&key).arg(alive_until.0).arg(connection.to_string());
        let mut keep = redis::cmd("EXPIRE");
        keep.arg(key).arg(KEEP_S);
        [add, keep]
    }

    pub(super) async fn drop_all(
        &self,
        connections: &[Connected],
        now: UnixMs,
    ) -> Result<(), LiveError> {
        let commands = connections
            .iter()
            .map(|connected| {
                let mut remove = redis::cmd("ZREM");
                remove
                    .arg(self.keys.online(connected.user))
                    .arg(connected.connection.to_string());
                remove
            })
            .collect::<Vec<_>>();
        self.redis.ask_all::<i64>("drop", &commands).await?;
        let leased = self.set_leases(connections, now).await?;
        let entries = connections
            .iter()
            .filter_map(|connected| {
                let last = leased.attached.get(&connected.connection)?.values().max()?;
                let due = Due::Seat(connected.room?, connected.user);
                Some((*last + self.presence_grace, due))
            })
            .collect::<Vec<_>>();
        self.look_no_later(&entries).await
    }

    /// Sets the leases of attached connections.
    async fn set_leases(
        &self,
        connections: &[Connected],
        until: UnixMs,
    ) -> Result<Leased, LiveError> {
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
                let keys = self.keys.all_of_room(room);
                let (last_event, leases) = self
                    .redis
                    .run::<(Option<i64>, Vec<String>)>(&self.scripts.lease, &keys, &args)
                    .await?;
                let attached = batch
                    .iter()
                    .zip(leases)
                    .filter(|(_, leases)| !leases.is_empty())
                    .map(|(connected, leases)| Ok((connected.connection, decode_leases(&leases)?)))
                    .collect::<Result<Vec<_>, LiveError>>()?;
                Ok::<_, LiveError>((room, last_event, attached))
            });
        let mut leased = Leased::default();
        for (room, last_event, attached) in try_join_all(batches).await? {
            leased.attached.extend(attached);
            leased
                .last_events
                .extend(last_event.map(|revision| (room, Version(revision))));
        }
        Ok(leased)
    }

    pub(super) async fn count_connections(
        &self,
        users: &[UserId],
        now: UnixMs,
    ) -> Result<HashMap<UserId, u32>, LiveError> {
        let mut commands = Vec::with_capacity(users.len() * 2);
        for &user in users {
            let key = self.keys.online(user);
            let mut remove = redis::cmd("ZREMRANGEBYSCORE");
            remove.arg(&key).arg("-inf").arg(now.0);
            let mut count = redis::cmd("ZCARD");
            count.arg(&key);
            commands.extend([remove, count]);
        }
        let answers = self.redis.ask_all::<u32>("online", &commands).await?;
        let counts = answers.iter().skip(1).step_by(2);
        let found = users.iter().zip(counts).filter(|(_, count)| **count > 0);
        Ok(found.map(|(user, count)| (*user, *count)).collect())
    }

    pub(super) async fn where_is(
        &self,
        user: UserId,
        now: UnixMs,
    ) -> Result<Vec<RoomId>, LiveError> {
        let key = self.keys.rooms_of(user);
        let mut command = redis::cmd("ZRANGE");
        command.arg(&key).arg(0).arg(-1).arg("WITHSCORES");
        let listed = self
            .redis
            .ask::<Vec<(String, f64)>>("zrange", &command)
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
                // Somebody may be about to sit down: the entry is written before the seat.
                None if is_young(*joined_at, now) => {}
                None => stale.extend([room.clone(), joined_at.to_string(), String::new()]),
            }
        }
        self.settle(&[key], &stale).await?;
        rooms.sort_unstable();
        Ok(rooms.into_iter().rev().map(|(_, id)| id).collect())
    }
}
