//! Socket.IO sessions on Engine.IO (`request.rs`, `polling.rs`, `websocket.rs`, `line.rs`).
//!
//! What arrives is read in the receive path, in order, and put into the connection's own bounded queue; one
//! task a connection drains it. `ping` alone is answered on the spot, since it measures time.

mod connection;
mod events;
mod frame;
mod handshake;
mod hub;
mod line;
mod outbox;
mod pace;
pub(crate) mod packet;
mod polling;
mod request;
mod session;
mod websocket;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{body::Bytes, extract::Request, response::Response};
use engineioxide_core::{Sid, Str};
use serde_json::{Value, json};
use socketioxide_core::parser::{ParseConfig, ParserState};
use tokio::sync::mpsc;
use tutti_common::{limits::TokenBucket, status::Reason};

pub(crate) use connection::{Connection, Measured};
pub(crate) use events::CLIENT_EVENTS;
pub(crate) use hub::Hub;
pub(crate) use line::Line;

use self::{
    events::Fault,
    packet::{ClientEvent, Incoming},
    request::{Asked, Refusal},
    session::Item,
};
use crate::{Gateway, meters};

/// Events a connection may have waiting. The limit on events keeps it near empty; where that is off, this
/// bounds what a flood can hold.
const QUEUE: usize = 1_024;

/// How many events a connection may send at once above the steady rate.
const BURST: u32 = 20;

/// What is kept of the Socket.IO session with each connection.
#[derive(Default)]
pub(crate) struct Slot {
    queue: Mutex<Option<mpsc::Sender<Item>>>,
    budgets: Mutex<Option<Budgets>>,
    parser: ParserState,
    is_connected: AtomicBool,
}

impl Slot {
    fn queue(&self) -> MutexGuard<'_, Option<mpsc::Sender<Item>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Budgets {
    events: TokenBucket,
    pings: TokenBucket,
    reports: TokenBucket,
}

/// What a client's event is counted under.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Budget {
    Events,
    Pings,
    Reports,
}

impl Budget {
    fn of(event: &ClientEvent) -> Self {
        match event.name.as_deref() {
            Some("ping") => Self::Pings,
            Some("report") => Self::Reports,
            _ => Self::Events,
        }
    }

    /// As metrics call the limit.
    fn limit(self) -> &'static str {
        match self {
            Self::Events => "socket_events",
            Self::Pings => "socket_pings",
            Self::Reports => "socket_reports",
        }
    }
}

/// How often a connection may report what it measures in a minute, and how often at once.
const REPORTS_PER_MINUTE: u32 = 12;
const REPORTS_BURST: u32 = 4;

/// All that is said to clients' sessions, and those that are polled.
struct Sessions {
    gateway: Gateway,
    parse_config: ParseConfig,
    /// By the id that opens them; those that were polled and are a `WebSocket` now as well.
    polled: Mutex<HashMap<Sid, Arc<Line>>>,
}

/// What a packet of Engine.IO is.
enum Word {
    /// A message, which was heard.
    Heard,
    /// It is there, as it was asked.
    Pong,
    /// It goes.
    Bye,
    /// Nothing that clients say.
    Wrong,
}

/// The service at `/socket.io/`.
pub(crate) fn service(
    gateway: &Gateway,
) -> impl tower::Service<Request, Response = Response, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    let sessions = Arc::new(Sessions {
        gateway: gateway.clone(),
        parse_config: packet::parse_config(gateway.settings.socket_max_payload),
        polled: Mutex::default(),
    });
    tower::service_fn(move |request: Request| {
        let sessions = sessions.clone();
        async move { Ok(answer(&sessions, request).await) }
    })
}

/// Whether this is the first request of a session that is polled, which outlives the connection it came by.
pub(crate) fn opens_polled_session(request: &Request) -> bool {
    let uri = request.uri();
    let query = uri.query().unwrap_or_default();
    uri.path().starts_with("/socket.io") && Asked::of(request.method(), query) == Ok(Asked::Open)
}

async fn answer(sessions: &Arc<Sessions>, mut request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let asked = match Asked::of(request.method(), query) {
        Ok(asked) => asked,
        Err(refusal) => return refusal.response(),
    };
    // A token may stand there; nothing else is of interest. Copied: the request's head is not kept for it.
    let query = query.contains("token=").then(|| Box::from(query));
    let line = match asked {
        Asked::Open => {
            let permit = request.extensions_mut().remove();
            return polling::open(sessions, query, permit);
        }
        Asked::Socket => return websocket::upgrade(sessions, None, query, &mut request),
        Asked::Poll(sid) => sessions.find(sid),
        // What is said last can still be polled for; nothing else is done with a session that is over.
        Asked::Post(sid) | Asked::Upgrade(sid) => {
            sessions.find(sid).filter(|line| !line.is_closed())
        }
    };
    let Some(line) = line else {
        return Refusal::UnknownSession.response();
    };
    match asked {
        Asked::Upgrade(_) => websocket::upgrade(sessions, Some(line), None, &mut request),
        Asked::Post(_) => polling::post(sessions, &line, request).await,
        _ => polling::poll(&line).await,
    }
}

impl Sessions {
    fn polled(&self) -> MutexGuard<'_, HashMap<Sid, Arc<Line>>> {
        self.polled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session that began with polling, unless it is over.
    fn find(&self, sid: Sid) -> Option<Arc<Line>> {
        let line = self.polled().get(&sid).cloned();
        line.filter(|line| !line.is_gone())
    }

