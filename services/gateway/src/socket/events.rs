//! What each event of a client does.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tonic::Status;
use tutti_common::{
    clock::{UnixMs, parse_rfc3339_ms},
    rpc::about,
    status::Reason,
};
use tutti_proto::{
    rooms::{
        GetStateRequest, HostChangeReason, HostChanged, JoinRoomRequest, LeaveRoomRequest,
        SyncStateRequest, TransferHostRequest, sync_state_request::Song,
    },
    unix_ms,
};

use super::{Connection, Measured, packet::ClientEvent, session::Expiry};
use crate::{
    Gateway,
    fields::{BadFields, Fields},
    identity::IdentityError,
    json as shapes, meters,
};

/// What clients may send; `ping` is answered where it arrives.
pub(crate) const CLIENT_EVENTS: [&str; 8] = [
    "join_room",
    "leave_room_socket",
    "sync_state",
    "request_sync",
    "transfer_host",
    "authenticate",
    "report",
    "ping",
];

/// An event's name, if it is one of ours: anything else would make a trace of what a stranger wrote.
pub(super) fn known_name(event: &ClientEvent) -> &'static str {
    CLIENT_EVENTS
        .into_iter()
        .find(|known| event.name.as_deref() == Some(*known))
        .unwrap_or("unknown event")
}

/// Whether an event counts against what its user may say over all connections. `report` has a budget of its own, and a
/// fresh token keeps a connection alive that says nothing else.
pub(super) fn is_of_the_users_budget(event: &ClientEvent) -> bool {
    !matches!(event.name.as_deref(), Some("report" | "authenticate"))
}

/// What a listener may say it has measured: a minute's round trip, ten seconds off, a thousand gaps.
const ROUND_TRIP_MAX_MS: f64 = 60_000.0;
const ERROR_MAX_MS: f64 = 10_000.0;
const DROPOUTS_MAX: f64 = 1_000.0;

/// Why an event is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidRequest, message)
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        let reason = Reason::of(&status);
        match reason {
            Reason::Unavailable => {
                tracing::warn!(%status, "a part is unavailable");
                Self::new(reason, "the service is unavailable; try again")
            }
            Reason::Internal => {
                tracing::error!(%status, "a part failed");
                Self::new(reason, "internal error")
            }
            Reason::AuthRequired
            | Reason::InvalidRequest
            | Reason::Forbidden
            | Reason::NotFound
            | Reason::JoinFailed
            | Reason::Conflict
            | Reason::RateLimited
            | Reason::UpdateFailed
            | Reason::NotInRoom => Self::new(reason, status.message()),
        }
    }
}

impl From<BadFields> for Fault {
    fn from(bad: BadFields) -> Self {
        let message = bad
            .violations()
            .iter()
            .map(|violation| format!("{}: {}", violation.field, violation.message))
            .collect::<Vec<_>>();
        Self::invalid(message.join("; "))
    }
}

/// What is acknowledged.
type Outcome = Result<Value, Fault>;

/// Does what a client wants. What it is told beside the acknowledgement is sent from here.
pub(super) async fn handle(
    gateway: &Gateway,
    connection: &Arc<Connection>,
    event: ClientEvent,
    expiry: &mut Expiry,
) -> Outcome {
    let Some(name) = event.name else {
        return Err(Fault::invalid("an event needs a name"));
    };
    if expiry.is_over && name != "authenticate" {
        return Err(Fault::new(
            Reason::AuthRequired,
            "the access token has run out",
        ));
    }
    if event.is_binary {
        return Err(Fault::invalid("no event takes binary data"));
    }
    let empty = Map::new();
    let payload = match &event.payload {
        Value::Object(payload) => payload,
        Value::Null => &empty,
        _ => return Err(Fault::invalid("the payload must be an object")),
    };
    let mut fields = Fields::of(payload, "");
    match name.as_str() {
        "join_room" => {
            let room_id = fields.text("room_id");
            fields.finish()?;
            join(gateway, connection, &room_id).await
        }
        "leave_room_socket" => {
            let room_id = room_of(connection, fields)?;
            leave(gateway, connection, &room_id).await
        }
        "sync_state" => sync_state(gateway, connection, payload).await,
        "request_sync" => {
            let room_id = room_of(connection, fields)?;
            request_sync(gateway, connection, room_id).await
        }
        "transfer_host" => {
            let new_host_id = fields.text("user_id");
            let room_id = room_of(connection, fields)?;
            transfer_host(gateway, connection, room_id, new_host_id).await
        }
        "authenticate" => {
            let token = fields.text("token");
            fields.finish()?;
            authenticate(gateway, connection, &token, expiry).await
        }
        "report" => report(gateway, connection, fields),
        _ => Err(Fault::invalid("there is no such event")),
    }
}

