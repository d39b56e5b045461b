//! A connection somebody has said who they are by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engineioxide::DisconnectReason;
use serde_json::Value;
use tutti_common::{
    clock::UnixMs,
    ids::{ConnectionId, UserId},
};
use tutti_proto::rooms;

use super::{Carrier, packet::Message, session::Item};

/// A connection. Sending to it never waits: one that does not read is closed, and its client comes back.
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// The id as events name it.
    pub(crate) id_text: String,
    pub(crate) user: UserId,
    pub(crate) user_id: String,
    /// The `sid` of its access token.
    session_id: Mutex<String>,
    room_id: Mutex<Option<String>>,
    measured: Mutex<Option<Measured>>,
    carrier: Carrier,
}

/// What a listener has measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) at: UnixMs,
    /// From there to here and back.
    pub(crate) round_trip_ms: f64,
    /// How far what it plays is from where it should be; `None` where nothing plays.
    pub(crate) error_ms: Option<f64>,
}

impl Connection {
    pub(super) fn new(user: UserId, session_id: String, carrier: Carrier) -> Arc<Self> {
        let id = ConnectionId::new();
        Arc::new(Self {
            id,
            id_text: id.to_string(),
            user,
            user_id: user.to_string(),
            session_id: Mutex::new(session_id),
            room_id: Mutex::new(None),
            measured: Mutex::new(None),
            carrier,
        })
    }

    /// The room it is attached to.
    pub(crate) fn room_id(&self) -> Option<String> {
        self.room_id
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_room_id(&self, room_id: Option<String>) {
        *self.room_id.lock().unwrap_or_else(PoisonError::into_inner) = room_id;
    }

    pub(super) fn is_of_session(&self, session_id: &str) -> bool {
        *self
            .session_id
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            == session_id
    }

    pub(super) fn set_session(&self, session_id: String) {
        *self
            .session_id
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = session_id;
    }

    /// Sends what must not be missed, encoded and counted by the caller.
    pub(crate) fn send(&self, message: &Message) {
        super::session::send(&self.carrier, message);
    }

    /// Sends an event that must not be missed.
    pub(crate) fn send_event(&self, name: &'static str, payload: &Value) {
        super::session::send_event(&self.carrier, name, payload);
    }

    pub(crate) fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    /// Sends what it may well do without.
    pub(crate) fn offer(&self, message: &Message) {
        // A full buffer: there are more important things to be read.
        let _ = self.carrier.send(message);
    }

    /// What its listener has measured at `now`.
    pub(crate) fn set_measured(&self, measured: Measured) {
        *self.lock_measured() = Some(measured);
    }

    /// What its listener has measured since then.
    pub(crate) fn measured_since(&self, since: UnixMs) -> Option<Measured> {
        self.lock_measured().filter(|measured| measured.at >= since)
    }

    fn lock_measured(&self) -> MutexGuard<'_, Option<Measured>> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its seat was lost while it lives: it takes one again, after what it wanted before.
    pub(crate) fn rejoin(&self) {
        let queue = self
            .carrier
            .slot()
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // With a full queue the next renewal will ask again.
        if let Some(queue) = queue.as_ref() {
            let _ = queue.try_send(Item::Rejoin);
        }
    }

    /// Ends it. The transport is closed and not the namespace, so that a client comes back by itself.
    pub(crate) fn close(&self) {
        self.carrier.close(DisconnectReason::ClosingServer);
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
