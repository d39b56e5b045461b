//! Live state in this process.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream::BoxStream};
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};
use tutti_common::{
    clock::UnixMs,
    ids::{ConnectionId, RoomId, UserId},
};
use tutti_proto::rooms::RoomEvent;

use super::{
    CLAIM, Connected, Due, Feed, LiveError, LiveState, MEASURED_FOR, Member, Renewed,
    SNAPSHOT_MEMBERS, Snapshot, Turn, connections_of,
};
use crate::domain::{Change, Lease, Measured, Room, Seat, SeatChange, Version, View};

/// Events a subscriber may lag behind before it has to take a snapshot.
const FEED_CAPACITY: usize = 256;

/// Live state in this process: one lock, held for map look-ups only.
#[derive(Debug)]
pub struct LocalLive {
    state: Mutex<State>,
    presence_grace: Duration,
    room_empty_grace: Duration,
}

#[derive(Debug, Default)]
struct State {
    rooms: HashMap<RoomId, LiveRoom>,
    /// When to look at a seat or an empty room again. A renewed lease moves nothing here: who looks
    /// finds it alive and looks again later.
    agenda: BTreeSet<(UnixMs, Due)>,
    /// Each user's rooms.
    seats_of: HashMap<UserId, HashSet<RoomId>>,
    /// Each user's connections, and until when they are alive.
    online: HashMap<UserId, HashMap<ConnectionId, UnixMs>>,
    /// Rooms whose position is not in the record; those being written until when they are claimed.
    unrecorded: HashMap<RoomId, Option<UnixMs>>,
    is_filled: bool,
    feeds: HashMap<RoomId, broadcast::Sender<Arc<RoomEvent>>>,
}

#[derive(Debug)]
struct LiveRoom {
    room: Room,
    seats: HashMap<UserId, Sitting>,
    /// By order of sitting down.
    order: BTreeMap<u64, UserId>,
    next_place: u64,
    /// Where the room itself stands on the agenda.
    look_at: Option<UnixMs>,
    /// What listeners measure, by gateway, and until when that counts.
    measured: HashMap<String, (UnixMs, Measured)>,
}

#[derive(Debug)]
struct Sitting {
    seat: Seat,
    place: u64,
    /// Where it stands on the agenda.
    look_at: UnixMs,
}

impl State {
    /// A connection's lease of a seat, if both are there.
    fn lease(&mut self, room: RoomId, connected: &Connected) -> Option<&mut UnixMs> {
        self.rooms
            .get_mut(&room)?
            .seats
            .get_mut(&connected.user)?
            .seat
            .leases
            .get_mut(&Lease::Connection(connected.connection))
    }
}

impl LiveRoom {
    fn members(&self, limit: usize) -> Vec<(UserId, String)> {
        self.order
            .values()
            .filter_map(|user| self.seats.get(user))
            .take(limit)
            .map(|sitting| (sitting.seat.user, sitting.seat.username.clone()))
            .collect()
    }

    fn count(&self) -> u32 {
        u32::try_from(self.seats.len()).unwrap_or(u32::MAX)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            room: self.room.clone(),
            members: self.members(SNAPSHOT_MEMBERS),
            count: self.count(),
        }
    }
}

