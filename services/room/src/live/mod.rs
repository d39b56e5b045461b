//! Live state: what changes every second, shared by all replicas of the room service.

mod local;
mod redis;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tutti_common::{
    clock::UnixMs,
    ids::{ConnectionId, RoomId, UserId},
};
use tutti_proto::rooms::RoomEvent;

pub use self::redis::RedisLive;
pub use local::LocalLive;
pub use tutti_common::follow::Heard as Feed;

use crate::domain::{Change, Lease, Measured, Room, Seat, SeatChange, Version, View};

/// Why live state could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// It does not answer; later it may.
    #[error("live state: {0}")]
    Unavailable(String),
    /// What it holds was written by another version, or is broken.
    #[error("live state cannot be read: {0}")]
    Unreadable(String),
}

/// A room with those who are in it, all as of one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The room.
    pub room: Room,
    /// Ids and names in order of joining, at most [`SNAPSHOT_MEMBERS`].
    pub members: Vec<(UserId, String)>,
    /// How many there are.
    pub count: u32,
}

/// One who is in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Rises in order of joining, while live state is not lost.
    pub place: u64,
    /// Who.
    pub user: UserId,
    /// Their name when they joined.
    pub username: String,
}

/// How long something due, or to be recorded, belongs to who claimed it.
pub const CLAIM: Duration = Duration::from_secs(2);

/// How many members a snapshot names: the contract's 500.
pub const SNAPSHOT_MEMBERS: usize = 500;

/// A connection as its gateway reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Which.
    pub connection: ConnectionId,
    /// Whose.
    pub user: UserId,
    /// The room it is attached to.
    pub room: Option<RoomId>,
}

/// What became of renewing leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewed {
    /// Attached connections whose seat is gone.
    pub detached: Vec<ConnectionId>,
    /// Of the rooms that connections are attached to, the revision of the last change that had events.
    pub last_events: Vec<(RoomId, Version)>,
}

/// Something whose time may be up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// A seat that nothing keeps.
    Seat(RoomId, UserId),
    /// A room that nobody is in.
    Room(RoomId),
}

/// How long what a gateway said of its listeners counts. It says so every few seconds while there is news.
const MEASURED_FOR: Duration = Duration::from_secs(30);

/// The connections that keep a seat from a change on, whose they are and until when.
fn connections_of(change: &Change) -> Vec<(UserId, ConnectionId, UnixMs)> {
    let mut found = Vec::new();
    let mut add = |user, lease: &Lease, alive_until| {
        if let Lease::Connection(connection) = lease {
            found.push((user, *connection, alive_until));
        }
    };
    for change in &change.seats {
        match change {
            SeatChange::Take(seat) => {
                for (lease, &alive_until) in &seat.leases {
                    add(seat.user, lease, alive_until);
                }
            }
            SeatChange::Hold(user, lease, alive_until) => add(*user, lease, *alive_until),
            SeatChange::Give(_) | SeatChange::Release(..) => {}
        }
    }
    found
}

/// A turn with a room; it is over when this is dropped.
pub type Turn = Box<dyn Send + Sync>;

/// Live state. Every change of a room is a compare-and-publish: the revision that was read must still be
/// there, and the events of a change are published in the order of revisions.
#[async_trait]
pub trait LiveState: Send + Sync + 'static {
    /// A room, and the seats of those asked about.
    async fn view(&self, room: RoomId, about: &[UserId]) -> Result<Option<View>, LiveError>;

    /// A room with its members.
    async fn snapshot(&self, room: RoomId) -> Result<Option<Snapshot>, LiveError>;

    /// Those who are in a room behind that place, in order of joining, at most `limit`; nobody if the room is not there.
    async fn members(
        &self,
        room: RoomId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Member>, LiveError>;

    /// Puts a room there, unless it is there already.
    async fn restore(&self, room: Room, seats: Vec<Seat>) -> Result<(), LiveError>;

    /// Waits until no other process changes the room's record. Compare-and-publish keeps live state right without it;
    /// this keeps the record in the same order.
    async fn take_turn(&self, room: RoomId) -> Result<Turn, LiveError>;

    /// The same, and a look at the room as it is then.
    async fn take_turn_and_look(
        &self,
        room: RoomId,
        about: &[UserId],
    ) -> Result<(Turn, Option<View>), LiveError>;

    /// Makes the change and publishes its events, if the room is still at `expected`. False if it is not. Whose connection
    /// keeps a seat from then on is online for as long.
    async fn commit(
        &self,
        expected: Version,
        change: Change,
        events: Vec<RoomEvent>,
    ) -> Result<bool, LiveError>;

    /// The same. Returns the room with its members as it is after the change, or `None` if it was not made.
    async fn commit_and_look(
        &self,
        expected: Version,
        change: Change,
        events: Vec<RoomEvent>,
    ) -> Result<Option<Snapshot>, LiveError>;

    /// Whether all rooms were brought back from the record since there was nothing here.
    async fn is_filled(&self) -> Result<bool, LiveError>;

    /// They were.
    async fn set_filled(&self) -> Result<(), LiveError>;

    /// Connections are alive until then.
    async fn renew(
        &self,
        connections: &[Connected],
        alive_until: UnixMs,
    ) -> Result<Renewed, LiveError>;

    /// Connections went at `now`.
    async fn drop_connections(
        &self,
        connections: &[Connected],
        now: UnixMs,
    ) -> Result<(), LiveError>;

    /// How many connections of these users are alive. Users without any are left out.
    async fn connections_of(
        &self,
        users: &[UserId],
        now: UnixMs,
    ) -> Result<HashMap<UserId, u32>, LiveError>;

    /// Which of these users have a connection that is alive.
    async fn online(&self, users: &[UserId], now: UnixMs) -> Result<HashSet<UserId>, LiveError> {
        Ok(self.connections_of(users, now).await?.into_keys().collect())
    }

    /// The rooms a user is in, latest joined first.
    async fn rooms_of(&self, user: UserId, now: UnixMs) -> Result<Vec<RoomId>, LiveError>;

    /// Claims what is due: for a while nobody else gets the same. What cannot be looked at now is left out and claimed again
    /// later; an error means that nothing can.
    async fn due(&self, now: UnixMs, limit: usize) -> Result<Vec<Due>, LiveError>;

    /// Claims the rooms whose running position is not in the record yet: for a while nobody else gets the same.
    async fn unrecorded(&self, now: UnixMs) -> Result<Vec<Room>, LiveError>;

    /// What was claimed then is in the record. What changed since is still to be recorded.
    async fn recorded(&self, rooms: &[Room], claimed_at: UnixMs) -> Result<(), LiveError>;

    /// Keeps for a while what the listeners of a gateway have measured in a room. Returns what those of all have.
    async fn measured(
        &self,
        room: RoomId,
        gateway: &str,
        measured: Measured,
        now: UnixMs,
    ) -> Result<Measured, LiveError>;

    /// Tells those who listen to a room something that is no change of it.
    async fn tell(&self, room: RoomId, event: RoomEvent) -> Result<(), LiveError>;

    /// A room's events from now on.
    async fn subscribe(&self, room: RoomId) -> Result<BoxStream<'static, Feed>, LiveError>;
}
