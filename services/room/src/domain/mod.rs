//! The rules of a room: who is in it, who is host, what plays where. Pure: time and facts come in as
//! arguments, and nothing here knows of SQL, Redis, gRPC or HTTP.

mod member_search;
mod playback;
mod rules;
mod song;
mod terms;
mod timing;

use std::collections::BTreeMap;
use std::time::Duration;

use tutti_common::{
    clock::UnixMs,
    ids::{ConnectionId, RoomId, UserId},
};

pub use member_search::MemberSearch;
pub use playback::{Playback, PlaybackUpdate};
pub use rules::{Command, apply};
pub use song::{Song, SongUpdate};
pub use terms::{RoomName, RoomTerms};
pub use timing::{Measured, Timing, timing};

/// What counts a room's changes: it rises, whatever restarts. A hybrid logical clock (Kulkarni et al.
/// 2014): at least the time in Unix milliseconds, so that a version made after a restart is above every one
/// that was made before it, even if those never reached the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub i64);

impl Version {
    /// The first version of a room made at `now`.
    #[must_use]
    pub fn first(now: UnixMs) -> Self {
        Self(now.0)
    }

    /// The version after this one.
    #[must_use]
    pub fn next(self, now: UnixMs) -> Self {
        Self(now.0.max(self.0.saturating_add(1)))
    }
}

/// A room without its participants.
#[derive(Clone, Debug, PartialEq)]
pub struct Room {
    /// Its id.
    pub id: RoomId,
    /// The host; of an empty room, the last one.
    pub host: UserId,
    /// What its makers agreed on.
    pub terms: RoomTerms,
    /// What is chosen to play.
    pub song: Option<Song>,
    /// Where it is.
    pub playback: Playback,
    /// Rises with every accepted sync and every change of host: what clients go by.
    pub version: Version,
    /// Rises with every change at all: what orders them.
    pub revision: Version,
    /// The revision of the last change that had events: who has heard of that one has missed nothing.
    pub told: Version,
    /// When it was made.
    pub created_at: UnixMs,
    /// When it last changed.
    pub last_activity: UnixMs,
    /// Since when nobody is in it; `None` while somebody is.
    pub empty_since: Option<UnixMs>,
}

/// What keeps a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lease {
    /// A join without a connection, as by REST.
    Visit,
    /// A connection attached to the room.
    Connection(ConnectionId),
}

/// A participant's place in a room.
#[derive(Clone, Debug, PartialEq)]
pub struct Seat {
    /// Whose it is.
    pub user: UserId,
    /// Their name when they joined.
    pub username: String,
    /// When they joined; the longest there succeeds a host who goes.
    pub joined_at: UnixMs,
    /// What keeps it, and until when each is known to be alive. One that is gone says when it went.
    pub leases: BTreeMap<Lease, UnixMs>,
}

impl Seat {
    /// When the seat is lost unless something keeps it.
    #[must_use]
    pub fn expires_at(&self, grace: Duration) -> UnixMs {
        let alive_until = self.leases.values().max().copied();
        alive_until.unwrap_or(self.joined_at) + grace
    }

    /// Whether a connection was alive after `since`, `except` apart.
    fn has_connection_other_than(&self, except: Option<ConnectionId>, since: UnixMs) -> bool {
        self.leases.iter().any(|(lease, &alive_until)| match lease {
            Lease::Visit => false,
            Lease::Connection(connection) => Some(*connection) != except && alive_until > since,
        })
    }
}

/// What the rules need to know of a room to decide.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The room.
    pub room: Room,
    /// The seats that were asked about, where there are such.
    pub seats: Vec<Seat>,
    /// How many are taken.
    pub count: u32,
    /// Who has been there longest: the first two.
    pub eldest: Vec<UserId>,
}

impl View {
    /// A user's seat, if it was asked about and there is one.
    #[must_use]
    pub fn seat(&self, user: UserId) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.user == user)
    }
}

/// A change of one seat.
#[derive(Clone, Debug, PartialEq)]
pub enum SeatChange {
    /// Somebody sits down.
    Take(Seat),
    /// Somebody is gone.
    Give(UserId),
    /// A lease of a seat lives until then.
    Hold(UserId, Lease, UnixMs),
    /// A lease of a seat is over and leaves no grace.
    Release(UserId, Lease),
}

/// What a command makes of a room.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The room afterwards, with its new revision.
    pub room: Room,
    /// What happened to seats, in order.
    pub seats: Vec<SeatChange>,
    /// What others are told, in order.
    pub events: Vec<Event>,
    /// Whether it must be in the record before anybody is told: everything but the running position.
    pub durable: bool,
    /// Why the room is over, where it is.
    pub closed: Option<CloseReason>,
}

/// What is told to those who watch a room.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Somebody came.
    UserJoined {
        /// Who.
        user: UserId,
        /// Their name.
        username: String,
        /// How many are there now.
        count: u32,
    },
    /// Somebody went.
    UserLeft {
        /// Who.
        user: UserId,
        /// Their name.
        username: String,
        /// How many are left.
        count: u32,
        /// Why.
        reason: LeaveReason,
    },
    /// The host said what plays where.
    StateSynced {
        /// The connection it came by.
        by: Option<ConnectionId>,
    },
    /// Another one is host.
    HostChanged {
        /// The new one.
        host: UserId,
        /// The old one.
        previous: UserId,
        /// Why.
        reason: HostChangeReason,
    },
    /// The room is over.
    Closed(CloseReason),
}

/// Why somebody went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveReason {
    /// They left.
    Left,
    /// None of their connections was alive for the grace period.
    Disconnected,
    /// They may no longer be there.
    AccessRevoked,
}

/// Why another one is host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostChangeReason {
    /// The old one left.
    Left,
    /// The old one's connections were lost.
    Disconnected,
    /// The old one handed over.
    Transferred,
}

impl HostChangeReason {
    /// As metrics call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Disconnected => "disconnected",
            Self::Transferred => "transferred",
        }
    }
}

/// Why a room is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Its host closed it.
    ByHost,
    /// An operator closed it.
    ByOperator,
    /// Nobody was in it for the grace period.
    Empty,
}

impl CloseReason {
    /// As the record and the contract call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ByHost => "closed_by_host",
            Self::ByOperator => "closed_by_operator",
            Self::Empty => "empty",
        }
    }

    /// The reason that is called so.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::ByHost, Self::ByOperator, Self::Empty]
            .into_iter()
            .find(|reason| reason.name() == name)
    }
}

/// Why a command is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Every seat is taken.
    #[error("the room is full")]
    Full,
    /// Only the host may.
    #[error("only the host may do that")]
    NotHost,
    /// Who acts is not in the room.
    #[error("not in that room")]
    NotInRoom,
    /// Who is to be host is not in the room.
    #[error("that user is not in the room")]
    NoSuchParticipant,
}