/// The room that is meant: the one this connection is in, whether it is named or not.
fn room_of(connection: &Connection, mut fields: Fields<'_>) -> Result<String, Fault> {
    let named = fields.optional_text("room_id");
    fields.finish()?;
    current_room(connection, named)
}

/// The room this connection is in, which must be the one that is named where one is.
fn current_room(connection: &Connection, named: Option<String>) -> Result<String, Fault> {
    connection
        .room_id()
        .filter(|room_id| named.is_none_or(|named| named == *room_id))
        .ok_or_else(|| Fault::new(Reason::NotInRoom, "this connection is not in that room"))
}

async fn join(gateway: &Gateway, connection: &Arc<Connection>, room_id: &str) -> Outcome {
    let before = connection.room_id().filter(|before| before != room_id);
    // Listening comes first, so that nothing that happens after the join is missed.
    gateway.fanout.enter(room_id, connection).await?;
    let request = JoinRoomRequest {
        user_id: connection.user_id.clone(),
        room_id: room_id.to_owned(),
        connection_id: Some(connection.id_text.clone()),
    };
    let room = match gateway
        .rooms()
        .join_room(about(request, |request| &request.room_id))
        .await
    {
        Ok(answer) => answer.into_inner().room.unwrap_or_default(),
        Err(status) => {
            gateway.fanout.turn_back(room_id, connection);
            return Err(status.into());
        }
    };
    let now = gateway.clock.now();
    if let Some(before) = &before {
        // Before the room service is told: however long it takes, this connection is in one room.
        let left = shapes::room_left(before, "moved", now);
        gateway.fanout.detach(before, connection, &left);
    }
    let joined = shapes::room_joined(&room, &connection.user_id, now);
    gateway.fanout.attach(connection, &room, &joined);
    meters::joined();
    if let Some(before) = before
        && let Err(status) = tell_of_leaving(gateway, connection, &before).await
    {
        // Nobody renews its lease there any more: it runs out by itself.
        tracing::debug!(%status, "cannot leave the room before");
    }
    Ok(joined)
}

/// Takes a seat again that was lost while the connection lives, as when Redis was emptied or nobody could renew its lease. Its
/// client has been in the room all the time and is told nothing, unless it may not be there any more.
pub(super) async fn rejoin(gateway: &Gateway, connection: &Arc<Connection>, room_id: &str) {
    if !connection.is_in(room_id) {
        return;
    }
    let request = JoinRoomRequest {
        user_id: connection.user_id.clone(),
        room_id: room_id.to_owned(),
        connection_id: Some(connection.id_text.clone()),
    };
    let Err(status) = gateway
        .rooms()
        .join_room(about(request, |request| &request.room_id))
        .await
    else {
        return;
    };
    tracing::debug!(%status, "cannot take a lost seat again");
    if Reason::of(&status) == Reason::JoinFailed {
        let left = shapes::room_left(room_id, "access_revoked", gateway.clock.now());
        gateway.fanout.detach(room_id, connection, &left);
    }
    // Otherwise the next renewal finds the seat missing again.
}

async fn leave(gateway: &Gateway, connection: &Arc<Connection>, room_id: &str) -> Outcome {
    let left_at = tell_of_leaving(gateway, connection, room_id).await?;
    let left = shapes::room_left(room_id, "left", left_at);
    gateway.fanout.detach(room_id, connection, &left);
    Ok(left)
}

