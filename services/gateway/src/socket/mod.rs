//! Socket.IO sessions on Engine.IO.
//!
//! What arrives is read in the receive path, in order, and put into the connection's own bounded queue; one
//! task a connection drains it. `ping` alone is answered on the spot, since it measures time.

mod carrier;
mod connection;
mod events;
mod frame;
mod hub;
mod line;
pub(crate) mod packet;
mod session;
mod websocket;

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use engineioxide::{
    DisconnectReason, Socket, Str,
    config::EngineIoConfig,
    handler::EngineIoHandler,
    service::{EngineIoService, NotFoundService},
};
use serde_json::{Value, json};
use socketioxide_core::parser::{ParseConfig, ParserState};
use tokio::sync::mpsc;
use tower::ServiceExt as _;
use tutti_common::{limits::TokenBucket, status::Reason};

pub(crate) use carrier::Carrier;
pub(crate) use connection::{Connection, Measured};
pub(crate) use events::CLIENT_EVENTS;
pub(crate) use hub::Hub;

use self::{
    events::Fault,
    packet::{ClientEvent, Incoming},
    session::Item,
};
use crate::{Gateway, meters};

/// Events a connection may have waiting. The limit on events keeps it near empty; where that is off, this
/// bounds what a flood can hold.
const QUEUE: usize = 1_024;

/// Packets a connection may have waiting to be sent; one that has more does not read, and is closed.
const OUTBOX: usize = 512;

/// How many events a connection may send at once above the steady rate.
const BURST: u32 = 20;

/// What Engine.IO keeps for us with each session.
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

/// Hears Engine.IO.
struct Sessions {
    gateway: Gateway,
    parse_config: ParseConfig,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions")
    }
}

/// The service at `/socket.io/`.
pub(crate) fn service(
    gateway: &Gateway,
) -> impl tower::Service<Request, Response = Response, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    let settings = &gateway.settings;
    let max = settings.socket_max_payload;
    let config = EngineIoConfig::builder()
        .req_path("/socket.io")
        .ping_interval(settings.socket_ping_interval)
        .ping_timeout(settings.socket_ping_timeout)
        .max_buffer_size(OUTBOX)
        .max_payload(max as u64)
        .ws_max_message_size(max)
        .ws_max_frame_size(max)
        .ws_read_buffer_size(4 * 1024)
        .build();
    let sessions = Sessions {
        gateway: gateway.clone(),
        parse_config: packet::parse_config(max),
    };
    let sessions = Arc::new(sessions);
    let engine =
        EngineIoService::<Sessions, NotFoundService>::with_config(sessions.clone(), config);
    tower::service_fn(move |mut request: Request| {
        let answer = websocket::upgrade(&sessions, &mut request);
        let engine = engine.clone();
        async move {
            match answer {
                Some(answer) => Ok(answer),
                None => Ok(engine.oneshot(request).await?.map(Body::new)),
            }
        }
    })
}

impl Sessions {
    fn hear(&self, incoming: Incoming, carrier: &Carrier) {
        match incoming {
            Incoming::Connect(auth) => queue(Item::Connect(Box::new(auth)), carrier),
            Incoming::Event(event) if carrier.slot().is_connected.load(Ordering::Acquire) => {
                self.hear_event(event, carrier);
            }
            // Nobody has said yet who it is.
            Incoming::Event(_) | Incoming::Garbage => {
                carrier.close(DisconnectReason::PacketParsingError);
            }
            Incoming::WrongNamespace(namespace) => {
                // A full buffer: the client is not reading, and will be closed for it.
                let _ = carrier.send(&packet::wrong_namespace(&namespace));
            }
            Incoming::Disconnect => carrier.close(DisconnectReason::TransportClose),
            Incoming::Nothing => {}
        }
    }

    fn hear_event(&self, event: ClientEvent, carrier: &Carrier) {
        let budget = Budget::of(&event);
        meters::event_in(event.name.as_deref().unwrap_or_default());
        if !self.is_within_budget(budget, carrier) {
            metrics::counter!("tutti_rate_limited_total", "limit" => budget.limit()).increment(1);
            if budget == Budget::Reports && event.ack.is_none() {
                return;
            }
            let fault = Fault::new(Reason::RateLimited, "too many events; slow down");
            return session::refuse(carrier, event.ack, &fault);
        }
        if budget == Budget::Pings {
            self.pong(&event, carrier);
        } else {
            queue(Item::Event(Box::new(event), Instant::now()), carrier);
        }
    }

    fn is_within_budget(&self, budget: Budget, carrier: &Carrier) -> bool {
        let now = self.gateway.clock.now();
        let rates = &self.gateway.settings.rates;
        let mut budgets = carrier
            .slot()
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

    fn pong(&self, event: &ClientEvent, carrier: &Carrier) {
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
        session::send_event(carrier, "pong", &payload);
        meters::ponged(read_at.elapsed());
        session::accept(carrier, event.ack, payload);
    }
}

/// Puts what a connection wants behind what it wanted before.
fn queue(item: Item, carrier: &Carrier) {
    let queue = carrier
        .slot()
        .queue
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let Some(queue) = queue.as_ref() else { return };
    if let Err(mpsc::error::TrySendError::Full(Item::Event(event, _))) = queue.try_send(item) {
        let fault = Fault::new(
            Reason::RateLimited,
            "too many events are waiting; slow down",
        );
        session::refuse(carrier, event.ack, &fault);
    }
}

impl Sessions {
    /// A session begins: from now on it is heard.
    fn begin(&self, carrier: Carrier) {
        let (sender, queue) = mpsc::channel(QUEUE);
        *carrier.slot().queue() = Some(sender);
        let gateway = self.gateway.clone();
        self.gateway
            .shutdown
            .spawn(session::run(gateway, carrier, queue));
    }

    /// A session is over: what it wanted is still done.
    fn end(carrier: &Carrier, reason: &DisconnectReason) {
        tracing::trace!(?reason, "a connection ended");
        // Without a sender the queue is drained and then ends.
        carrier.slot().queue().take();
    }

    fn hear_text(&self, text: Str, carrier: &Carrier) {
        let incoming = packet::decode(&self.parse_config, &carrier.slot().parser, text);
        self.hear(incoming, carrier);
    }

    fn hear_binary(&self, data: Bytes, carrier: &Carrier) {
        let incoming = packet::decode_binary(&self.parse_config, &carrier.slot().parser, data);
        self.hear(incoming, carrier);
    }
}

impl EngineIoHandler for Sessions {
    type Data = Slot;

    fn on_connect(self: Arc<Self>, socket: Arc<Socket<Slot>>) {
        self.begin(Carrier::Engine(socket));
    }

    fn on_disconnect(&self, socket: Arc<Socket<Slot>>, reason: DisconnectReason) {
        Self::end(&Carrier::Engine(socket), &reason);
    }

    fn on_message(self: &Arc<Self>, text: Str, socket: Arc<Socket<Slot>>) {
        self.hear_text(text, &Carrier::Engine(socket));
    }

    fn on_binary(self: &Arc<Self>, data: Bytes, socket: Arc<Socket<Slot>>) {
        self.hear_binary(data, &Carrier::Engine(socket));
    }
}
