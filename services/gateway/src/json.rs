//! The contract's JSON shapes, made of protobuf. One place, for REST and Socket.IO alike.

use serde_json::{Value, json};
use tutti_common::clock::UnixMs;
use tutti_proto::{auth, friends, rooms, unix_ms};

/// A protobuf timestamp as RFC 3339, or null.
pub(crate) fn time(timestamp: Option<&prost_types::Timestamp>) -> Value {
    timestamp.map_or(Value::Null, |timestamp| {
        Value::String(UnixMs(unix_ms(timestamp)).to_rfc3339())
    })
}

/// JSON text that travelled as text, or null.
fn embedded(json: Option<&str>) -> Value {
    json.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or(Value::Null)
}

/// A user as others see them.
pub(crate) fn user(user: &auth::User) -> Value {
    json!({ "user_id": user.user_id, "username": user.username, "name": user.name })
}

/// A user as they see themselves.
pub(crate) fn account(account: &auth::Account) -> Value {
    let user = account.user.clone().unwrap_or_default();
    json!({
        "user_id": user.user_id,
        "email": account.email,
        "username": user.username,
        "name": user.name,
        "profile": embedded(Some(&account.profile_json)),
        "created_at": time(account.created_at.as_ref()),
        "last_login": time(account.last_login.as_ref()),
    })
}

/// What register, log-in and refresh answer.
pub(crate) fn session(session: &auth::Session) -> Value {
    json!({
        "user": session.account.as_ref().map(account),
        "access_token": session.access_token,
        "refresh_token": session.refresh_token,
        "token_type": "Bearer",
        "expires_in": session.expires_in_s,
        "generation": session.generation,
    })
}

/// A friend request.
pub(crate) fn friend_request(request: &friends::FriendRequest) -> Value {
    let status = match request.status() {
        friends::FriendRequestStatus::Pending | friends::FriendRequestStatus::Unspecified => {
            "pending"
        }
        friends::FriendRequestStatus::Accepted => "accepted",
        friends::FriendRequestStatus::Rejected => "rejected",
    };
    json!({
        "request_id": request.request_id,
        "sender": request.sender.as_ref().map(user),
        "receiver": request.receiver.as_ref().map(user),
        "status": status,
        "created_at": time(request.created_at.as_ref()),
        "responded_at": time(request.responded_at.as_ref()),
    })
}

/// Somebody found by searching.
pub(crate) fn found_user(found: &friends::FoundUser) -> Value {
    let relationship = match found.relationship() {
        friends::Relationship::None | friends::Relationship::Unspecified => "none",
        friends::Relationship::Friend => "friend",
        friends::Relationship::RequestSent => "request_sent",
        friends::Relationship::RequestReceived => "request_received",
    };
    let mut json = found.user.as_ref().map_or(Value::Null, user);
    json["relationship"] = relationship.into();
    json
}

/// A friend, with where they are.
pub(crate) fn friend(friend: &friends::Friend, presence: Option<&rooms::Presence>) -> Value {
    let mut json = friend.user.as_ref().map_or(Value::Null, user);
    json["since"] = time(friend.since.as_ref());
    json["online"] = presence.is_some_and(|presence| presence.online).into();
    json["room_id"] = presence
        .and_then(|presence| presence.room_id.clone())
        .into();
    json
}

/// Where a song is.
pub(crate) fn playback(playback: &rooms::Playback) -> Value {
    json!({
        "playing": playback.playing,
        "position": playback.position,
        "current_time": playback.current_time,
        "timestamp": moment(playback.timestamp_ms),
        "timestamp_ms": playback.timestamp_ms,
        "rate": playback.rate,
    })
}

/// Unix milliseconds with fractions as RFC 3339.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a float beyond the range becomes its end, and neither reaches a client: timestamps are within 5 s of now"
)]
fn moment(unix_ms: f64) -> String {
    UnixMs(unix_ms.floor() as i64).to_rfc3339()
}

fn members(members: &[rooms::Member]) -> Value {
    let member =
        |member: &rooms::Member| json!({ "user_id": member.user_id, "username": member.username });
    members.iter().map(member).collect()
}

/// Some members of a room.
pub(crate) fn member_page(page: &rooms::ListMembersResponse) -> Value {
    json!({
        "members": members(&page.members),
        "participant_count": page.member_count,
        "next_cursor": page.next_cursor,
    })
}