/// Tells the room service that the connection leaves. Returns when that took effect.
async fn tell_of_leaving(
    gateway: &Gateway,
    connection: &Connection,
    room_id: &str,
) -> Result<UnixMs, Status> {
    let request = LeaveRoomRequest {
        user_id: connection.user_id.clone(),
        room_id: room_id.to_owned(),
        connection_id: Some(connection.id_text.clone()),
        session_ended: false,
    };
    let answer = gateway
        .rooms()
        .leave_room(about(request, |request| &request.room_id))
        .await?;
    let left_at = answer.into_inner().left_at.unwrap_or_default();
    Ok(UnixMs(unix_ms(&left_at)))
}

async fn sync_state(
    gateway: &Gateway,
    connection: &Connection,
    payload: &Map<String, Value>,
) -> Outcome {
    let mut fields = Fields::of(payload, "");
    let no_state = Map::new();
    let state = fields.object("playback_state").unwrap_or(&no_state);
    let named = fields.optional_text("room_id");
    fields.finish()?;
    let mut request = SyncStateRequest {
        user_id: connection.user_id.clone(),
        connection_id: Some(connection.id_text.clone()),
        song: song(payload)?,
        ..playback(state)?
    };
    request.room_id = current_room(connection, named)?;
    let answer = gateway
        .rooms()
        .sync_state(about(request, |request| &request.room_id))
        .await?
        .into_inner();
    Ok(json!({
        "version": answer.version,
        "timestamp": shapes::time(answer.accepted_at.as_ref()),
    }))
}

/// The host's word on where the song is.
fn playback(state: &Map<String, Value>) -> Result<SyncStateRequest, Fault> {
    let mut fields = Fields::of(state, "playback_state.");
    let mut request = SyncStateRequest {
        playing: fields.flag("playing"),
        position: fields.number("position"),
        current_time: fields.optional_number("current_time"),
        timestamp_ms: fields.optional_number("timestamp_ms"),
        rate: fields.optional_number("rate"),
        ..SyncStateRequest::default()
    };
    if state.get("timestamp_ms").is_none_or(Value::is_null)
        && let Some(text) = fields.optional_text("timestamp")
    {
        request.timestamp_ms = parse_rfc3339_ms(&text);
        if request.timestamp_ms.is_none() {
            fields.unreadable("timestamp", "an RFC 3339 time");
        }
    }
    fields.finish()?;
    Ok(request)
}

/// The host's word on the song: left out it stays, null clears it.
fn song(payload: &Map<String, Value>) -> Result<Option<Song>, Fault> {
    match payload.get("current_song") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(Song::ClearSong(true))),
        Some(song @ Value::Object(_)) => Ok(Some(Song::SongJson(song.to_string()))),
        Some(_) => Err(Fault::invalid("current_song: must be an object or null")),
    }
}

async fn request_sync(gateway: &Gateway, connection: &Connection, room_id: String) -> Outcome {
    let request = GetStateRequest {
        user_id: connection.user_id.clone(),
        room_id: room_id.clone(),
    };
    let answer = gateway
        .rooms()
        .get_state(about(request, |request| &request.room_id))
        .await?
        .into_inner();
    let now = gateway.clock.now().to_rfc3339().into();
    let state = shapes::state_synced(&room_id, &answer.state.unwrap_or_default(), &now);
    connection.send_event("state_synced", &state);
    Ok(state)
}

async fn transfer_host(
    gateway: &Gateway,
    connection: &Connection,
    room_id: String,
    new_host_id: String,
) -> Outcome {
    let request = TransferHostRequest {
        user_id: connection.user_id.clone(),
        room_id: room_id.clone(),
        new_host_id: new_host_id.clone(),
    };
    let answer = gateway
        .rooms()
        .transfer_host(about(request, |request| &request.room_id))
        .await?
        .into_inner();
    let changed = HostChanged {
        host_id: new_host_id,
        previous_host_id: connection.user_id.clone(),
        reason: HostChangeReason::Transferred.into(),
    };
    let at = shapes::time(answer.accepted_at.as_ref());
    Ok(shapes::host_changed(
        &room_id,
        &changed,
        answer.version,
        &at,
    ))
}