    /// What Engine.IO says first.
    fn handshake(&self, line: &Line, upgrades: &[&str]) -> Value {
        let settings = &self.gateway.settings;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        json!({
            "sid": line.sid.as_str(),
            "upgrades": upgrades,
            "pingInterval": millis(settings.socket_ping_interval),
            "pingTimeout": millis(settings.socket_ping_timeout),
            "maxPayload": settings.socket_max_payload,
        })
    }

    /// A session begins: from now on it is heard. One that was before it on the same line is over.
    fn begin(&self, line: Arc<Line>) {
        let (sender, queue) = mpsc::channel(QUEUE);
        *line.slot.queue() = Some(sender);
        let gateway = self.gateway.clone();
        self.gateway
            .shutdown
            .spawn(session::run(gateway, line, queue));
    }

    /// A session is over: what it wanted is still done.
    fn end(line: &Line) {
        // Without a sender the queue is drained and then ends.
        line.slot.queue().take();
    }

    /// Whether a packet is one that the operator has set no limit to: it does not count as a frame either.
    fn is_free(&self, packet: &str) -> bool {
        let rates = &self.gateway.settings.rates;
        let is_limited = rates.socket_events_per_minute > 0 && rates.socket_pings_per_minute > 0;
        !is_limited && packet.starts_with('4')
    }

    /// Hears a packet of Engine.IO in text.
    fn hear_packet(&self, packet: &Str, line: &Arc<Line>) -> Word {
        match packet.as_bytes().first() {
            Some(b'4') => {
                let message = packet.slice(1..);
                let heard = packet::decode(&self.parse_config, &line.slot.parser, message);
                self.hear(heard, line);
                Word::Heard
            }
            Some(b'3') => Word::Pong,
            Some(b'1') => Word::Bye,
            _ => Word::Wrong,
        }
    }

    fn hear_binary(&self, data: Bytes, line: &Arc<Line>) {
        let heard = packet::decode_binary(&self.parse_config, &line.slot.parser, data);
        self.hear(heard, line);
    }

    fn hear(&self, incoming: Incoming, line: &Arc<Line>) {
        let is_connected = line.slot.is_connected.load(Ordering::Acquire);
        match incoming {
            Incoming::Connect(auth) => queue(Item::Connect(Box::new(auth)), line),
            Incoming::WrongNamespace(namespace) => {
                // A full buffer: the client is not reading, and will be closed for it.
                let _ = line.send(&packet::wrong_namespace(&namespace));
            }
            // Nobody has said yet who it is, which has to come first.
            _ if !is_connected => line.close(),
            Incoming::Garbage => line.close(),
            Incoming::Event(event) => self.hear_event(event, line),
            Incoming::Disconnect => {
                // It may connect again on the same line, within the same time.
                line.slot.is_connected.store(false, Ordering::Release);
                self.begin(line.clone());
            }
            Incoming::Nothing => {}
        }
    }

    fn hear_event(&self, event: ClientEvent, line: &Line) {
        let budget = Budget::of(&event);
        meters::event_in(event.name.as_deref().unwrap_or_default());
        if !self.is_within_budget(budget, line) {
            metrics::counter!("tutti_rate_limited_total", "limit" => budget.limit()).increment(1);
            if budget == Budget::Reports && event.ack.is_none() {
                return;
            }
            let fault = Fault::new(Reason::RateLimited, "too many events; slow down");
            return session::refuse(line, event.ack, &fault);
        }
        if budget == Budget::Pings {
            self.pong(&event, line);
        } else {
            queue(Item::Event(Box::new(event), Instant::now()), line);
        }
    }

    fn is_within_budget(&self, budget: Budget, line: &Line) -> bool {
        let now = self.gateway.clock.now();
        let rates = &self.gateway.settings.rates;
        let mut budgets = line
            .slot
            .budgets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let budgets = budgets.get_or_insert_with(|| Budgets {
            events: TokenBucket::new(rates.socket_events_per_minute, BURST, now),
            pings: TokenBucket::new(rates.socket_pings_per_minute, BURST, now),
            reports: TokenBucket::new(REPORTS_PER_MINUTE, REPORTS_BURST, now),
        });
        match budget {
            Budget::Events => budgets.events.take(now),
            Budget::Pings => budgets.pings.take(now),
            Budget::Reports => budgets.reports.take(now),
        }
    }

    fn pong(&self, event: &ClientEvent, line: &Line) {
        let clock = &self.gateway.clock;
        let read_at = Instant::now();
        let received_ms = clock.precise_ms();
        let client_time_ms = event
            .payload
            .get("client_time_ms")
            .cloned()
            .unwrap_or(Value::Null);
        let payload = json!({
            "timestamp": clock.now().to_rfc3339(),
            "client_time_ms": client_time_ms,
            "received_ms": received_ms,
            "sent_ms": clock.precise_ms(),
        });
        session::send_event(line, "pong", &payload);
        meters::ponged(read_at.elapsed());
        session::accept(line, event.ack, payload);
    }
}

/// Puts what a connection wants behind what it wanted before.
fn queue(item: Item, line: &Line) {
    let queue = line.slot.queue();
    let Some(queue) = queue.as_ref() else { return };
    if let Err(mpsc::error::TrySendError::Full(Item::Event(event, _))) = queue.try_send(item) {
        let fault = Fault::new(
            Reason::RateLimited,
            "too many events are waiting; slow down",
        );
        session::refuse(line, event.ack, &fault);
    }
}
