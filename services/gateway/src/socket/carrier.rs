//! What carries a session: a WebSocket of our own, or Engine.IO's long-polling and what became of it.

use std::sync::Arc;

use engineioxide::{DisconnectReason, Socket};

use super::{
    Slot,
    line::{Line, Refused},
    packet::Message,
};

/// What carries a session.
#[derive(Clone)]
pub(crate) enum Carrier {
    /// Engine.IO: it began with long-polling.
    Engine(Arc<Socket<Slot>>),
    /// A WebSocket from the start, as nearly all are.
    Line(Arc<Line>),
}

impl Carrier {
    pub(super) fn slot(&self) -> &Slot {
        match self {
            Self::Engine(socket) => &socket.data,
            Self::Line(line) => &line.slot,
        }
    }

    /// The secret id of the session.
    pub(super) fn id(&self) -> String {
        match self {
            Self::Engine(socket) => socket.id.to_string(),
            Self::Line(line) => line.id.to_string(),
        }
    }

    /// What stood behind the `?` of its address.
    pub(super) fn query(&self) -> Option<&str> {
        match self {
            Self::Engine(socket) => socket.req_parts.uri.query(),
            Self::Line(line) => line.query.as_deref(),
        }
    }

    /// Sends what must not be missed.
    pub(super) fn send(&self, message: &Message) -> Result<(), Refused> {
        match self {
            Self::Engine(socket) => socket.emit(message.text()).map_err(|_| {
                if socket.is_closed() {
                    Refused::Closed
                } else {
                    Refused::Full
                }
            }),
            Self::Line(line) => line.send(message),
        }
    }

    /// Sends a state that a newer one makes worthless: a slow reader gets the newest.
    pub(crate) fn send_state(&self, message: &Message) {
        match self {
            Self::Engine(socket) => {
                if socket.emit(message.text()).is_err() {
                    socket.emit_volatile(message.text());
                }
            }
            Self::Line(line) => line.send_state(message),
        }
    }

    /// Ends it. The transport is closed and not the namespace, so that a client comes back by itself.
    pub(super) fn close(&self, reason: DisconnectReason) {
        match self {
            Self::Engine(socket) => socket.close(reason),
            Self::Line(line) => line.close(None),
        }
    }
}
