//! A room and its seats, which are in one slot, and what refers to them from elsewhere.

use futures_util::future::join;
use prost::Message as _;
use redis::Value;
use tutti_common::{
    clock::UnixMs,
    ids::{ConnectionId, RoomId, UserId},
};
use tutti_proto::rooms::RoomEvent;

use super::{
    KEEP_S, RedisLive,
    record::{
        decode_room, decode_seat, encode_lease, encode_leases, encode_room, encode_seat, unreadable,
    },
};
use crate::{
    domain::{Change, Room, Seat, SeatChange, Version, View},
    live::{Due, LiveError, Member, SNAPSHOT_MEMBERS, Snapshot, connections_of},
};

/// A record, how many are in the room, the eldest two, and of those asked about seats and leases by turns.
type ViewAnswer = (Vec<u8>, u32, Vec<String>, Vec<Option<Vec<u8>>>);

/// A record, how many are in the room, and the first users with their seats.
type SnapshotAnswer = (Vec<u8>, u32, Vec<String>, Vec<Vec<u8>>);

/// A user, their seat, and the leases that are left of it.
type ReleasedAnswer = (String, Vec<u8>, String);

/// Of what was made: the seats that lost a lease and, where members were asked for, how many are in the room and the
/// first users with their seats.
type MadeAnswer = (Vec<ReleasedAnswer>, u32, Vec<String>, Vec<Vec<u8>>);

/// Ids and names in order of joining.
type Members = Vec<(UserId, String)>;

fn decode_members(users: &[String], seats: &[Vec<u8>]) -> Result<Members, LiveError> {
    let decode = |(user, seat): (&String, &Vec<u8>)| {
        let user = user.parse().map_err(unreadable)?;
        Ok((user, decode_seat(user, seat, "")?.username))
    };
    users.iter().zip(seats).map(decode).collect()
}

/// What the script that looks at a room answers.
pub(super) fn decode_view(
    room: RoomId,
    about: &[UserId],
    answer: Value,
) -> Result<Option<View>, LiveError> {
    let answer = redis::from_redis_value::<Option<ViewAnswer>>(answer).map_err(unreadable)?;
    let Some((record, count, eldest, found)) = answer else {
        return Ok(None);
    };
    let mut seats = Vec::new();
    for (&user, found) in about.iter().zip(found.chunks(2)) {
        if let [Some(seat), leases] = found {
            let leases = std::str::from_utf8(leases.as_deref().unwrap_or_default());
            seats.push(decode_seat(user, seat, leases.map_err(unreadable)?)?);
        }
    }
    Ok(Some(View {
        room: decode_room(room, &record)?,
        seats,
        count,
        eldest: eldest
            .iter()
            .map(|user| user.parse().map_err(unreadable))
            .collect::<Result<_, _>>()?,
    }))
}

impl RedisLive {
    pub(super) async fn look_at_room(
        &self,
        room: RoomId,
        about: &[UserId],
    ) -> Result<Option<View>, LiveError> {
        let users = about.iter().map(ToString::to_string).collect::<Vec<_>>();
        let keys = self.keys.all_of_room(room);
        let answer = self
            .redis
            .run::<Value>(&self.scripts.view, &keys, &users)
            .await?;
        decode_view(room, about, answer)
    }

    pub(super) async fn take_snapshot(&self, room: RoomId) -> Result<Option<Snapshot>, LiveError> {
        let [room_key, seats_key, order_key, _] = self.keys.all_of_room(room);
        let keys = [room_key, seats_key, order_key];
        let answer = self
            .redis
            .run::<Option<SnapshotAnswer>>(&self.scripts.snapshot, &keys, SNAPSHOT_MEMBERS)
            .await?;
        let Some((record, count, users, seats)) = answer else {
            return Ok(None);
        };
        Ok(Some(Snapshot {
            room: decode_room(room, &record)?,
            members: decode_members(&users, &seats)?,
            count,
        }))
    }

