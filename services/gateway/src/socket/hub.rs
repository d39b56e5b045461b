//! All connections of this gateway.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tutti_common::{
    clock::UnixMs,
    ids::{ConnectionId, SessionId},
    spread::Spread,
};
use tutti_proto::rooms;

use super::Connection;

/// All connections of this gateway.
#[derive(Default)]
pub(crate) struct Hub(Mutex<HashMap<ConnectionId, Arc<Connection>>>);

impl Hub {
    fn connections(&self) -> MutexGuard<'_, HashMap<ConnectionId, Arc<Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, connection: Arc<Connection>) {
        self.connections().insert(connection.id, connection);
    }

    pub(super) fn remove(&self, id: ConnectionId) {
        self.connections().remove(&id);
    }

    /// A connection, if it is still there.
    pub(crate) fn get(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.connections().get(&id).cloned()
    }

    /// All of them, as the room service hears of them.
    pub(crate) fn reports(&self) -> Vec<rooms::Connection> {
        self.connections()
            .values()
            .map(|connection| connection.report())
            .collect()
    }

    /// What listeners have measured since `since`, by room, of the rooms where somebody did after `news`.
    pub(crate) fn measurements(&self, since: UnixMs, news: UnixMs) -> Vec<rooms::Measurements> {
        let mut by_room = HashMap::<String, (bool, Spread, Spread)>::new();
        for connection in self.connections().values() {
            if let Some(measured) = connection.measured_since(since) {
                let (is_news, round_trips, errors) = by_room.entry(measured.room_id).or_default();
                *is_news |= measured.at > news;
                round_trips.add(measured.round_trip_ms);
                if let Some(error_ms) = measured.error_ms {
                    errors.add(error_ms);
                }
            }
        }
        let news = by_room.into_iter().filter(|(_, (is_news, ..))| *is_news);
        news.map(|(room_id, (_, round_trips, errors))| rooms::Measurements {
            room_id,
            round_trips: round_trips.buckets().collect(),
            errors: errors.buckets().collect(),
        })
        .collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.connections().values().cloned().collect()
    }

    fn close_where(&self, which: impl Fn(&Connection) -> bool) {
        let ended = self
            .connections()
            .values()
            .filter(|connection| which(connection))
            .cloned()
            .collect::<Vec<_>>();
        for connection in ended {
            connection.close();
        }
    }

    /// Ends the connections of a session that is over.
    pub(crate) fn close_session(&self, session: SessionId) {
        self.close_where(|connection| connection.session() == session);
    }

    /// Ends all connections.
    pub(crate) fn close_all(&self) {
        self.close_where(|_| true);
    }
}
