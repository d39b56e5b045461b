//! Rooms as protobuf.

use tutti_common::{
    clock::UnixMs,
    ids::{RoomId, UserId},
    spread::Spread,
};
use tutti_proto::{
    rooms::{self as pb, room_event::Event as PbEvent},
    timestamp,
};

use crate::{
    domain::{
        CloseReason, Event, HostChangeReason, LeaveReason, Measured, Playback, Room, Timing,
        Version,
    },
    live::Snapshot,
    members::MemberPage,
};

/// A version as it travels; none is negative.
pub(crate) fn version(version: Version) -> u64 {
    u64::try_from(version.0).unwrap_or(0)
}

fn member(user: UserId, username: &str) -> pb::Member {
    pb::Member {
        user_id: user.to_string(),
        username: username.to_owned(),
    }
}

fn playback(playback: &Playback) -> pb::Playback {
    pb::Playback {
        playing: playback.playing,
        position: playback.position,
        current_time: playback.current_time,
        timestamp_ms: playback.timestamp_ms,
        rate: playback.rate,
    }
}

/// What plays where.
pub(crate) fn state(room: &Room) -> pb::State {
    pb::State {
        playback: Some(playback(&room.playback)),
        current_song_json: room.song.as_ref().map(|song| song.as_json().to_owned()),
        version: version(room.version),
    }
}

/// A room with its members.
pub(crate) fn room(snapshot: &Snapshot) -> pb::Room {
    let room = &snapshot.room;
    pb::Room {
        room_id: room.id.to_string(),
        host_id: room.host.to_string(),
        name: room
            .terms
            .name
            .as_ref()
            .map(|name| name.as_str().to_owned()),
        is_friends_only: room.terms.is_friends_only,
        max_participants: room.terms.max_participants,
        current_song_json: room.song.as_ref().map(|song| song.as_json().to_owned()),
        playback: Some(playback(&room.playback)),
        members: snapshot
            .members
            .iter()
            .map(|(user, username)| member(*user, username))
            .collect(),
        member_count: snapshot.count,
        version: version(room.version),
        created_at: Some(timestamp(room.created_at.0)),
        last_activity: Some(timestamp(room.last_activity.0)),
        revision: version(room.revision),
    }
}

/// Some members of a room.
pub(crate) fn member_page(page: &MemberPage) -> pb::ListMembersResponse {
    let members = page.members.iter();
    pb::ListMembersResponse {
        members: members
            .map(|found| member(found.user, &found.username))
            .collect(),
        member_count: page.count,
        next_cursor: page.next.map(|place| place.to_string()),
    }
}

/// An event of a room, or its snapshot, as it travels.
fn room_event(room: &Room, event: PbEvent, now: UnixMs) -> pb::RoomEvent {
    pb::RoomEvent {
        room_id: room.id.to_string(),
        version: version(room.version),
        revision: version(room.revision),
        previous_revision: 0,
        events_before: 0,
        is_last: true,
        at: Some(timestamp(now.0)),
        traceparent: None,
        event: Some(event),
    }
}

/// A room as those who watch it begin with.
pub(crate) fn snapshot_event(snapshot: &Snapshot, now: UnixMs) -> pb::RoomEvent {
    room_event(&snapshot.room, PbEvent::Snapshot(room(snapshot)), now)
}

/// What a room's listeners have in common, as it travels: no change of the room, so without revision and version.
pub(crate) fn timing_event(room: RoomId, timing: &Timing, now: UnixMs) -> pb::RoomEvent {
    pb::RoomEvent {
        room_id: room.to_string(),
        at: Some(timestamp(now.0)),
        is_last: true,
        event: Some(PbEvent::RoomTiming(pb::RoomTiming {
            lead_ms: timing.lead_ms,
            round_trip_ms: timing.round_trip_ms,
            error_ms: timing.error_ms,
            listeners: timing.listeners,
        })),
        ..pb::RoomEvent::default()
    }
}

/// What listeners have measured, as it travels.
pub(crate) fn encode_measured(measured: &Measured) -> pb::Measurements {
    pb::Measurements {
        room_id: String::new(),
        round_trips: measured.round_trips.buckets().collect(),
        errors: measured.errors.buckets().collect(),
    }
}

/// What listeners have measured.
pub(crate) fn decode_measured(measurements: pb::Measurements) -> Measured {
    Measured {
        round_trips: Spread::from_buckets(measurements.round_trips),
        errors: Spread::from_buckets(measurements.errors),
    }
}

/// What happened in one change, as it travels. `told` is the change before it that had events.
pub(crate) fn encode_events(
    room: &Room,
    told: Version,
    events: &[Event],
    now: UnixMs,
) -> Vec<pb::RoomEvent> {
    (0_u32..)
        .zip(events)
        .map(|(events_before, event)| pb::RoomEvent {
            previous_revision: version(told),
            events_before,
            is_last: events_before as usize + 1 == events.len(),
            ..room_event(room, encode_event(room, event), now)
        })
        .collect()
}

fn encode_event(room: &Room, event: &Event) -> PbEvent {
    match event {
        Event::UserJoined {
            user,
            username,
            count,
        } => PbEvent::UserJoined(pb::UserJoined {
            member: Some(member(*user, username)),
            member_count: *count,
        }),
        Event::UserLeft {
            user,
            username,
            count,
            reason,
        } => PbEvent::UserLeft(pb::UserLeft {
            member: Some(member(*user, username)),
            member_count: *count,
            reason: match reason {
                LeaveReason::Left => pb::LeaveReason::Left,
                LeaveReason::Disconnected => pb::LeaveReason::Disconnected,
                LeaveReason::AccessRevoked => pb::LeaveReason::AccessRevoked,
            }
            .into(),
        }),
        Event::StateSynced { by } => PbEvent::StateSynced(pb::StateSynced {
            state: Some(state(room)),
            connection_id: by.map(|connection| connection.to_string()),
        }),
        Event::HostChanged {
            host,
            previous,
            reason,
        } => PbEvent::HostChanged(pb::HostChanged {
            host_id: host.to_string(),
            previous_host_id: previous.to_string(),
            reason: match reason {
                HostChangeReason::Left => pb::HostChangeReason::Left,
                HostChangeReason::Disconnected => pb::HostChangeReason::Disconnected,
                HostChangeReason::Transferred => pb::HostChangeReason::Transferred,
            }
            .into(),
        }),
        Event::Closed(reason) => PbEvent::RoomClosed(pb::RoomClosed {
            reason: match reason {
                CloseReason::ByHost => pb::RoomCloseReason::ClosedByHost,
                CloseReason::ByOperator => pb::RoomCloseReason::ClosedByOperator,
                CloseReason::Empty => pb::RoomCloseReason::Empty,
            }
            .into(),
        }),
    }
}
