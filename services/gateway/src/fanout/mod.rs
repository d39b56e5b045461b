//! Rooms that somebody is attached to here: their events come in once and go out to every connection.

mod audience;
mod feed;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tutti_common::{
    clock::SharedClock, follow::closed_meanwhile, rpc, shutdown::Shutdown, telemetry,
};
use tutti_proto::{
    rooms::{LastEvent, Room, RoomEvent, room_event::Event},
    unix_ms,
};

pub(crate) use self::feed::Feeds;
use self::{audience::Audience, feed::Feed};
use crate::{meters, socket::Connection};

/// What clients are sent.
pub(crate) const SERVER_EVENTS: [&str; 12] = [
    "connected",
    "authenticated",
    "room_joined",
    "room_left",
    "user_joined",
    "user_left",
    "state_synced",
    "host_changed",
    "room_closed",
    "room_timing",
    "pong",
    "error",
];

/// How long to wait before a broken stream is opened again.
const AGAIN: Duration = Duration::from_millis(250);

/// How long an event may take from the room service to here. One that takes longer than the answer to a renewal, which
/// tells of it, and this, is taken for lost.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// All rooms with a connection here.
pub(crate) struct Fanout {
    rooms: LocalRooms,
    feeds: Feeds,
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
        if is_known && room.audience().is_empty() {
            room.stop.cancel();
            rooms.remove(&room.id);
        }
    }
}

struct LocalRoom {
    id: String,
    audience: Mutex<Audience>,
    link: watch::Sender<Link>,
    /// The revision of the last event that came in.
    heard: watch::Sender<u64>,
    /// Events are missing, and nothing has said so: the room is to be listened to anew.
    is_deaf: Notify,
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

impl LocalRoom {
    fn audience(&self) -> MutexGuard<'_, Audience> {
        self.audience.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fanout {
    pub(crate) fn new(feeds: Feeds, clock: SharedClock, shutdown: Shutdown) -> Self {
        Self {
            rooms: LocalRooms::default(),
            feeds,
            clock,
            shutdown,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rooms.lock().len()
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
                    heard: watch::channel(0).0,
                    is_deaf: Notify::new(),
                    stop: CancellationToken::new(),
                })
            });
            let room = room.clone();
            room.audience().expect(connection);
            (room, is_new)
        };
        let mut link = room.link.subscribe();
        if is_new {
            let feed = take_in(
                self.rooms.clone(),
                room.clone(),
                self.feeds.clone(),
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
        let opened = rpc::in_time(link.wait_for(|link| !matches!(link, Link::Opening))).await;
        let refusal = match opened.map(|link| link.map(|link| link.clone())) {
            Ok(Ok(Link::Opening | Link::Open | Link::Absent)) => return Ok(()),
            Ok(Ok(Link::Failed(status))) | Err(status) => status,
            Ok(Err(_)) => Status::unavailable("the gateway is ending"),
        };
        self.turn_back(room_id, connection);
        Err(refusal)
    }

    /// The connection did not get in, or is out without a word.
    pub(crate) fn turn_back(&self, room_id: &str, connection: &Connection) {
        let Some(room) = self.rooms.get(room_id) else {
            return;
        };
        {
            let mut audience = room.audience();
            // One that was in already stays in: only its second join failed.
            if audience.has(connection.id) && connection.is_in(room_id) {
                return;
            }
            audience.remove(connection.id);
        }
        self.rooms.forget_if_empty(&room);
    }

    /// The connection is in: it is told so, and hears what happens after what it was told.
    pub(crate) fn attach(&self, connection: &Arc<Connection>, joined: &Room, message: &Value) {
        connection.enter_room(&joined.room_id);
        let Some(room) = self.rooms.get(&joined.room_id) else {
            return;
        };
        let mut audience = room.audience();
        connection.send_event("room_joined", message);
        audience.admit(connection, joined.revision);
    }

    /// The connection has left: it is told so, unless an event was faster.
    pub(crate) fn detach(&self, room_id: &str, connection: &Connection, message: &Value) {
        let Some(room) = self.rooms.get(room_id) else {
            return;
        };
        // Events are handed out under the same lock: one of the two comes first, and tells it.
        let mut audience = room.audience();
        if audience.remove(connection.id) {
            connection.leave_room(room_id);
            connection.send_event("room_left", message);
        }
        drop(audience);
        self.rooms.forget_if_empty(&room);
    }

    /// These events should have come in by now, or be on their way. Where one does not arrive, whatever should bring it is
    /// not there although it seems to be, and is made anew.
    pub(crate) fn should_have_heard(&self, last_events: Vec<LastEvent>) {
        for LastEvent { room_id, revision } in last_events {
            let Some(room) = self.rooms.get(&room_id) else {
                continue;
            };
            let is_open = matches!(*room.link.borrow(), Link::Open);
            if !is_open || *room.heard.borrow() >= revision {
                continue;
            }
            let ending = self.shutdown.clone();
            self.shutdown.spawn(async move {
                let mut heard = room.heard.subscribe();
                tokio::select! {
                    _ = heard.wait_for(|heard| *heard >= revision) => {}
                    () = tokio::time::sleep(ON_ITS_WAY) => {
                        tracing::warn!(room_id, revision, "a room's events do not arrive; listening anew");
                        room.is_deaf.notify_one();
                    }
                    () = room.stop.cancelled() => {}
                    () = ending.ending() => {}
                }
            });
        }
    }

    /// The connection is over.
    pub(crate) fn exit(&self, connection: &Connection) {
        if let Some(room) = connection
            .room_id()
            .and_then(|room_id| self.rooms.get(&room_id))
        {
            room.audience().remove(connection.id);
            self.rooms.forget_if_empty(&room);
        }
    }
}

