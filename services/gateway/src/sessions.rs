//! Keeping up with the auth service: its signing keys, and the sessions that end.

use std::{convert::Infallible, time::Duration};

use tokio::time::{Instant, sleep};
use tutti_common::accounts::{self, News};
use tutti_proto::auth::watch_accounts_response::Event;

use crate::{ENDED_SESSIONS, Gateway, SIGNING_KEYS, departures};

/// How often the signing keys are fetched. The auth service tells a key for 45 s after its last process had it, and it is to be
/// trusted for less than a minute.
const FETCH_KEYS_EVERY: Duration = Duration::from_secs(10);

/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Fetches the signing keys again and again, and refuses the sessions that end and closes their sockets, until the end.
pub(crate) async fn keep_up(gateway: &Gateway) {
    tokio::select! {
        () = fetch_keys(gateway) => {}
        () = hear_of_ends(gateway) => {}
        () = gateway.shutdown.ending() => {}
    }
}

/// While the auth service does not answer, the keys that are known are good.
async fn fetch_keys(gateway: &Gateway) {
    loop {
        let fetched = gateway.identity.fetch(Instant::now()).await;
        if fetched.is_ok() {
            gateway.readiness.have(SIGNING_KEYS);
        }
        sleep(if fetched.is_ok() {
            FETCH_KEYS_EVERY
        } else {
            AGAIN
        })
        .await;
    }
}

/// A gateway that cannot hear goes on with what it knows: where no auth process answers, no session can end, and where only
/// this gateway does not reach them, it is not ready.
async fn hear_of_ends(gateway: &Gateway) {
    // With the keys comes how long a token lives.
    gateway.readiness.had(SIGNING_KEYS).await;
    let since = gateway.clock.now() - gateway.identity.token_life();
    let never = accounts::hear(gateway.auth.clone(), since, async |news| {
        match news {
            News::Happened(Event::SessionEnded(ended)) => end(gateway, &ended.session_id),
            News::Happened(Event::FriendshipEnded(_)) => {}
            News::CaughtUp => {
                gateway.identity.set_caught_up();
                gateway.readiness.have(ENDED_SESSIONS);
            }
        }
        Ok::<_, Infallible>(())
    });
    match never.await {}
}

fn end(gateway: &Gateway, session_id: &str) {
    let Ok(session) = session_id.parse() else {
        return tracing::error!("a session of an unreadable id ended");
    };
    // In this order: a connection that is not yet there to be closed finds its session ended.
    gateway.identity.end(session);
    gateway.hub.close_session(session);
    let gateway = gateway.clone();
    let shutdown = gateway.shutdown.clone();
    shutdown.spawn(async move { departures::leave_rooms(&gateway, session).await });
}
