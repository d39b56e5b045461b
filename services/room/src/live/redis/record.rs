//! Rooms and seats as Redis keeps them.

use std::collections::BTreeMap;

use prost::Message;
use tutti_common::{
    clock::UnixMs,
    ids::{RoomId, UserId},
};

use crate::{
    domain::{Lease, Playback, Room, RoomName, RoomTerms, Seat, Song, Version},
    live::LiveError,
};

/// What stands for [`Lease::Visit`]; a connection's lease is its id.
const VISIT: &str = "visit";

/// A room. Binary, so that every position comes back to the last bit.
#[derive(Clone, PartialEq, Message)]
struct RoomRecord {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(bool, tag = "3")]
    is_friends_only: bool,
    #[prost(uint32, tag = "4")]
    max_participants: u32,
    #[prost(string, optional, tag = "5")]
    song: Option<String>,
    #[prost(bool, tag = "6")]
    playing: bool,
    #[prost(double, tag = "7")]
    position: f64,
    #[prost(double, tag = "8")]
    current_time: f64,
    #[prost(double, tag = "9")]
    timestamp_ms: f64,
    #[prost(double, tag = "10")]
    rate: f64,
    #[prost(int64, tag = "11")]
    version: i64,
    #[prost(int64, tag = "12")]
    revision: i64,
    #[prost(int64, tag = "13")]
    created_at: i64,
    #[prost(int64, tag = "14")]
    last_activity: i64,
    #[prost(int64, optional, tag = "15")]
    empty_since: Option<i64>,
    #[prost(int64, tag = "16")]
    told: i64,
}

/// A seat without its leases, which change more often.
#[derive(Clone, PartialEq, Message)]
struct SeatRecord {
    #[prost(string, tag = "1")]
    username: String,
    #[prost(int64, tag = "2")]
    joined_at: i64,
}

/// What stands there was not written by this program.
pub(super) fn unreadable(error: impl std::fmt::Display) -> LiveError {
    LiveError::Unreadable(error.to_string())
}

pub(super) fn encode_room(room: &Room) -> Vec<u8> {
    RoomRecord {
        host: room.host.to_string(),
        name: room
            .terms
            .name
            .as_ref()
            .map(|name| name.as_str().to_owned()),
        is_friends_only: room.terms.is_friends_only,
        max_participants: room.terms.max_participants,
        song: room.song.as_ref().map(|song| song.as_json().to_owned()),
        playing: room.playback.playing,
        position: room.playback.position,
        current_time: room.playback.current_time,
        timestamp_ms: room.playback.timestamp_ms,
        rate: room.playback.rate,
        version: room.version.0,
        revision: room.revision.0,
        created_at: room.created_at.0,
        last_activity: room.last_activity.0,
        empty_since: room.empty_since.map(|since| since.0),
        told: room.told.0,
    }
    .encode_to_vec()
}

pub(super) fn decode_room(id: RoomId, bytes: &[u8]) -> Result<Room, LiveError> {
    let record = RoomRecord::decode(bytes).map_err(unreadable)?;
    Ok(Room {
        id,
        host: record.host.parse().map_err(unreadable)?,
        terms: RoomTerms {
            name: record.name.as_deref().and_then(RoomName::from_record),
            is_friends_only: record.is_friends_only,
            max_participants: record.max_participants,
        },
        song: record.song.map(Song::from_record),
        playback: Playback {
            playing: record.playing,
            position: record.position,
            current_time: record.current_time,
            timestamp_ms: record.timestamp_ms,
            rate: record.rate,
        },
        version: Version(record.version),
        revision: Version(record.revision),
        told: Version(record.told),
        created_at: UnixMs(record.created_at),
        last_activity: UnixMs(record.last_activity),
        empty_since: record.empty_since.map(UnixMs),
    })
}

pub(super) fn encode_seat(seat: &Seat) -> Vec<u8> {
    SeatRecord {
        username: seat.username.clone(),
        joined_at: seat.joined_at.0,
    }
    .encode_to_vec()
}

pub(super) fn decode_seat(user: UserId, bytes: &[u8], leases: &str) -> Result<Seat, LiveError> {
    let record = SeatRecord::decode(bytes).map_err(unreadable)?;
    Ok(Seat {
        user,
        username: record.username,
        joined_at: UnixMs(record.joined_at),
        leases: decode_leases(leases)?,
    })
}

pub(super) fn encode_lease(lease: &Lease) -> String {
    match lease {
        Lease::Visit => VISIT.to_owned(),
        Lease::Connection(connection) => connection.to_string(),
    }
}

/// One text, in which a script can find and change a lease: `visit=1704067200000 conn_…=1704067210000`.
pub(super) fn encode_leases(leases: &BTreeMap<Lease, UnixMs>) -> String {
    leases
        .iter()
        .map(|(lease, alive_until)| format!("{}={}", encode_lease(lease), alive_until.0))
        .collect::<Vec<_>>()
        .join(" ")
}

pub(super) fn decode_leases(text: &str) -> Result<BTreeMap<Lease, UnixMs>, LiveError> {
    text.split_ascii_whitespace()
        .map(|each| {
            let (lease, alive_until) = each
                .split_once('=')
                .ok_or_else(|| unreadable("a lease without an end"))?;
            let lease = match lease {
                VISIT => Lease::Visit,
                connection => Lease::Connection(connection.parse().map_err(unreadable)?),
            };
            Ok((lease, UnixMs(alive_until.parse().map_err(unreadable)?)))
        })
        .collect()
}
