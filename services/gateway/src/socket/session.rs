//! The life of a connection: who it is, what it wants, when its token runs out, its end.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use engineioxide_core::Sid;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};
use tracing::Instrument as _;
use tutti_common::{clock::UnixMs, rpc, status::Reason, token::AccessClaims};

use super::{
    Connection, Line,
    events::{self, Fault},
    line::Refused,
    packet::{self, ClientEvent, Message},
};
use crate::{
    Gateway,
    budgets::{Place, TooMany},
    departures,
    identity::IdentityError,
    meters, presence,
};

/// How long a connection whose token has run out may stay to bring a fresh one; the contract closes it
/// within 60 s.
const EXPIRED_GRACE: Duration = Duration::from_secs(30);

/// What waits in a connection's queue.
pub(super) enum Item {
    /// It says who it is.
    Connect(Box<Value>),
    /// It wants something, and said so then.
    Event(Box<ClientEvent>, std::time::Instant),
    /// Its seat in this room was lost while it lives: it takes one again.
    Rejoin(String),
}

/// When a connection's token runs out, and whether it has.
pub(super) struct Expiry {
    deadline: Instant,
    pub(super) is_over: bool,
}

impl Expiry {
    pub(super) fn of(claims: &AccessClaims, now: UnixMs) -> Self {
        Self {
            deadline: Instant::now() + claims.exp.since(now),
            is_over: false,
        }
    }
}

/// Sends what must not be missed. One whose buffer is full does not read: it is closed, comes back, and
/// gets the state of then.
pub(super) fn send(line: &Line, message: &Message) {
    if line.send(message) == Err(Refused::Full) {
        metrics::counter!("tutti_gateway_slow_readers_total").increment(1);
        line.close();
    }
}

/// Sends an event that must not be missed.
pub(super) fn send_event(line: &Line, name: &'static str, payload: &Value) {
    meters::events_out(name, 1);
    send(line, &packet::event_to_client(name, payload));
}

fn acknowledge(line: &Line, ack: i64, payload: &Value) {
    meters::events_out(meters::ACKNOWLEDGEMENT, 1);
    send(line, &packet::acknowledgement(ack, payload));
}

/// Acknowledges what was done, where that was asked for.
pub(super) fn accept(line: &Line, ack: Option<i64>, mut payload: Value) {
    if let Some(ack) = ack {
        payload["ok"] = true.into();
        acknowledge(line, ack, &payload);
    }
}

/// Refuses: to the callback where there is one, otherwise as an event.
pub(super) fn refuse(line: &Line, ack: Option<i64>, fault: &Fault) {
    let error = json!({ "message": fault.message, "code": fault.reason.as_str() });
    match ack {
        Some(ack) => {
            let payload = json!({ "ok": false, "error": error });
            acknowledge(line, ack, &payload);
        }
        None => send_event(line, "error", &error),
    }
}

/// A connection from its first packet to its end.
pub(super) async fn run(gateway: Gateway, line: Arc<Line>, mut queue: mpsc::Receiver<Item>) {
    let begun = Instant::now();
    let (claims, connection, _place) = loop {
        let who = tokio::time::timeout_at(
            begun + gateway.settings.socket_connect_timeout,
            // What is rare is on the heap while it lasts: otherwise each idle connection had room for all of it.
            Box::pin(recognise(&gateway, &line, &mut queue)),
        );
        let who = tokio::select! {
            who = who => who,
            () = gateway.shutdown.ending() => return line.close(),
        };
        let claims = match who {
            Ok(Some(claims)) => claims,
            Ok(None) => return,
            Err(_) => return line.close(),
        };
        match Box::pin(admit(&gateway, &line, &claims)).await {
            Ok((connection, place)) => break (claims, connection, place),
            Err(refused) => {
                let refused =
                    packet::connect_error(&refused.to_string(), Reason::RateLimited.as_str());
                let _ = line.send(&refused);
            }
        }
    };
    // It may have ended just before it could be found there.
    if gateway.identity.has_ended(claims.sid) {
        gateway.hub.remove(connection.id);
        Box::pin(presence::has_gone(&gateway, connection.report())).await;
        let refused = IdentityError::Refused.to_string();
        let _ = line.send(&packet::connect_error(
            &refused,
            Reason::AuthRequired.as_str(),
        ));
        return line.close();
    }
    line.slot.is_connected.store(true, Ordering::Release);
    send(&line, &packet::connected(Sid::new().as_str()));
    let now = gateway.clock.now();
    let greeting = json!({
        "user_id": connection.user_id,
        "timestamp": now.to_rfc3339(),
        "expires_at": claims.exp.to_rfc3339(),
    });
    send_event(&line, "connected", &greeting);
    serve(
        &gateway,
        &line,
        &connection,
        &mut queue,
        Expiry::of(&claims, now),
    )
    .await;
    let report = connection.report();
    gateway.fanout.exit(&connection);
    gateway.hub.remove(connection.id);
    let gone = departures::has_gone(&gateway, connection.session(), report);
    Box::pin(gone).await;
}