    pub(super) async fn members_after(
        &self,
        room: RoomId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Member>, LiveError> {
        let keys = [self.keys.seats(room), self.keys.order(room)];
        let after = after.map_or("-inf".to_owned(), |place| format!("({place}"));
        let (users, seats, places) = self
            .redis
            .run::<(Vec<String>, Vec<Vec<u8>>, Vec<u64>)>(
                &self.scripts.members_after,
                &keys,
                &[after, limit.to_string()],
            )
            .await?;
        let members = decode_members(&users, &seats)?.into_iter().zip(places);
        Ok(members
            .map(|((user, username), place)| Member {
                place,
                user,
                username,
            })
            .collect())
    }

    pub(super) async fn room(&self, id: RoomId) -> Result<Option<Room>, LiveError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.keys.room(id)).arg("record");
        let record = self.redis.ask::<Option<Vec<u8>>>("hget", &command).await?;
        record.map(|record| decode_room(id, &record)).transpose()
    }

    pub(super) async fn seat(&self, room: RoomId, user: UserId) -> Result<Option<Seat>, LiveError> {
        let keys = [self.keys.seats(room), self.keys.leases(room)];
        let (seat, leases) = self
            .redis
            .run::<(Option<Vec<u8>>, Option<String>)>(&self.scripts.seat, &keys, user.to_string())
            .await?;
        seat.map(|seat| decode_seat(user, &seat, leases.as_deref().unwrap_or_default()))
            .transpose()
    }

    pub(super) async fn put_there(&self, room: &Room, seats: &[Seat]) -> Result<(), LiveError> {
        let mut command = redis::cmd("EXISTS");
        command.arg(self.keys.room(room.id));
        let is_there = self.redis.ask::<bool>("exists", &command).await?;
        // What refers to it from elsewhere may have been lost all the same.
        self.expect_seats(room.id, seats.iter(), &[], is_there)
            .await?;
        if is_there {
            return Ok(());
        }
        self.expect_empty(room).await?;
        let mut args = vec![
            room.revision.0.to_string().into_bytes(),
            encode_room(room),
            KEEP_S.to_string().into_bytes(),
            room.told.0.to_string().into_bytes(),
        ];
        for seat in seats {
            args.push(seat.user.to_string().into_bytes());
            args.push(encode_seat(seat));
            args.push(encode_leases(&seat.leases).into_bytes());
        }
        // Where another one was faster, its room stays.
        let keys = self.keys.all_of_room(room.id);
        self.redis
            .run::<bool>(&self.scripts.restore, &keys, &args)
            .await?;
        Ok(())
    }

    /// Makes a change. Returns, where `members` are wanted, how many are in the room then and so many of them; nothing where
    /// another change came first.
    pub(super) async fn make(
        &self,
        expected: Version,
        change: &Change,
        events: &[RoomEvent],
        members: usize,
    ) -> Result<Option<(u32, Members)>, LiveError> {
        let room = &change.room;
        let taken = change.seats.iter().filter_map(|change| match change {
            SeatChange::Take(seat) => Some(seat),
            SeatChange::Give(_) | SeatChange::Hold(..) | SeatChange::Release(..) => None,
        });
        let connections = connections_of(change);
        self.expect_seats(room.id, taken, &connections, false)
            .await?;
        if change.closed.is_none() {
            self.expect_empty(room).await?;
        }
        let args = self.encode_change(expected, change, events, members);
        let keys = self.keys.all_of_room(room.id);
        let commit = self
            .redis
            .run::<Option<MadeAnswer>>(&self.scripts.commit, &keys, &args);
        let made = if change.durable || change.closed.is_some() {
            commit.await?
        } else {
            // Sent together. If the change is refused, the mark says nothing wrong of the room.
            let (committed, marked) = join(commit, self.mark_unrecorded(room)).await;
            let made = committed?;
            if let Err(error) = marked {
                // The change is made and told; the next one marks the room again.
                tracing::warn!(room = %room.id, %error, "a room could not be marked as unrecorded");
            }
            made
        };
        let Some((released, count, users, seats)) = made else {
            return Ok(None);
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
        Ok(Some((count, decode_members(&users, &seats)?)))
    }

    fn encode_change(
        &self,
        expected: Version,
        change: &Change,
        events: &[RoomEvent],
        members: usize,
    ) -> Vec<Vec<u8>> {
        let room = &change.room;
        let flag = |set: bool| if set { b"1".to_vec() } else { b"0".to_vec() };
        let mut args = vec![
            expected.0.to_string().into_bytes(),
            room.revision.0.to_string().into_bytes(),
            encode_room(room),
            // What is durable is in the record already.
            flag(change.durable),
            flag(change.closed.is_some()),
            KEEP_S.to_string().into_bytes(),
            self.redis.publish_command().as_bytes().to_vec(),
            self.keys.channel(room.id).into_bytes(),
            members.to_string().into_bytes(),
            room.told.0.to_string().into_bytes(),
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
        args
    }

    /// What must be there before somebody sits in a room, or if that `is_there` already; and who is online then.
    async fn expect_seats<'a>(
        &self,
        room: RoomId,
        seats: impl Iterator<Item = &'a Seat>,
        connections: &[(UserId, ConnectionId, UnixMs)],
        is_there: bool,
    ) -> Result<(), LiveError> {
        let seats = seats.collect::<Vec<_>>();
        let entries = seats
            .iter()
            .map(|seat| (self.expires_at(seat), Due::Seat(room, seat.user)))
            .collect::<Vec<_>>();
        // Unless it is there, never left where a look has put it: that look may be about to find nobody there.
        let agenda = self.agenda_commands(&entries, is_there);
        let mut commands = agenda.collect::<Vec<_>>();
        for &(user, connection, alive_until) in connections {
            commands.extend(self.online_commands(user, connection, alive_until));
        }
        for seat in seats {
            let key = self.keys.rooms_of(seat.user);
            let mut add = redis::cmd("ZADD");
            add.arg(&key).arg(seat.joined_at.0).arg(room.to_string());
            let mut keep = redis::cmd("EXPIRE");
            keep.arg(&key).arg(KEEP_S);
            commands.extend([add, keep]);
        }
        self.redis.ask_all::<i64>("put seats", &commands).await?;
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
            .map(|(room, seat)| (self.expires_at(seat), Due::Seat(*room, seat.user)))
            .collect::<Vec<_>>();
        self.look_no_later(&entries).await
    }

    fn expires_at(&self, seat: &Seat) -> UnixMs {
        seat.expires_at(self.presence_grace)
    }
}
