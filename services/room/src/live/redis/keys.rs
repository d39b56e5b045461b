//! What things are called in Redis.

use tutti_common::{
    ids::{RoomId, UserId},
    redis::room_channel,
};

use super::record::unreadable;
use crate::live::{Due, LiveError};

/// What keys are called.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// The braces say what decides on the slot.
    fn of_room(&self, room: RoomId, what: &str) -> String {
        format!("{}:{{{room}}}:{what}", self.prefix)
    }

    /// The room itself: a hash of its `revision`, its `record`, whether that is `recorded` in SQL, how many `places` were
    /// ever taken, and the revision of the last change that had events, `told`.
    pub(super) fn room(&self, room: RoomId) -> String {
        self.of_room(room, "room")
    }

    /// A hash of seats by user.
    pub(super) fn seats(&self, room: RoomId) -> String {
        self.of_room(room, "seats")
    }

    /// Users in order of sitting down.
    pub(super) fn order(&self, room: RoomId) -> String {
        self.of_room(room, "order")
    }

    /// A hash of what keeps seats, by user.
    pub(super) fn leases(&self, room: RoomId) -> String {
        self.of_room(room, "leases")
    }

    pub(super) fn all_of_room(&self, room: RoomId) -> [String; 4] {
        [
            self.room(room),
            self.seats(room),
            self.order(room),
            self.leases(room),
        ]
    }

    /// A hash of what listeners measure, by gateway.
    pub(super) fn measured(&self, room: RoomId) -> String {
        self.of_room(room, "measured")
    }

    /// Which process may change the room's record.
    pub(super) fn turn(&self, room: RoomId) -> String {
        self.of_room(room, "turn")
    }

    /// Where events are published.
    pub(super) fn channel(&self, room: RoomId) -> String {
        room_channel(&self.prefix, room)
    }

    /// What to look at again, by when.
    pub(super) fn agenda(&self) -> String {
        format!("{}:agenda", self.prefix)
    }

    /// Whether all rooms were brought back from SQL. Lost with everything else.
    pub(super) fn filled(&self) -> String {
        format!("{}:filled", self.prefix)
    }

    /// Rooms whose running position is not in SQL yet, by when to write it.
    pub(super) fn positions(&self) -> String {
        format!("{}:positions", self.prefix)
    }

    /// A user's rooms, by when they joined.
    pub(super) fn rooms_of(&self, user: UserId) -> String {
        format!("{}:{{{user}}}:rooms", self.prefix)
    }

    /// A user's connections, by until when they are alive.
    pub(super) fn online(&self, user: UserId) -> String {
        format!("{}:{{{user}}}:online", self.prefix)
    }
}

/// What is due, as a member of the agenda.
pub(super) fn encode_due(due: Due) -> String {
    match due {
        Due::Room(room) => room.to_string(),
        Due::Seat(room, user) => format!("{room}/{user}"),
    }
}

pub(super) fn decode_due(text: &str) -> Result<Due, LiveError> {
    Ok(match text.split_once('/') {
        None => Due::Room(text.parse().map_err(unreadable)?),
        Some((room, user)) => Due::Seat(
            room.parse().map_err(unreadable)?,
            user.parse().map_err(unreadable)?,
        ),
    })
}