/// What a room is, in REST and in `room_joined` alike.
fn room_members(room: &rooms::Room) -> Value {
    json!({
        "host_id": room.host_id,
        "name": room.name,
        "is_friends_only": room.is_friends_only,
        "current_song": embedded(room.current_song_json.as_deref()),
        "playback_state": room.playback.as_ref().map(playback),
        "participants": room.members.iter().map(|member| &member.user_id).collect::<Vec<_>>(),
        "members": members(&room.members),
        "participant_count": room.member_count,
        "version": room.version,
    })
}

/// A room in REST.
pub(crate) fn room(room: &rooms::Room) -> Value {
    let mut json = room_members(room);
    json["room_id"] = room.room_id.clone().into();
    json["max_participants"] = room.max_participants.into();
    json["created_at"] = time(room.created_at.as_ref());
    json["last_activity"] = time(room.last_activity.as_ref());
    json
}

/// `room_joined`, for one user.
pub(crate) fn room_joined(room: &rooms::Room, user_id: &str, now: UnixMs) -> Value {
    json!({
        "room_id": room.room_id,
        "room_state": room_members(room),
        "is_host": room.host_id == user_id,
        "timestamp": now.to_rfc3339(),
    })
}

/// `room_left`.
pub(crate) fn room_left(room_id: &str, reason: &str, now: UnixMs) -> Value {
    json!({ "room_id": room_id, "reason": reason, "timestamp": now.to_rfc3339() })
}

/// `state_synced`, said at `at`.
pub(crate) fn state_synced(room_id: &str, state: &rooms::State, at: &Value) -> Value {
    json!({
        "room_id": room_id,
        "playback_state": state.playback.as_ref().map(playback),
        "current_song": embedded(state.current_song_json.as_deref()),
        "version": state.version,
        "timestamp": at,
    })
}

/// `user_joined` and `user_left`.
pub(crate) fn user_came_or_went(
    room_id: &str,
    member: &rooms::Member,
    count: u32,
    at: &Value,
) -> Value {
    json!({
        "room_id": room_id,
        "user_id": member.user_id,
        "username": member.username,
        "participant_count": count,
        "timestamp": at,
    })
}

/// `host_changed`, which made the room's version `version`.
pub(crate) fn host_changed(
    room_id: &str,
    changed: &rooms::HostChanged,
    version: u64,
    at: &Value,
) -> Value {
    let reason = match changed.reason() {
        rooms::HostChangeReason::Left | rooms::HostChangeReason::Unspecified => "left",
        rooms::HostChangeReason::Disconnected => "disconnected",
        rooms::HostChangeReason::Transferred => "transferred",
    };
    json!({
        "room_id": room_id,
        "host_id": changed.host_id,
        "previous_host_id": changed.previous_host_id,
        "reason": reason,
        "version": version,
        "timestamp": at,
    })
}

/// What a room's listeners measure.
pub(crate) fn room_timing(room_id: &str, timing: &rooms::RoomTiming, at: &Value) -> Value {
    json!({
        "room_id": room_id,
        "lead_ms": timing.lead_ms,
        "round_trip_ms": timing.round_trip_ms,
        "error_ms": timing.error_ms,
        "listeners": timing.listeners,
        "timestamp": at,
    })
}

/// `room_closed`.
pub(crate) fn room_closed(room_id: &str, reason: rooms::RoomCloseReason, at: &Value) -> Value {
    let reason = match reason {
        rooms::RoomCloseReason::ClosedByHost => "closed_by_host",
        rooms::RoomCloseReason::ClosedByOperator => "closed_by_operator",
        rooms::RoomCloseReason::Empty | rooms::RoomCloseReason::Unspecified => "empty",
    };
    json!({ "room_id": room_id, "reason": reason, "timestamp": at })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tutti_proto::rooms;

    use super::state_synced;

    #[test]
    fn a_state_has_its_time_both_ways_and_the_song_as_it_came() {
        let state = rooms::State {
            playback: Some(rooms::Playback {
                playing: true,
                position: 45.5,
                current_time: 45.5,
                timestamp_ms: 1_704_067_200_123.25,
                rate: 1.0,
            }),
            current_song_json: Some(r#"{"title":"x","z":[1]}"#.to_owned()),
            version: 7,
        };
        assert_eq!(
            state_synced("room_x", &state, &"now".into()),
            json!({
                "room_id": "room_x",
                "playback_state": {
                    "playing": true, "position": 45.5, "current_time": 45.5,
                    "timestamp": "2024-01-01T00:00:00.123Z", "timestamp_ms": 1_704_067_200_123.25, "rate": 1.0,
                },
                "current_song": { "title": "x", "z": [1] },
                "version": 7,
                "timestamp": "now",
            })
        );
    }
}