/// A listener says what it has measured of the way here and of its own playing.
fn report(gateway: &Gateway, connection: &Connection, mut fields: Fields<'_>) -> Outcome {
    let round_trip_ms = fields.number("round_trip_ms");
    let error_ms = fields.optional_number("error_ms");
    let dropouts = fields.optional_number("dropouts");
    let player = fields.optional_text("player");
    for (name, value, most) in [
        ("round_trip_ms", Some(round_trip_ms), ROUND_TRIP_MAX_MS),
        ("error_ms", error_ms, ERROR_MAX_MS),
        ("dropouts", dropouts, DROPOUTS_MAX),
    ] {
        if value.is_some_and(|value| !(0.0..=most).contains(&value)) {
            fields.unreadable(name, &format!("between 0 and {most}"));
        }
    }
    let room_id = room_of(connection, fields)?;
    meters::measured(player.as_deref(), round_trip_ms, error_ms, dropouts);
    connection.set_measured(Measured {
        room_id,
        at: gateway.clock.now(),
        round_trip_ms,
        error_ms,
    });
    Ok(json!({}))
}

async fn authenticate(
    gateway: &Gateway,
    connection: &Connection,
    token: &str,
    expiry: &mut Expiry,
) -> Outcome {
    let refused = || {
        Fault::new(
            Reason::AuthRequired,
            "a valid access token of the same user is required",
        )
    };
    let claims = match gateway.identity.verify(token).await {
        Ok(claims) if claims.sub == connection.user => claims,
        Ok(_) | Err(IdentityError::Refused) => return Err(refused()),
        Err(error @ IdentityError::Unavailable) => {
            return Err(Fault::new(Reason::Unavailable, error.to_string()));
        }
    };
    connection.set_session(claims.sid);
    // It may have ended just before the connection could be found in it.
    if gateway.identity.has_ended(claims.sid) {
        connection.close();
        return Err(refused());
    }
    *expiry = Expiry::of(&claims, gateway.clock.now());
    let payload = json!({ "user_id": connection.user_id, "expires_at": claims.exp.to_rfc3339() });
    connection.send_event("authenticated", &payload);
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{CLIENT_EVENTS, playback, song};
    use crate::fanout::SERVER_EVENTS;

    #[test]
    fn the_client_library_knows_the_same_events() {
        let table = include_str!("../../../../static/core/events.js");
        for event in CLIENT_EVENTS.iter().chain(&SERVER_EVENTS) {
            assert!(
                table.contains(&format!("'{event}'")) || table.contains(&format!("\"{event}\"")),
                "{event} is missing from static/core/events.js"
            );
        }
    }

    fn state(value: Value) -> Result<Option<f64>, String> {
        let Value::Object(state) = value else {
            panic!("an object")
        };
        playback(&state)
            .map(|request| request.timestamp_ms)
            .map_err(|fault| fault.message)
    }

    #[test]
    fn timestamp_ms_wins_over_timestamp_and_neither_may_be_unreadable() {
        let time = "2024-01-01T00:00:00.000Z";
        assert_eq!(state(json!({"playing": true, "position": 1})), Ok(None));
        assert_eq!(
            state(json!({"playing": true, "position": 1, "timestamp": time})),
            Ok(Some(1_704_067_200_000.0))
        );
        assert_eq!(
            state(json!({"playing": true, "position": 1, "timestamp": time, "timestamp_ms": 5.5})),
            Ok(Some(5.5))
        );
        for bad in [json!("yesterday"), json!(5), json!({})] {
            assert!(state(json!({"playing": true, "position": 1, "timestamp": bad})).is_err());
        }
        assert!(state(json!({"playing": true, "position": 1, "timestamp_ms": "5"})).is_err());
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_named() {
        let message = state(json!({"playing": 1, "position": "2"})).unwrap_err();
        assert!(message.contains("playback_state.playing"), "{message}");
        assert!(message.contains("playback_state.position"), "{message}");
        assert!(state(json!({"playing": true})).is_err());
    }

    #[test]
    fn a_song_stays_goes_or_changes() {
        let with = |value: Value| song(value.as_object().unwrap()).map(|song| song.is_some());
        assert_eq!(with(json!({})), Ok(false));
        assert_eq!(with(json!({"current_song": null})), Ok(true));
        assert_eq!(with(json!({"current_song": {"title": "x"}})), Ok(true));
        assert!(with(json!({"current_song": "x"})).is_err());
    }
}
