//! What things are called in Redis that more than one part of Tutti knows.

use crate::ids::RoomId;

/// What all keys and channels begin with.
pub const PREFIX: &str = "tutti";

/// Where a room's events are published. The braces say what decides on the slot: it is that of the room's keys.
#[must_use]
pub fn room_channel(prefix: &str, room: RoomId) -> String {
    format!("{prefix}:{{{room}}}:events")
}