/// Takes a connection in, unless its user has too many. It is answered after that, and not before: who is refused hears it
/// as the answer to CONNECT.
async fn admit(
    gateway: &Gateway,
    line: &Arc<Line>,
    claims: &AccessClaims,
) -> Result<(Arc<Connection>, Place), TooMany> {
    let place = gateway.budgets.connect(claims.sub, gateway.clock.now())?;
    let connection = Connection::new(claims.sub, claims.sid, line.clone());
    gateway.hub.add(connection.clone());
    presence::has_come(gateway, connection.report()).await;
    if let Err(refused) = gateway.budgets.stay(&connection.id_text) {
        gateway.hub.remove(connection.id);
        presence::has_gone(gateway, connection.report()).await;
        return Err(refused);
    }
    Ok((connection, place))
}

/// Waits until it says who it is. A client that was refused may try again on the same line.
async fn recognise(
    gateway: &Gateway,
    line: &Line,
    queue: &mut mpsc::Receiver<Item>,
) -> Option<AccessClaims> {
    loop {
        let Item::Connect(auth) = queue.recv().await? else {
            continue;
        };
        let token = auth
            .get("token")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .or_else(|| token_in_address(line));
        let verified = match token {
            Some(token) => gateway.identity.verify(&token).await,
            None => Err(IdentityError::Refused),
        };
        let reason = match verified {
            Ok(claims) => return Some(claims),
            Err(IdentityError::Refused) => Reason::AuthRequired,
            Err(IdentityError::Unavailable) => Reason::Unavailable,
        };
        let message = match reason {
            Reason::AuthRequired => "a valid access token is required",
            _ => "the auth service is unavailable; try again",
        };
        // One that does not even read this is closed by its time running out.
        let _ = line.send(&packet::connect_error(message, reason.as_str()));
    }
}

fn token_in_address(line: &Line) -> Option<String> {
    let query = line.query.as_deref()?;
    let token = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("token="))?;
    let token = percent_encoding::percent_decode_str(token)
        .decode_utf8()
        .ok()?;
    Some(token.into_owned())
}

/// Does what it wants, in its order, until it goes.
async fn serve(
    gateway: &Gateway,
    line: &Line,
    connection: &Arc<Connection>,
    queue: &mut mpsc::Receiver<Item>,
    mut expiry: Expiry,
) {
    let began = Instant::now();
    loop {
        let item = tokio::select! {
            item = queue.recv() => item,
            () = tokio::time::sleep_until(expiry.deadline) => {
                if expiry.is_over {
                    connection.close();
                    return;
                }
                let fault = Fault::new(Reason::AuthRequired, "the access token has run out");
                refuse(line, None, &fault);
                expiry = Expiry { deadline: expiry.deadline + EXPIRED_GRACE, is_over: true };
                continue;
            }
        };
        match item {
            None => return,
            // It has said so already.
            Some(Item::Connect(_)) => {}
            Some(Item::Rejoin(room_id)) => {
                Box::pin(events::rejoin(gateway, connection, &room_id)).await;
            }
            Some(Item::Event(event, received)) => {
                let ack = event.ack;
                if events::is_of_the_users_budget(&event) {
                    let age = began.elapsed();
                    let now = gateway.clock.now();
                    if let Err(wait) = gateway.budgets.say(&connection.user_id, age, now) {
                        let fault = Fault::new(Reason::RateLimited, wait.to_string());
                        refuse(line, ack, &fault);
                        continue;
                    }
                }
                let span = tracing::info_span!(
                    "event",
                    otel.name = events::known_name(&event),
                    otel.kind = "server"
                );
                let done = events::handle(gateway, connection, *event, &mut expiry);
                // What had to wait for others before it has less time left.
                let done = rpc::answer_by(received + rpc::DEADLINE, done.instrument(span));
                match Box::pin(done).await {
                    Ok(payload) => accept(line, ack, payload),
                    Err(fault) => refuse(line, ack, &fault),
                }
            }
        }
    }
}
