//! Connections that went a moment ago. A session that ends takes its user out of rooms at once, also by a connection that was
//! closed just before: whoever logs out in a page is disconnected first.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tutti_common::{clock::UnixMs, ids::SessionId, rpc::about};
use tutti_proto::rooms::{Connection, LeaveRoomRequest};

use crate::{Gateway, presence};

/// For how much longer than the grace a connection is remembered: the room service may have been told of its end late.
const MARGIN: Duration = Duration::from_secs(30);

/// Connections that went from a room, by session, while their users may still have their places there.
#[derive(Default)]
pub(crate) struct Departures(Mutex<Departed>);

#[derive(Default)]
struct Departed {
    /// Each with when it is forgotten.
    by_session: HashMap<SessionId, Vec<(UnixMs, Connection)>>,
    /// The same times, in order.
    forgotten_at: VecDeque<(UnixMs, SessionId)>,
}

impl Departures {
    fn lock(&self) -> MutexGuard<'_, Departed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of that session went, and is remembered until then.
    fn add(&self, session: SessionId, connection: Connection, until: UnixMs, now: UnixMs) {
        let departed = &mut *self.lock();
        let (by_session, forgotten_at) = (&mut departed.by_session, &mut departed.forgotten_at);
        while let Some((_, old)) = forgotten_at.pop_front_if(|(until, _)| *until <= now) {
            if let Entry::Occupied(mut connections) = by_session.entry(old) {
                connections.get_mut().retain(|(until, _)| *until > now);
                if connections.get().is_empty() {
                    connections.remove();
                }
            }
        }
        by_session
            .entry(session)
            .or_default()
            .push((until, connection));
        forgotten_at.push_back((until, session));
    }

    /// Those of a session, which are then forgotten.
    fn take(&self, session: SessionId) -> impl Iterator<Item = Connection> + use<> {
        let taken = self.lock().by_session.remove(&session);
        let taken = taken.into_iter().flatten();
        taken.map(|(_, connection)| connection)
    }
}

/// A connection of that session has gone, and its user keeps the place for the grace period; unless the session has ended, or
/// does so before that is over.
pub(crate) async fn has_gone(gateway: &Gateway, session: SessionId, connection: Connection) {
    if connection.room_id.is_some() {
        let now = gateway.clock.now();
        let until = now + gateway.settings.presence_grace + MARGIN;
        let departures = &gateway.departures;
        departures.add(session, connection.clone(), until, now);
        // Asked behind that: whoever hears of the end looks for it there after the end is known.
        if gateway.identity.has_ended(session) {
            leave_rooms(gateway, session).await;
        }
    }
    presence::has_gone(gateway, connection).await;
}

/// A session has ended: the connections of it that went leave their rooms.
pub(crate) async fn leave_rooms(gateway: &Gateway, session: SessionId) {
    for connection in gateway.departures.take(session) {
        let request = LeaveRoomRequest {
            user_id: connection.user_id,
            room_id: connection.room_id.unwrap_or_default(),
            connection_id: Some(connection.connection_id),
            session_ended: true,
        };
        let request = about(request, |request| &request.room_id);
        if let Err(status) = gateway.rooms().leave_room(request).await {
            // The place is lost after the grace.
            tracing::warn!(%status, "a user whose session has ended cannot be taken out of a room");
        }
    }
}

#[cfg(test)]
mod tests {
    use tutti_common::{clock::UnixMs, ids::SessionId};
    use tutti_proto::rooms::Connection;

    use super::Departures;

    #[test]
    fn connections_are_remembered_by_session_for_a_while_and_taken_once() {
        let departures = Departures::default();
        let [ended, other] = [(); 2].map(|()| SessionId::new());
        let connection = |id: &str| Connection {
            connection_id: id.to_owned(),
            ..Connection::default()
        };
        let add = |session, id, until, now| {
            departures.add(session, connection(id), UnixMs(until), UnixMs(now));
        };
        add(ended, "long ago", 100, 0);
        add(ended, "phone", 150, 50);
        add(other, "laptop", 160, 60);
        add(ended, "desk", 200, 100);
        let taken = departures.take(ended).map(|gone| gone.connection_id);
        assert_eq!(taken.collect::<Vec<_>>(), ["phone", "desk"]);
        assert_eq!(departures.take(ended).count(), 0);
        add(other, "tablet", 300, 200);
        let departed = departures.lock();
        assert_eq!(departed.by_session[&other].len(), 1);
        assert_eq!(
            (departed.by_session.len(), departed.forgotten_at.len()),
            (1, 1)
        );
    }
}