impl LocalLive {
    /// Nothing is there yet. Seats are due `presence_grace` after their last sign of life, rooms
    /// `room_empty_grace` after they were left.
    #[must_use]
    pub fn new(presence_grace: Duration, room_empty_grace: Duration) -> Self {
        Self {
            state: Mutex::default(),
            presence_grace,
            room_empty_grace,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts down when to look at the room or one of its seats, if not earlier already.
    fn schedule(&self, state: &mut State, due: Due) {
        let State { rooms, agenda, .. } = state;
        match due {
            Due::Seat(room, user) => {
                let Some(sitting) = rooms
                    .get_mut(&room)
                    .and_then(|room| room.seats.get_mut(&user))
                else {
                    return;
                };
                let at = sitting.seat.expires_at(self.presence_grace);
                if at < sitting.look_at {
                    agenda.remove(&(sitting.look_at, due));
                    sitting.look_at = at;
                }
                agenda.insert((sitting.look_at, due));
            }
            Due::Room(id) => {
                let Some(room) = rooms.get_mut(&id) else {
                    return;
                };
                if let Some(at) = room.look_at.take() {
                    agenda.remove(&(at, due));
                }
                if let Some(empty_since) = room.room.empty_since {
                    let at = empty_since + self.room_empty_grace;
                    room.look_at = Some(at);
                    agenda.insert((at, due));
                }
            }
        }
    }

    fn change_seat(&self, state: &mut State, id: RoomId, change: SeatChange) {
        let State {
            rooms,
            agenda,
            seats_of,
            ..
        } = state;
        let Some(room) = rooms.get_mut(&id) else {
            return;
        };
        match change {
            SeatChange::Take(seat) => {
                let user = seat.user;
                let look_at = seat.expires_at(self.presence_grace);
                let place = room.next_place;
                room.next_place += 1;
                room.order.insert(place, user);
                seats_of.entry(user).or_default().insert(id);
                room.seats.insert(
                    user,
                    Sitting {
                        seat,
                        place,
                        look_at,
                    },
                );
                agenda.insert((look_at, Due::Seat(id, user)));
            }
            SeatChange::Give(user) => {
                if let Some(sitting) = room.seats.remove(&user) {
                    room.order.remove(&sitting.place);
                    agenda.remove(&(sitting.look_at, Due::Seat(id, user)));
                }
                forget_seat(seats_of, user, id);
            }
            SeatChange::Hold(user, lease, alive_until) => {
                if let Some(sitting) = room.seats.get_mut(&user) {
                    sitting.seat.leases.insert(lease, alive_until);
                }
            }
            SeatChange::Release(user, lease) => {
                if let Some(sitting) = room.seats.get_mut(&user) {
                    sitting.seat.leases.remove(&lease);
                }
                self.schedule(state, Due::Seat(id, user));
            }
        }
    }

    /// Makes a change if the room is still at `expected`, and says whether it was.
    fn make(
        &self,
        state: &mut State,
        expected: Version,
        change: Change,
        events: Vec<RoomEvent>,
    ) -> bool {
        let id = change.room.id;
        let Some(live) = state
            .rooms
            .get_mut(&id)
            .filter(|live| live.room.revision == expected)
        else {
            return false;
        };
        for (user, connection, alive_until) in connections_of(&change) {
            let connections = state.online.entry(user).or_default();
            connections.insert(connection, alive_until);
        }
        live.room = change.room;
        for seat in change.seats {
            self.change_seat(state, id, seat);
        }
        if change.closed.is_some() {
            Self::remove_room(state, id);
        } else {
            self.schedule(state, Due::Room(id));
            // What is durable is in the record already.
            if change.durable {
                state.unrecorded.remove(&id);
            } else {
                state.unrecorded.insert(id, None);
            }
        }
        // Under the lock, so that events leave in the order of revisions.
        if let Some(feed) = state.feeds.get(&id) {
            for event in events {
                // An error means that nobody is listening any more.
                let _ = feed.send(Arc::new(event));
            }
            if change.closed.is_some() || feed.receiver_count() == 0 {
                state.feeds.remove(&id);
            }
        }
        true
    }

    fn remove_room(state: &mut State, id: RoomId) {
        let Some(room) = state.rooms.remove(&id) else {
            return;
        };
        for (user, sitting) in room.seats {
            state.agenda.remove(&(sitting.look_at, Due::Seat(id, user)));
            forget_seat(&mut state.seats_of, user, id);
        }
        if let Some(at) = room.look_at {
            state.agenda.remove(&(at, Due::Room(id)));
        }
        state.unrecorded.remove(&id);
    }
}

fn forget_seat(seats_of: &mut HashMap<UserId, HashSet<RoomId>>, user: UserId, room: RoomId) {
    if let Some(rooms) = seats_of.get_mut(&user) {
        rooms.remove(&room);
        if rooms.is_empty() {
            seats_of.remove(&user);
        }
    }
}

#[async_trait]
impl LiveState for LocalLive {
    async fn view(&self, room: RoomId, about: &[UserId]) -> Result<Option<View>, LiveError> {
        let state = self.state();
        Ok(state.rooms.get(&room).map(|live| View {
            room: live.room.clone(),
            seats: about
                .iter()
                .filter_map(|user| live.seats.get(user))
                .map(|sitting| sitting.seat.clone())
                .collect(),
            count: live.count(),
            eldest: live.order.values().take(2).copied().collect(),
        }))
    }

    async fn snapshot(&self, room: RoomId) -> Result<Option<Snapshot>, LiveError> {
        let state = self.state();
        Ok(state.rooms.get(&room).map(LiveRoom::snapshot))
    }

    async fn members(
        &self,
        room: RoomId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Member>, LiveError> {
        let state = self.state();
        let Some(room) = state.rooms.get(&room) else {
            return Ok(Vec::new());
        };
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let seated = room.order.range((first, Bound::Unbounded));
        let seated = seated.filter_map(|(&place, user)| {
            let seat = &room.seats.get(user)?.seat;
            Some(Member {
                place,
                user: seat.user,
                username: seat.username.clone(),
            })
        });
        Ok(seated.take(limit).collect())
    }

    async fn restore(&self, room: Room, seats: Vec<Seat>) -> Result<(), LiveError> {
        let mut state = self.state();
        let id = room.id;
        if state.rooms.contains_key(&id) {
            return Ok(());
        }
        let live = LiveRoom {
            room,
            seats: HashMap::new(),
            order: BTreeMap::new(),
            next_place: 0,
            look_at: None,
            measured: HashMap::new(),
        };
        state.rooms.insert(id, live);
        for seat in seats {
            self.change_seat(&mut state, id, SeatChange::Take(seat));
        }
        self.schedule(&mut state, Due::Room(id));
        Ok(())
    }

    async fn take_turn(&self, _room: RoomId) -> Result<Turn, LiveError> {
        // There is no other process.
        Ok(Box::new(()))
    }

    async fn take_turn_and_look(
        &self,
        room: RoomId,
        about: &[UserId],
    ) -> Result<(Turn, Option<View>), LiveError> {
        let turn = self.take_turn(room).await?;
        Ok((turn, self.view(room, about).await?))
    }

    async fn commit(
        &self,
        expected: Version,
        change: Change,
        events: Vec<RoomEvent>,
    ) -> Result<bool, LiveError> {
        Ok(self.make(&mut self.state(), expected, change, events))
    }

    async fn commit_and_look(
        &self,
        expected: Version,
        change: Change,
        events: Vec<RoomEvent>,
    ) -> Result<Option<Snapshot>, LiveError> {
        let mut state = self.state();
        let id = change.room.id;
        let is_made = self.make(&mut state, expected, change, events);
        let live = state.rooms.get(&id).filter(|_| is_made);
        Ok(live.map(LiveRoom::snapshot))
    }

    async fn is_filled(&self) -> Result<bool, LiveError> {
        Ok(self.state().is_filled)
    }

    async fn set_filled(&self) -> Result<(), LiveError> {
        self.state().is_filled = true;
        Ok(())
    }

    async fn renew(
        &self,
        connections: &[Connected],
        alive_until: UnixMs,
    ) -> Result<Renewed, LiveError> {
        let mut state = self.state();
        let mut detached = Vec::new();
        let mut last_events = HashMap::new();
        for connected in connections {
            state
                .online
                .entry(connected.user)
                .or_default()
                .insert(connected.connection, alive_until);
            let Some(room) = connected.room else { continue };
            match state.lease(room, connected) {
                Some(lease) => *lease = alive_until,
                None => detached.push(connected.connection),
            }
            if let Some(live) = state.rooms.get(&room) {
                last_events.insert(room, live.room.told);
            }
        }
        Ok(Renewed {
            detached,
            last_events: last_events.into_iter().collect(),
        })
    }

    async fn drop_connections(
        &self,
        connections: &[Connected],
        now: UnixMs,
    ) -> Result<(), LiveError> {
        let mut state = self.state();
        for connected in connections {
            if let Some(online) = state.online.get_mut(&connected.user) {
                online.remove(&connected.connection);
                if online.is_empty() {
                    state.online.remove(&connected.user);
                }
            }
            let Some(room) = connected.room else { continue };
            if let Some(lease) = state.lease(room, connected) {
                *lease = now;
                self.schedule(&mut state, Due::Seat(room, connected.user));
            }
        }
        Ok(())
    }

    async fn connections_of(
        &self,
        users: &[UserId],
        now: UnixMs,
    ) -> Result<HashMap<UserId, u32>, LiveError> {
        let mut state = self.state();
        let counts = users.iter().filter_map(|user| {
            let connections = state.online.get_mut(user)?;
            connections.retain(|_, alive_until| *alive_until > now);
            let count = u32::try_from(connections.len()).unwrap_or(u32::MAX);
            if count == 0 {
                state.online.remove(user);
                return None;
            }
            Some((*user, count))
        });
        Ok(counts.collect())
    }

    async fn rooms_of(&self, user: UserId, _now: UnixMs) -> Result<Vec<RoomId>, LiveError> {
        let state = self.state();
        let mut rooms = state
            .seats_of
            .get(&user)
            .into_iter()
            .flatten()
            .filter_map(|id| {
                let sitting = state.rooms.get(id)?.seats.get(&user)?;
                Some((sitting.seat.joined_at, *id))
            })
            .collect::<Vec<_>>();
        rooms.sort_unstable();
        Ok(rooms.into_iter().rev().map(|(_, id)| id).collect())
    }

    async fn due(&self, now: UnixMs, limit: usize) -> Result<Vec<Due>, LiveError> {
        let mut state = self.state();
        let mut found = Vec::new();
        while found.len() < limit {
            let Some(&(at, due)) = state.agenda.first().filter(|(at, _)| *at <= now) else {
                break;
            };
            state.agenda.remove(&(at, due));
            let again = match due {
                Due::Seat(room, user) => {
                    let Some(sitting) = state
                        .rooms
                        .get_mut(&room)
                        .and_then(|live| live.seats.get_mut(&user))
                    else {
                        continue;
                    };
                    let expires_at = sitting.seat.expires_at(self.presence_grace);
                    if expires_at <= now {
                        found.push(due);
                    }
                    sitting.look_at = if expires_at <= now {
                        now + CLAIM
                    } else {
                        expires_at
                    };
                    sitting.look_at
                }
                Due::Room(room) => {
                    let Some(live) = state.rooms.get_mut(&room) else {
                        continue;
                    };
                    found.push(due);
                    live.look_at = Some(now + CLAIM);
                    now + CLAIM
                }
            };
            state.agenda.insert((again, due));
        }
        Ok(found)
    }

    async fn unrecorded(&self, now: UnixMs) -> Result<Vec<Room>, LiveError> {
        let mut state = self.state();
        let State {
            rooms, unrecorded, ..
        } = &mut *state;
        let free = unrecorded
            .iter_mut()
            .filter(|(_, claimed_until)| claimed_until.is_none_or(|until| until <= now));
        let claimed = free.map(|(id, claimed_until)| {
            *claimed_until = Some(now + CLAIM);
            *id
        });
        Ok(claimed
            .filter_map(|id| rooms.get(&id))
            .map(|live| live.room.clone())
            .collect())
    }

    async fn recorded(&self, rooms: &[Room], claimed_at: UnixMs) -> Result<(), LiveError> {
        let mut state = self.state();
        for room in rooms {
            if state.unrecorded.get(&room.id) == Some(&Some(claimed_at + CLAIM)) {
                state.unrecorded.remove(&room.id);
            }
        }
        Ok(())
    }

    async fn measured(
        &self,
        room: RoomId,
        gateway: &str,
        measured: Measured,
        now: UnixMs,
    ) -> Result<Measured, LiveError> {
        let mut state = self.state();
        let mut sum = Measured::default();
        if let Some(room) = state.rooms.get_mut(&room) {
            let entry = (now + MEASURED_FOR, measured);
            room.measured.insert(gateway.to_owned(), entry);
            room.measured.retain(|_, (until, _)| *until > now);
            for (_, measured) in room.measured.values() {
                sum.merge(measured);
            }
        }
        Ok(sum)
    }

    async fn tell(&self, room: RoomId, event: RoomEvent) -> Result<(), LiveError> {
        if let Some(feed) = self.state().feeds.get(&room) {
            // An error means that nobody is listening any more.
            let _ = feed.send(Arc::new(event));
        }
        Ok(())
    }

    async fn subscribe(&self, room: RoomId) -> Result<BoxStream<'static, Feed>, LiveError> {
        let mut state = self.state();
        let feed = state
            .feeds
            .entry(room)
            .or_insert_with(|| broadcast::channel(FEED_CAPACITY).0)
            .subscribe();
        Ok(BroadcastStream::new(feed)
            .map(|event| match event {
                Ok(event) => Feed::Event(event),
                Err(BroadcastStreamRecvError::Lagged(_)) => Feed::Gap,
            })
            .boxed())
    }
}
