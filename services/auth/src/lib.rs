//! Accounts, sessions, signing keys, friends and friend requests. Knows nothing of rooms.

use std::{sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tutti_common::{
    clock::SharedClock,
    config::{Rates, Settings},
    limits::Limiter,
    shutdown::Shutdown,
    sql::Database,
};

mod accounts;
pub mod domain;
mod events;
mod friends;
mod guesses;
mod hashing_queue;
pub mod keys;
mod passwords;
pub mod published;
mod rpc;
pub mod store;
mod turns;

use accounts::Accounts;
use events::Events;
use friends::Friends;
use guesses::Guesses;
use keys::SigningKeys;
use passwords::Passwords;
use published::{KeyRing, PUBLISH_EVERY};
use store::StoreError;

/// The gRPC services that [`Auth::routes`] serves.
pub const SERVICES: &[&str] = &[
    "tutti.auth.v1.AuthService",
    "tutti.friends.v1.FriendService",
];

/// What can be set.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// How long an access token lives.
    pub access_token_ttl: Duration,
    /// How long a refresh token lives that nobody uses.
    pub refresh_token_ttl: Duration,
    /// How long after a rejection its sender may ask again.
    pub friend_request_cooldown: Duration,
    /// How often expired refresh tokens and old events are deleted.
    pub cleanup_interval: Duration,
    /// How often somebody may do something.
    pub rates: Rates,
}

impl From<&Settings> for AuthSettings {
    fn from(settings: &Settings) -> Self {
        Self {
            access_token_ttl: settings.access_token_ttl,
            refresh_token_ttl: settings.refresh_token_ttl,
            friend_request_cooldown: settings.friend_request_cooldown,
            cleanup_interval: settings.cleanup_interval,
            rates: settings.rates,
        }
    }
}

/// The auth service.
#[derive(Clone)]
pub struct Auth {
    accounts: Accounts,
    friends: Friends,
    /// Cancelled when streams are to end.
    end: CancellationToken,
}

impl Auth {
    /// The service on a database whose schema is up to date.
    #[must_use]
    pub fn new(
        database: &Database,
        keys: SigningKeys,
        limiter: Arc<dyn Limiter>,
        clock: SharedClock,
        settings: AuthSettings,
    ) -> Self {
        let store = store::on(database);
        let events = Events::new(Arc::clone(&store));
        let friends = Friends {
            store: Arc::clone(&store),
            limiter: Arc::clone(&limiter),
            clock: Arc::clone(&clock),
            settings: settings.clone(),
            events: events.clone(),
        };
        let accounts = Accounts {
            keys: Arc::new(KeyRing::new(
                keys,
                settings.access_token_ttl,
                Arc::clone(&store),
                Arc::clone(&clock),
            )),
            guesses: Guesses::new(
                Arc::clone(&limiter),
                Arc::clone(&clock),
                settings.rates.login_failures_per_15_minutes,
            ),
            store,
            passwords: Passwords::default(),
            limiter,
            clock,
            settings,
            events,
            background: TaskTracker::new(),
        };
        Self {
            accounts,
            friends,
            end: CancellationToken::new(),
        }
    }

    /// What it serves.
    #[must_use]
    pub fn routes(&self) -> tonic::service::Routes {
        rpc::routes(&self.accounts, &self.friends, &self.end)
    }

    /// Publishes the public keys. To be called once before it serves: who meets a token of this process must find its key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn publish_keys(&self) -> Result<(), StoreError> {
        self.accounts.keys.publish().await
    }

    /// Publishes its keys again and again, and deletes expired refresh tokens and old events from time to time, until the
    /// end is asked for; then lets those go who watch accounts, and waits for what log-ins left to be done. Any number of
    /// replicas may do it.
    pub async fn run(self, shutdown: Shutdown) {
        let every = |period| {
            let mut times = tokio::time::interval(period);
            times.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            times
        };
        let mut publish = every(PUBLISH_EVERY);
        let mut sweep = every(self.accounts.settings.cleanup_interval);
        let publishing = async {
            loop {
                publish.tick().await;
                if let Err(error) = self.publish_keys().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot publish the signing keys; trying again later"
                    );
                }
            }
        };
        let sweeping = async {
            loop {
                sweep.tick().await;
                if let Err(error) = self.accounts.sweep().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot delete what is old; trying again later"
                    );
                }
            }
        };
        tokio::select! {
            () = publishing => {}
            () = sweeping => {}
            () = shutdown.ending() => {}
        }
        self.end.cancel();
        self.accounts.background.close();
        self.accounts.background.wait().await;
    }
}
