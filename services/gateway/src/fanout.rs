//! Rooms that somebody is attached to here: their events come in once and go out to every connection.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use engineioxide::Str;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tutti_common::{clock::SharedClock, ids::ConnectionId, rpc::Transport, shutdown::Shutdown};
use tutti_proto::{
    rooms::{
        self as pb, HostChangeReason, LeaveReason, Room, RoomEvent, State, WatchRoomRequest,
        room_event::Event, room_service_client::RoomServiceClient,
    },
    unix_ms,
};

use crate::{json, socket::Connection, socket::packet::event_to_client};

/// What clients are sent.
#[cfg(test)]
pub(crate) const SERVER_EVENTS: [&str; 11] = [
    "connected",
    "authenticated",
    "room_joined",
    "room_left",
    "user_joined",
    "user_left",
    "state_synced",
    "host_changed",
    "room_closed",
    "pong",
    "error",
];

/// How long to wait before a broken stream is opened again.
const AGAIN: Duration = Duration::from_millis(250);

/// Events kept for a connection whose join is under way. A join takes 2 s at most: more than this is a
/// flood, and the connection is closed rather than left with a gap.
const PENDING_MAX: usize = 1_024;

/// All rooms with a connection here.
pub(crate) struct Fanout {
    rooms: LocalRooms,
    client: RoomServiceClient<Transport>,
    clock: SharedClock,
    shutdown: Shutdown,
}

#[derive(Clone, Default)]
struct LocalRooms(Arc<Mutex<HashMap<String, Arc<LocalRoom>>>>);

impl LocalRooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<LocalRoom>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, room_id: &str) -> Option<Arc<LocalRoom>> {
        self.lock().get(room_id).cloned()
    }

    /// Stops listening to a room that nobody here is in.
    fn forget_if_empty(&self, room: &Arc<LocalRoom>) {
        let mut rooms = self.lock();
        let is_known = rooms
            .get(&room.id)
            .is_some_and(|known| Arc::ptr_eq(known, room));
        if is_known && room.audience().members.is_empty() {
            room.stop.cancel();
            rooms.remove(&room.id);
        }
    }
}

struct LocalRoom {
    id: String,
    audience: Mutex<Audience>,
    link: watch::Sender<Link>,
    stop: CancellationToken,
}

/// Whether the room's events come in.
#[derive(Clone, Debug)]
enum Link {
    Opening,
    Open,
    /// The room is not there. Whoever tries to join hears it in the contract's words.
    Absent,
    Failed(Status),
}

#[derive(Default)]
struct Audience {
    members: HashMap<ConnectionId, Member>,
    /// As of the last event, to notice what a gap hid.
    host_id: Option<String>,
}

struct Member {
    connection: Arc<Connection>,
    hears: Hears,
    /// It is about to leave, and this is why.
    leaving: Option<&'static str>,
}

enum Hears {
    /// Its join is under way; what comes meanwhile is kept.
    Later(Vec<Arc<RoomEvent>>),
    /// What is newer than the revision it has.
    After(u64),
}

