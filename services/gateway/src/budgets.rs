//! What a user may do over all their connections: how many there are, how often one is opened, how much is said on them. A new connection
//! begins with what the others have left.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tutti_common::{
    clock::UnixMs,
    config::Rates,
    ids::UserId,
    limits::{self, Rate, TokenBuckets, Wait, retry_after_s},
};
use tutti_proto::rooms::Connection;

/// How much a user may say at once, over all connections.
const EVENTS_BURST: u32 = 80;

/// How much of that is kept for connections that have been there for a while: whoever connects again and again does not
/// silence the user's other tabs.
const RESERVE: u32 = 20;

/// How long that while is.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// How many connections a user may open at once.
const CONNECTS_BURST: u32 = 30;

/// What users may do over all their connections.
pub(crate) struct Budgets {
    buckets: Arc<TokenBuckets>,
    rates: Rates,
    /// How many connections each user has here.
    places: Arc<Mutex<HashMap<UserId, u32>>>,
    /// Connections that were one too many over all gateways.
    too_many: Mutex<HashSet<String>>,
}

/// Why a connection is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooMany {
    /// There are as many as there may be.
    #[error("you have {0} connections, which is all you may have; close another tab or device")]
    Connections(u32),
    /// Too many were opened a moment ago.
    #[error("you connect too often; try again in {} s", retry_after_s(.0.0))]
    Connects(Wait),
}

/// One of a user's connections here; dropped when it ends.
pub(crate) struct Place {
    user: UserId,
    places: Arc<Mutex<HashMap<UserId, u32>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = lock(&self.places);
        if let Some(count) = places.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                places.remove(&self.user);
            }
        }
    }
}

impl Budgets {
    pub(crate) fn new(buckets: Arc<TokenBuckets>, rates: Rates) -> Self {
        Self {
            buckets,
            rates,
            places: Arc::default(),
            too_many: Mutex::default(),
        }
    }

    /// A user opens a connection. That there are too many over all gateways is heard a moment later, by
    /// [`Self::stay`].
    pub(crate) fn connect(&self, user: UserId, now: UnixMs) -> Result<Place, TooMany> {
        let rate = Rate::per_minute(
            "user_connects",
            self.rates.user_connects_per_minute,
            CONNECTS_BURST,
        );
        let max = self.rates.connections_per_user;
        let mut places = lock(&self.places);
        if max > 0 && places.get(&user).is_some_and(|count| *count >= max) {
            limits::refused("user_connections");
            return Err(TooMany::Connections(max));
        }
        self.buckets
            .take(&user.to_string(), rate, now)
            .map_err(TooMany::Connects)?;
        *places.entry(user).or_default() += 1;
        drop(places);
        Ok(Place {
            user,
            places: self.places.clone(),
        })
    }

    /// How many connections the users of these, which have just come, have over all gateways.
    pub(crate) fn counted(&self, new: &[Connection], of_users: &HashMap<String, u32>) {
        let max = self.rates.connections_per_user;
        let crowded = new.iter().filter(|connection| {
            let count = of_users.get(&connection.user_id);
            max > 0 && count.is_some_and(|count| *count > max)
        });
        lock(&self.too_many).extend(crowded.map(|connection| connection.connection_id.clone()));
    }

    /// Refuses a connection, which has just come, if it is one too many over all gateways. Does so once.
    pub(crate) fn stay(&self, connection_id: &str) -> Result<(), TooMany> {
        if lock(&self.too_many).remove(connection_id) {
            limits::refused("user_connections");
            return Err(TooMany::Connections(self.rates.connections_per_user));
        }
        Ok(())
    }

    /// A user says something on a connection that has been there for so long.
    pub(crate) fn say(&self, user_id: &str, age: Duration, now: UnixMs) -> Result<(), Wait> {
        let rate = Rate::per_minute(
            "user_events",
            self.rates.user_events_per_minute,
            EVENTS_BURST,
        );
        let reserve = if age < SETTLED_AFTER { RESERVE } else { 0 };
        self.buckets.take_above(reserve, user_id, rate, now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use tutti_common::{clock::UnixMs, config::Rates, ids::UserId};
    use tutti_proto::rooms::Connection;

    use super::{Budgets, EVENTS_BURST, RESERVE, SETTLED_AFTER, TooMany};

    const NOW: UnixMs = UnixMs(1_704_067_200_000);

    fn budgets() -> Budgets {
        let rates = Rates {
            user_events_per_minute: 240,
            user_connects_per_minute: 60,
            connections_per_user: 3,
            ..Rates::UNLIMITED
        };
        Budgets::new(std::sync::Arc::default(), rates)
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let (budgets, ann, bob) = (budgets(), UserId::new(), UserId::new());
        let connect = |user| budgets.connect(user, NOW);
        let mut places = [(); 3].map(|()| connect(ann).ok());
        assert_eq!(connect(ann).err(), Some(TooMany::Connections(3)));
        assert!(connect(bob).is_ok());
        places[1] = None;
        assert!(connect(ann).is_ok());
        drop(places);
        assert!(super::lock(&budgets.places).is_empty());
    }

    #[test]
    fn who_is_refused_for_the_number_of_connections_has_not_connected_too_often() {
        let (budgets, ann) = (budgets(), UserId::new());
        let places = [(); 3].map(|()| budgets.connect(ann, NOW).ok());
        for _ in 0..100 {
            let refused = budgets.connect(ann, NOW).err();
            assert_eq!(refused, Some(TooMany::Connections(3)));
        }
        drop(places);
        assert!(budgets.connect(ann, NOW).is_ok());
    }

    #[test]
    fn one_too_many_over_all_gateways_is_refused_once() {
        let budgets = budgets();
        let connection = |connection: &str, user: &str| Connection {
            connection_id: connection.to_owned(),
            user_id: user.to_owned(),
            room_id: None,
        };
        let new = [connection("a", "ann"), connection("b", "bob")];
        let counts = HashMap::from([("ann".to_owned(), 4), ("bob".to_owned(), 3)]);
        budgets.counted(&new, &counts);
        assert_eq!(budgets.stay("a"), Err(TooMany::Connections(3)));
        assert_eq!(budgets.stay("a"), Ok(()));
        assert_eq!(budgets.stay("b"), Ok(()));
    }

    #[test]
    fn new_connections_leave_something_to_older_ones() {
        let budgets = budgets();
        let said = |age| {
            let said = (0..200).filter(|_| budgets.say("ann", age, NOW).is_ok());
            u32::try_from(said.count()).unwrap()
        };
        assert_eq!(said(Duration::ZERO), EVENTS_BURST - RESERVE);
        assert_eq!(said(SETTLED_AFTER), RESERVE);
    }
}