/// Hands an event out, in the trace of what caused it.
fn hear(room: &LocalRoom, event: &Arc<RoomEvent>) {
    let Some(traceparent) = &event.traceparent else {
        return room.audience().hear(event);
    };
    let name = event.event.as_ref().map_or("nothing", audience::name_of);
    let span = tracing::info_span!(
        "fan out",
        otel.name = format!("fan out {name}"),
        otel.kind = "consumer"
    );
    telemetry::continue_from(&span, traceparent);
    span.in_scope(|| room.audience().hear(event));
}

/// Takes a room's events in for as long as somebody is there.
async fn take_in(rooms: LocalRooms, room: Arc<LocalRoom>, feeds: Feeds, clock: SharedClock) {
    loop {
        match feeds.open(&room.id).await {
            Ok(events) => match hand_out(&rooms, &room, events, &clock).await {
                Ended::Over => return,
                Ended::Broken(status) => {
                    tracing::warn!(room_id = room.id, %status, "a room's events broke off; opening them again");
                    meters::feed_broken("error");
                }
                Ended::Deaf => {
                    meters::feed_broken("deaf");
                    feeds.mend(&room.id).await;
                }
                // The process that told them ends.
                Ended::Told => meters::feed_broken("ended"),
            },
            Err(status) if status.code() == Code::NotFound => {
                // Whoever is still here was away when the room was closed.
                let closed = closed_meanwhile(&room.id, clock.now());
                room.audience().hear(&Arc::new(closed));
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

/// Why no more of a room's events come in by a feed.
enum Ended {
    /// The room is over.
    Over,
    /// The feed failed.
    Broken(Status),
    /// The feed ended by itself.
    Told,
    /// Something is missing and the feed has not said so.
    Deaf,
}

/// Hands a room's events out as they come in.
async fn hand_out(
    rooms: &LocalRooms,
    room: &Arc<LocalRoom>,
    mut events: Feed,
    clock: &SharedClock,
) -> Ended {
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = room.is_deaf.notified() => return Ended::Deaf,
        };
        let event = match event {
            Some(Ok(event)) => event,
            Some(Err(status)) => return Ended::Broken(status),
            None => return Ended::Told,
        };
        let is_over = matches!(event.event, Some(Event::RoomClosed(_)));
        hear(room, &event);
        room.heard.send_if_modified(|heard| {
            let is_newer = event.revision > *heard;
            *heard = event.revision.max(*heard);
            is_newer
        });
        if let Some(at) = &event.at {
            let late_ms = clock.now().0.saturating_sub(unix_ms(at));
            meters::fanned_out(Duration::from_millis(late_ms.try_into().unwrap_or(0)));
        }
        rooms.forget_if_empty(room);
        room.link.send_replace(Link::Open);
        if is_over {
            return Ended::Over;
        }
    }
}