impl LocalRoom {
    fn audience(&self) -> MutexGuard<'_, Audience> {
        self.audience.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fanout {
    pub(crate) fn new(room: Transport, clock: SharedClock, shutdown: Shutdown) -> Self {
        Self {
            rooms: LocalRooms::default(),
            client: RoomServiceClient::new(room),
            clock,
            shutdown,
        }
    }

    /// Begins to keep a room's events for a connection that is about to join, and waits until they come in.
    /// A connection that is in the room already goes on hearing them.
    pub(crate) async fn enter(
        &self,
        room_id: &str,
        connection: &Arc<Connection>,
    ) -> Result<(), Status> {
        let (room, is_new) = {
            let mut rooms = self.rooms.lock();
            let is_new = !rooms.contains_key(room_id);
            let room = rooms.entry(room_id.to_owned()).or_insert_with(|| {
                Arc::new(LocalRoom {
                    id: room_id.to_owned(),
                    audience: Mutex::default(),
                    link: watch::channel(Link::Opening).0,
                    stop: CancellationToken::new(),
                })
            });
            let room = room.clone();
            room.audience()
                .members
                .entry(connection.id)
                .or_insert_with(|| Member {
                    connection: connection.clone(),
                    hears: Hears::Later(Vec::new()),
                    leaving: None,
                });
            (room, is_new)
        };
        let mut link = room.link.subscribe();
        if is_new {
            let feed = feed(
                self.rooms.clone(),
                room.clone(),
                self.client.clone(),
                self.clock.clone(),
            );
            let stop = room.stop.clone();
            let ending = self.shutdown.clone();
            self.shutdown.spawn(async move {
                tokio::select! {
                    () = feed => {}
                    () = stop.cancelled() => {}
                    () = ending.ending() => {}
                }
            });
        }
        let opened = link.wait_for(|link| !matches!(link, Link::Opening)).await;
        let opened = opened.map(|link| link.clone());
        match opened {
            Ok(Link::Opening | Link::Open | Link::Absent) => Ok(()),
            Ok(Link::Failed(status)) => {
                self.turn_back(room_id, connection);
                Err(status)
            }
            Err(_) => {
                self.turn_back(room_id, connection);
                Err(Status::unavailable("the gateway is ending"))
            }
        }
    }

    /// The connection did not get in, or is out without a word.
    pub(crate) fn turn_back(&self, room_id: &str, connection: &Connection) {
        let Some(room) = self.rooms.get(room_id) else {
            return;
        };
        {
            let mut audience = room.audience();
            let was_in = audience
                .members
                .get(&connection.id)
                .is_some_and(|member| matches!(member.hears, Hears::After(_)));
            // One that was in already stays in: only its second join failed.
            if was_in && connection.room_id().as_deref() == Some(room_id) {
                return;
            }
            audience.members.remove(&connection.id);
        }
        self.rooms.forget_if_empty(&room);
    }

    /// The connection is in: it is told so, and hears what happens after what it was told.
    pub(crate) fn attach(&self, connection: &Arc<Connection>, joined: &Room, message: &Value) {
        connection.set_room_id(Some(joined.room_id.clone()));
        let Some(room) = self.rooms.get(&joined.room_id) else {
            return;
        };
        let mut audience = room.audience();
        connection.send(event_to_client("room_joined", message));
        let member = Member {
            connection: connection.clone(),
            hears: Hears::After(joined.revision),
            leaving: None,
        };
        if let Some(before) = audience.members.insert(connection.id, member)
            && let Hears::Later(kept) = before.hears
        {
            let mut gone = Vec::new();
            for event in kept {
                let mut message = None;
                if let Some(member) = audience.members.get_mut(&connection.id) {
                    tell(member, &event, &mut message, &mut gone);
                }
            }
            audience.members.retain(|id, _| !gone.contains(id));
        }
    }

    /// The connection is about to leave and this is why, or it is not after all.
    pub(crate) fn is_leaving(
        &self,
        room_id: &str,
        connection: &Connection,
        reason: Option<&'static str>,
    ) {
        let Some(room) = self.rooms.get(room_id) else {
            return;
        };
        if let Some(member) = room.audience().members.get_mut(&connection.id) {
            member.leaving = reason;
        }
    }

    /// The connection has left: it is told so, unless an event was faster.
    pub(crate) fn detach(&self, room_id: &str, connection: &Connection, message: &Value) {
        let Some(room) = self.rooms.get(room_id) else {
            return;
        };
        // Events are handed out under the same lock: one of the two comes first, and tells it.
        let mut audience = room.audience();
        if audience.members.remove(&connection.id).is_some() {
            connection.set_room_id(None);
            connection.send(event_to_client("room_left", message));
        }
        drop(audience);
        self.rooms.forget_if_empty(&room);
    }

    /// The connection is over.
    pub(crate) fn exit(&self, connection: &Connection) {
        if let Some(room) = connection
            .room_id()
            .and_then(|room_id| self.rooms.get(&room_id))
        {
            room.audience().members.remove(&connection.id);
            self.rooms.forget_if_empty(&room);
        }
    }

    /// The room service does not know this connection's seat any more: it joins again.
    pub(crate) fn lost_seat(&self, connection: &Arc<Connection>) {
        let Some(room_id) = connection.room_id() else {
            return;
        };
        if let Some(room) = self.rooms.get(&room_id) {
            room.audience().members.remove(&connection.id);
            self.rooms.forget_if_empty(&room);
        }
        connection.set_room_id(None);
        connection.rejoin(room_id);
    }
}

/// Takes a room's events in for as long as somebody is there.
async fn feed(
    rooms: LocalRooms,
    room: Arc<LocalRoom>,
    mut client: RoomServiceClient<Transport>,
    clock: SharedClock,
) {
    loop {
        let request = WatchRoomRequest {
            room_id: room.id.clone(),
        };
        match client.watch_room(request).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                while let Some(Ok(heard)) = stream.next().await {
                    let Some(event) = heard.event else { continue };
                    let is_over = matches!(event.event, Some(Event::RoomClosed(_)));
                    if let Some(at) = &event.at {
                        let late = clock.now().0.saturating_sub(unix_ms(at));
                        metrics::histogram!("tutti_gateway_fanout_seconds")
                            .record(f64::from(i32::try_from(late).unwrap_or(i32::MAX)) / 1000.0);
                    }
                    deliver(&room, Arc::new(event));
                    rooms.forget_if_empty(&room);
                    room.link.send_replace(Link::Open);
                    if is_over {
                        return;
                    }
                }
            }
            Err(status) if status.code() == Code::NotFound => {
                // Whoever is still here was away when the room was closed.
                deliver(&room, Arc::new(closed_meanwhile(&room.id, &clock)));
                room.link.send_replace(Link::Absent);
                return;
            }
            Err(status) => {
                tracing::warn!(%status, "cannot hear of a room");
                room.link.send_if_modified(|link| {
                    let is_first = matches!(link, Link::Opening | Link::Failed(_));
                    if is_first {
                        *link = Link::Failed(status);
                    }
                    is_first
                });
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn closed_meanwhile(room_id: &str, clock: &SharedClock) -> RoomEvent {
    RoomEvent {
        room_id: room_id.to_owned(),
        version: 0,
        revision: u64::MAX,
        at: Some(tutti_proto::timestamp(clock.now().0)),
        traceparent: None,
        event: Some(Event::RoomClosed(pb::RoomClosed {
            reason: pb::RoomCloseReason::Empty.into(),
        })),
    }
}

/// Hands an event to everybody it is for. It is encoded once, when the first one wants it.
fn deliver(room: &LocalRoom, event: Arc<RoomEvent>) {
    let mut audience = room.audience();
    let event = match note_host(&mut audience, &event) {
        // A gap hid that the host changed: that is told as well.
        Some(host_changed) => {
            hand_out(&mut audience, &Arc::new(host_changed));
            event
        }
        None => event,
    };
    hand_out(&mut audience, &event);
}

fn hand_out(audience: &mut Audience, event: &Arc<RoomEvent>) {
    let mut message = None;
    let mut gone = Vec::new();
    for member in audience.members.values_mut() {
        tell(member, event, &mut message, &mut gone);
    }
    for id in gone {
        audience.members.remove(&id);
    }
}

/// Keeps track of who is host. Returns what clients must be told if a snapshot shows another one than the
/// last event did.
fn note_host(audience: &mut Audience, event: &RoomEvent) -> Option<RoomEvent> {
    let (host_id, is_news) = match event.event.as_ref()? {
        Event::Snapshot(room) => (&room.host_id, true),
        Event::HostChanged(changed) => (&changed.host_id, false),
        Event::UserJoined(_)
        | Event::UserLeft(_)
        | Event::StateSynced(_)
        | Event::RoomClosed(_) => return None,
    };
    let previous = audience.host_id.replace(host_id.clone())?;
    (is_news && previous != *host_id).then(|| RoomEvent {
        event: Some(Event::HostChanged(pb::HostChanged {
            host_id: host_id.clone(),
            previous_host_id: previous,
            reason: HostChangeReason::Disconnected.into(),
        })),
        ..event.clone()
    })
}

/// Tells one connection, if it is for it. Those who are out afterwards are put into `gone`.
fn tell(
    member: &mut Member,
    event: &Arc<RoomEvent>,
    message: &mut Option<Str>,
    gone: &mut Vec<ConnectionId>,
) {
    match &mut member.hears {
        Hears::Later(kept) => {
            if kept.len() < PENDING_MAX {
                kept.push(event.clone());
            } else {
                gone.push(member.connection.id);
                member.connection.close();
            }
            return;
        }
        Hears::After(revision) if event.revision <= *revision => return,
        Hears::After(_) => {}
    }
    let connection = &member.connection;
    let Some(happened) = &event.event else { return };
    match happened {
        Event::Snapshot(_) => connection.send_state(encoded(event, message)),
        Event::StateSynced(synced) => {
            if synced.connection_id.as_deref() != Some(connection.id_text.as_str()) {
                connection.send_state(encoded(event, message));
            }
        }
        Event::UserJoined(joined) => {
            if !is_own(joined.member.as_ref(), connection) {
                connection.send(encoded(event, message));
            }
        }
        Event::UserLeft(left) if is_own(left.member.as_ref(), connection) => {
            gone.push(connection.id);
            connection.set_room_id(None);
            let reason = match left.reason() {
                LeaveReason::AccessRevoked => "access_revoked",
                LeaveReason::Left | LeaveReason::Unspecified => member.leaving.unwrap_or("left"),
                // It lives, whatever the room service thinks.
                LeaveReason::Disconnected => return connection.rejoin(event.room_id.clone()),
            };
            let at = event.at.as_ref().map_or(0, unix_ms);
            let left = json::room_left(&event.room_id, reason, tutti_common::clock::UnixMs(at));
            connection.send(event_to_client("room_left", &left));
        }
        Event::UserLeft(_) | Event::HostChanged(_) => connection.send(encoded(event, message)),
        Event::RoomClosed(_) => {
            gone.push(connection.id);
            connection.set_room_id(None);
            connection.send(encoded(event, message));
        }
    }
}

fn is_own(member: Option<&pb::Member>, connection: &Connection) -> bool {
    member.is_some_and(|member| member.user_id == connection.user_id)
}

fn encoded(event: &RoomEvent, message: &mut Option<Str>) -> Str {
    message.get_or_insert_with(|| encode(event)).clone()
}

/// An event as all but the ones it is about see it.
fn encode(event: &RoomEvent) -> Str {
    let room_id = &event.room_id;
    let at = json::time(event.at.as_ref());
    let nobody = pb::Member::default();
    match &event.event {
        Some(Event::Snapshot(room)) => {
            let state = State {
                playback: room.playback,
                current_song_json: room.current_song_json.clone(),
                version: event.version,
            };
            event_to_client("state_synced", &json::state_synced(room_id, &state, &at))
        }
        Some(Event::StateSynced(synced)) => {
            let state = synced.state.clone().unwrap_or_default();
            event_to_client("state_synced", &json::state_synced(room_id, &state, &at))
        }
        Some(Event::UserJoined(joined)) => {
            let member = joined.member.as_ref().unwrap_or(&nobody);
            let payload = json::user_came_or_went(room_id, member, joined.member_count, &at);
            event_to_client("user_joined", &payload)
        }
        Some(Event::UserLeft(left)) => {
            let member = left.member.as_ref().unwrap_or(&nobody);
            let payload = json::user_came_or_went(room_id, member, left.member_count, &at);
            event_to_client("user_left", &payload)
        }
        Some(Event::HostChanged(changed)) => event_to_client(
            "host_changed",
            &json::host_changed(room_id, changed, event.version, &at),
        ),
        Some(Event::RoomClosed(closed)) => event_to_client(
            "room_closed",
            &json::room_closed(room_id, closed.reason(), &at),
        ),
        None => Str::default(),
    }
}
