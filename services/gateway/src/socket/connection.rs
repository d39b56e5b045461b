//! A connection somebody has said who they are by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tutti_common::{
    clock::UnixMs,
    ids::{ConnectionId, SessionId, UserId},
};
use tutti_proto::rooms;

use super::{Line, packet::Message, session::Item};

/// A connection. Sending to it never waits: one that does not read is closed, and its client comes back.
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// The id as events name it.
    pub(crate) id_text: String,
    pub(crate) user: UserId,
    pub(crate) user_id: String,
    /// The `sid` of its access token.
    session: Mutex<SessionId>,
    room_id: Mutex<Option<String>>,
    measured: Mutex<Option<Measured>>,
    line: Arc<Line>,
}

/// What a listener has measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// The room it listened to.
    pub(crate) room_id: String,
    pub(crate) at: UnixMs,
    /// From there to here and back.
    pub(crate) round_trip_ms: f64,
    /// How far what it plays is from where it should be; `None` where nothing plays.
    pub(crate) error_ms: Option<f64>,
}

impl Connection {
    pub(super) fn new(user: UserId, session: SessionId, line: Arc<Line>) -> Arc<Self> {
        let id = ConnectionId::new();
        Arc::new(Self {
            id,
            id_text: id.to_string(),
            user,
            user_id: user.to_string(),
            session: Mutex::new(session),
            room_id: Mutex::new(None),
            measured: Mutex::new(None),
            line,
        })
    }

    /// The room it is attached to.
    pub(crate) fn room_id(&self) -> Option<String> {
        self.lock_room_id().clone()
    }

    /// Whether it is attached to that room.
    pub(crate) fn is_in(&self, room_id: &str) -> bool {
        self.lock_room_id().as_deref() == Some(room_id)
    }

    /// It is attached to that room, and to no other one.
    pub(crate) fn enter_room(&self, room_id: &str) {
        *self.lock_room_id() = Some(room_id.to_owned());
    }

    /// It is not attached to that room any more. Word of that may come late: where it is in another room by then, it
    /// stays there.
    pub(crate) fn leave_room(&self, room_id: &str) {
        let mut current = self.lock_room_id();
        if current.as_deref() == Some(room_id) {
            *current = None;
        }
    }

    fn lock_room_id(&self) -> MutexGuard<'_, Option<String>> {
        self.room_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of its access token.
    pub(super) fn session(&self) -> SessionId {
        *self.lock_session()
    }

    pub(super) fn set_session(&self, session: SessionId) {
        *self.lock_session() = session;
    }

    fn lock_session(&self) -> MutexGuard<'_, SessionId> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what must not be missed, encoded and counted by the caller.
    pub(crate) fn send(&self, message: &Message) {
        super::session::send(&self.line, message);
    }

    /// Sends an event that must not be missed.
    pub(crate) fn send_event(&self, name: &'static str, payload: &Value) {
        super::session::send_event(&self.line, name, payload);
    }

    pub(crate) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Sends what it may well do without.
    pub(crate) fn offer(&self, message: &Message) {
        // A full buffer: there are more important things to be read.
        let _ = self.line.send(message);
    }

    /// What its listener has measured.
    pub(crate) fn set_measured(&self, measured: Measured) {
        *self.lock_measured() = Some(measured);
    }

    /// What its listener has measured since then in the room it is in.
    pub(crate) fn measured_since(&self, since: UnixMs) -> Option<Measured> {
        let measured = self.lock_measured().clone();
        measured.filter(|measured| measured.at >= since && self.is_in(&measured.room_id))
    }

    fn lock_measured(&self) -> MutexGuard<'_, Option<Measured>> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its seat in a room was lost while it lives: it takes one again, after what it wanted before, if it is still in that
    /// room then.
    pub(crate) fn rejoin(&self, room_id: &str) {
        let queue = self.line.slot.queue();
        // With a full queue the next renewal will ask again.
        if let Some(queue) = queue.as_ref() {
            let _ = queue.try_send(Item::Rejoin(room_id.to_owned()));
        }
    }

    /// Ends it. The transport is closed and not the namespace, so that a client comes back by itself.
    pub(crate) fn close(&self) {
        self.line.close();
    }

    /// As the room service hears of it.
    pub(crate) fn report(&self) -> rooms::Connection {
        rooms::Connection {
            connection_id: self.id_text.clone(),
            user_id: self.user_id.clone(),
            room_id: self.room_id(),
        }
    }
}
