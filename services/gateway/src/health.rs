//! Whether the services that a gateway needs answer: what `/readyz` says.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tutti_common::rpc::{self, Transport};

use crate::{AUTH_SERVICE, Gateway, ROOM_SERVICE};

/// How often a service is asked that answers.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How often one is asked that does not.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// How long one question may take: enough for a second process to be asked where the first is frozen.
const PATIENCE: Duration = Duration::from_millis(1_250);

/// How long a service may leave questions unanswered: a balancer believes the first 503, and a single process that is
/// restarted is back sooner. With the interval and the questions a gateway is not ready after 4 s at most.
const GRACE: Duration = Duration::from_secs(2);

/// Asks both services until the end.
pub(crate) async fn watch(gateway: &Gateway) {
    tokio::select! {
        () = watch_one(gateway, &gateway.auth, AUTH_SERVICE) => {}
        () = watch_one(gateway, &gateway.room, ROOM_SERVICE) => {}
        () = gateway.shutdown.ending() => {}
    }
}

async fn watch_one(gateway: &Gateway, service: &Transport, name: &'static str) {
    let mut silent_since = None;
    loop {
        let asked = Instant::now();
        if timeout(PATIENCE, rpc::answers(service)).await == Ok(true) {
            silent_since = None;
            gateway.readiness.have(name);
            sleep(ASK_EVERY).await;
            continue;
        }
        if silent_since.get_or_insert(asked).elapsed() >= GRACE {
            gateway.readiness.wait_for(name);
        }
        sleep(ASK_AGAIN).await;
    }
}
