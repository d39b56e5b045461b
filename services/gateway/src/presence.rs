//! Telling the room service which connections are alive.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tutti_common::rpc;
use tutti_proto::rooms::{Connection, DropConnectionsRequest, RenewConnectionsRequest};

use crate::{Gateway, LIVE_STATE, meters};

/// How often connections are said to be alive; the room service believes it for 10 s.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// For how long a measurement counts. Listeners measure every 10 s.
const MEASURED_FOR: Duration = Duration::from_secs(30);

/// For how long it is said again: the room service, which tells a room at most every 5 s, may have kept it to itself.
const NEWS_FOR: Duration = Duration::from_secs(9);

/// How many go into one call.
const BATCH: usize = 1_000;

/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// What many have to say at once. While one call is under way the others gather, and the next call is for
/// all of them: a thousand who come back at the same moment need some ten calls, and one alone does not wait.
#[derive(Default)]
pub(crate) struct Gathering {
    waiting: Mutex<Vec<Connection>>,
    turn: tokio::sync::Mutex<()>,
}

impl Gathering {
    /// Says it of this connection, with `say`, together with the others that wait.
    async fn say(&self, of: Connection, say: impl AsyncFnOnce(Vec<Connection>)) {
        let waiting = || self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting().push(of);
        let said = async {
            let _turn = self.turn.lock().await;
            let all = std::mem::take(&mut *waiting());
            // None: whoever had the turn before has said it for this one too.
            if !all.is_empty() {
                say(all).await;
            }
        };
        // Neither the wait for a turn nor the call holds anybody up for longer. Leases are renewed anyway.
        if tokio::time::timeout(rpc::DEADLINE, said).await.is_err() {
            tracing::debug!("the room service does not answer");
        }
    }
}

/// Says so every few seconds, until the end.
pub(crate) async fn renew(gateway: &Gateway) {
    let mut tick = tokio::time::interval(RENEW_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = gateway.shutdown.ending() => return,
        }
        let connections = gateway.hub.reports();
        meters::here(connections.len(), gateway.fanout.len());
        if let Err(status) = say_measured(gateway).await {
            tracing::debug!(%status, "cannot say what listeners measure");
        }
        // With none to report it still asks: at the beginning, whether there is live state to report to.
        let mut rest = connections.as_slice();
        loop {
            let (batch, later) = rest.split_at(rest.len().min(BATCH));
            match renew_now(gateway, batch, false).await {
                Ok(()) => gateway.readiness.have(LIVE_STATE),
                Err(status) => {
                    tracing::warn!(%status, "cannot say which connections are alive");
                    tick.reset_after(AGAIN);
                    break;
                }
            }
            if later.is_empty() {
                break;
            }
            rest = later;
        }
    }
}

/// Says what listeners have measured.
async fn say_measured(gateway: &Gateway) -> Result<(), tonic::Status> {
    let now = gateway.clock.now();
    let measurements = gateway.hub.measurements(now - MEASURED_FOR, now - NEWS_FOR);
    for rooms in measurements.chunks(BATCH) {
        let request = RenewConnectionsRequest {
            measurements: rooms.to_vec(),
            gateway_id: gateway.id.clone(),
            ..RenewConnectionsRequest::default()
        };
        gateway.rooms().renew_connections(request).await?;
    }
    Ok(())
}

/// Says of some connections that they are alive. Those whose seat is gone join again; those that are new are counted.
async fn renew_now(
    gateway: &Gateway,
    connections: &[Connection],
    are_new: bool,
) -> Result<(), tonic::Status> {
    let request = RenewConnectionsRequest {
        connections: connections.to_vec(),
        are_new,
        ..RenewConnectionsRequest::default()
    };
    let answer = gateway
        .rooms()
        .renew_connections(request)
        .await?
        .into_inner();
    gateway
        .budgets
        .counted(connections, &answer.connections_of_users);
    for id in answer.detached_connection_ids {
        // Which room that was: by now it may be in another one.
        let said = connections.iter().find(|said| said.connection_id == id);
        if let Some(room_id) = said.and_then(|said| said.room_id.as_ref())
            && let Some(connection) = id.parse().ok().and_then(|id| gateway.hub.get(id))
        {
            connection.rejoin(room_id);
        }
    }
    gateway.fanout.should_have_heard(answer.last_events);
    Ok(())
}

/// Says of a new connection that it is alive, and hears how many its user has.
pub(crate) async fn has_come(gateway: &Gateway, connection: Connection) {
    let say = async |connections: Vec<Connection>| {
        if let Err(status) = renew_now(gateway, &connections, true).await {
            tracing::debug!(%status, "cannot say that a connection is alive");
        }
    };
    gateway.arrivals.say(connection, say).await;
}

/// Says of a connection that it is gone. If that is not heard, its lease runs out.
pub(crate) async fn has_gone(gateway: &Gateway, connection: Connection) {
    let say = async |connections| {
        let request = DropConnectionsRequest { connections };
        if let Err(status) = gateway.rooms().drop_connections(request).await {
            tracing::debug!(%status, "cannot say that a connection is gone");
        }
    };
    gateway.drops.say(connection, say).await;
}
