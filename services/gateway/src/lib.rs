//! The gateway: connections, the contract's REST and Socket.IO shapes, per-connection limits, static files.
//! It decides no rule and keeps nothing that another gateway would miss.

mod assets;
mod budgets;
mod connections;
mod departures;
mod ended;
mod fanout;
mod fields;
mod health;
mod hosts;
mod https;
mod identity;
mod images;
mod json;
mod meters;
mod origin;
mod presence;
mod rest;
mod sessions;
mod socket;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header::ORIGIN};
use tutti_common::{
    admin::{self, Readiness},
    clock::SharedClock,
    config::Settings,
    http::AllowedHosts,
    ids::ConnectionId,
    limits::{Limiter, TokenBuckets},
    outbound::Outbound,
    redis::Bus,
    rpc::Transport,
    shutdown::Shutdown,
    status::Reason,
    telemetry::LogThrottle,
};
use tutti_proto::{
    auth::auth_service_client::AuthServiceClient,
    friends::friend_service_client::FriendServiceClient,
    rooms::room_service_client::RoomServiceClient,
};

use crate::{
    budgets::Budgets,
    fanout::{Fanout, Feeds},
    identity::Identity,
    images::Images,
    rest::problem::Problem,
    socket::Hub,
};

/// The gateway.
#[derive(Clone)]
pub struct Gateway(Arc<Parts>);

/// How a gateway reaches the rest of Tutti.
#[derive(Clone)]
pub struct Reach {
    /// Accounts and friends.
    pub auth: Transport,
    /// Rooms.
    pub room: Transport,
    /// Where rooms' events are published; without it the room service tells them.
    pub bus: Option<Bus>,
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reach")
    }
}

/// What a gateway is made of.
pub struct Parts {
    /// Made anew each time it starts.
    id: String,
    auth: Transport,
    room: Transport,
    identity: Identity,
    limiter: Arc<dyn Limiter>,
    budgets: Budgets,
    clock: SharedClock,
    settings: Settings,
    shutdown: Shutdown,
    readiness: Readiness,
    hub: Hub,
    fanout: Fanout,
    arrivals: presence::Gathering,
    drops: presence::Gathering,
    departures: departures::Departures,
    /// What is refused is logged now and then.
    foreign_pages: LogThrottle,
    foreign_hosts: LogThrottle,
    hosts: AllowedHosts,
    images: Images,
}

impl std::ops::Deref for Gateway {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateway")
    }
}

/// What the gateway waits for before it can serve, and again whenever it is gone.
const AUTH_SERVICE: &str = "the auth service";
const ROOM_SERVICE: &str = "the room service";

/// What it waits for once.
const SIGNING_KEYS: &str = "signing keys";
const ENDED_SESSIONS: &str = "the sessions that have ended";
const LIVE_STATE: &str = "the live state of rooms";

const NEEDED: [&str; 5] = [
    AUTH_SERVICE,
    ROOM_SERVICE,
    SIGNING_KEYS,
    ENDED_SESSIONS,
    LIVE_STATE,
];

/// How often some connections are let go.
const DRAIN_STEP: Duration = Duration::from_millis(100);

impl Gateway {
    /// A gateway that reaches the rest that way.
    #[must_use]
    pub fn new(
        reach: Reach,
        limiter: Arc<dyn Limiter>,
        buckets: Arc<TokenBuckets>,
        clock: SharedClock,
        settings: Settings,
        readiness: Readiness,
        shutdown: Shutdown,
    ) -> Self {
        for what in NEEDED {
            readiness.wait_for(what);
        }
        let Reach { auth, room, bus } = reach;
        Self(Arc::new(Parts {
            id: ConnectionId::new().to_string(),
            identity: Identity::new(auth.clone(), clock.clone(), settings.access_token_ttl),
            fanout: Fanout::new(
                Feeds::new(room.clone(), bus, clock.clone()),
                clock.clone(),
                shutdown.clone(),
            ),
            hub: Hub::default(),
            arrivals: presence::Gathering::default(),
            drops: presence::Gathering::default(),
            departures: departures::Departures::default(),
            foreign_pages: LogThrottle::default(),
            foreign_hosts: LogThrottle::default(),
            hosts: AllowedHosts::of_origins(settings.allowed_origins.iter().map(String::as_str)),
            images: Images::new(
                Outbound::new(settings.outbound_allow.clone()),
                shutdown.clone(),
            ),
            budgets: Budgets::new(buckets, settings.rates),
            auth,
            room,
            limiter,
            clock,
            settings,
            shutdown,
            readiness,
        }))
    }

    /// All that is served over HTTP.
    pub fn router(&self) -> Router {
        let engine = socket::service(self);
        let engine = Router::new()
            .route_service("/socket.io/", engine.clone())
            .route_service("/socket.io", engine)
            .layer(axum::middleware::from_fn_with_state(
                self.clone(),
                refuse_foreign_pages,
            ))
            .layer(axum::middleware::from_fn_with_state(
                self.clone(),
                refuse_newcomers,
            ));
        // Files only: how long a call took might tell more than its answer does.
        let files =
            assets::routes()
                .fallback(assets::file)
                .layer(axum::middleware::from_fn_with_state(
                    self.clone(),
                    tell_the_time,
                ));
        let router = rest::routes()
            .merge(engine)
            .merge(admin::health_routes(self.readiness.clone()))
            .merge(files)
            .method_not_allowed_fallback(rest::method_not_allowed)
            .with_state(self.clone())
            .layer(axum::middleware::from_fn_with_state(
                self.clone(),
                connections::limit_connections,
            ))
            .layer(axum::middleware::from_fn_with_state(
                self.clone(),
                hosts::refuse_foreign_hosts,
            ));
        let router = if self.settings.allowed_origins.is_empty() {
            router
        } else {
            router.layer(rest::cors(&self.settings.allowed_origins))
        };
        router.layer(axum::middleware::from_fn_with_state(
            self.clone(),
            https::stay_on_tls,
        ))
    }

    /// Says that connections are alive, hears of ended sessions and looks whether the other services answer, until the end;
    /// then lets all connections go, so that their clients find another gateway.
    pub async fn run(self) {
        tokio::join!(
            presence::renew(&self),
            sessions::keep_up(&self),
            health::watch(&self)
        );
        self.hub.close_all();
    }

    /// Lets the connections go, a few at a time over `DRAIN_TIME`, so that those who come back to other gateways do
    /// not come all at once. What they asked for is still done.
    pub async fn drain(&self) {
        let over = self.settings.drain_time;
        let steps = over.as_millis().div_ceil(DRAIN_STEP.as_millis());
        let connections = self.hub.all();
        if steps == 0 || connections.is_empty() {
            return;
        }
        tracing::info!(
            connections = connections.len(),
            ?over,
            "letting connections go"
        );
        metrics::gauge!("tutti_gateway_draining").set(1.0);
        let batch = connections
            .len()
            .div_ceil(usize::try_from(steps).unwrap_or(usize::MAX));
        let mut step = tokio::time::interval(DRAIN_STEP);
        for some in connections.chunks(batch) {
            step.tick().await;
            for connection in some {
                connection.close();
            }
        }
    }

    fn auth(&self) -> AuthServiceClient<Transport> {
        AuthServiceClient::new(self.auth.clone())
    }

    fn friends(&self) -> FriendServiceClient<Transport> {
        FriendServiceClient::new(self.auth.clone())
    }

    fn rooms(&self) -> RoomServiceClient<Transport> {
        RoomServiceClient::new(self.room.clone())
    }
}

/// Says in `Server-Timing` when a file was asked for and when it went, in Unix milliseconds: to a page, which sees when it
/// asked and when that arrived, each file tells the time as a `ping` does. An allowed page elsewhere sees it as well.
async fn tell_the_time(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let received_ms = gateway.clock.precise_ms();
    let headers = request.headers();
    let page = headers
        .get(ORIGIN)
        .filter(|_| origin::is_allowed(headers, &gateway.settings.allowed_origins))
        .cloned();
    let mut response = next.run(request).await;
    let sent_ms = gateway.clock.precise_ms();
    let times = format!("received;desc=\"{received_ms:.3}\", sent;desc=\"{sent_ms:.3}\"");
    if let Ok(times) = HeaderValue::from_str(&times) {
        let name = HeaderName::from_static("server-timing");
        response.headers_mut().insert(name, times);
    }
    if let Some(page) = page {
        let name = HeaderName::from_static("timing-allow-origin");
        response.headers_mut().insert(name, page);
    }
    response
}

/// Refuses new sockets while the connections here are let go: a balancer that has not noticed yet would only
/// have them moved twice.
async fn refuse_newcomers(
    State(gateway): State<Gateway>,
    request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let is_new = !query.split('&').any(|pair| pair.starts_with("sid="));
    if is_new && gateway.readiness.is_ending() {
        Problem::unavailable("this gateway is ending; try again").into_response()
    } else {
        next.run(request).await
    }
}

/// Refuses sockets of pages that are not ours: browsers let any page open a WebSocket anywhere.
async fn refuse_foreign_pages(
    State(gateway): State<Gateway>,
    request: Request,
    next: Next,
) -> Response {
    if origin::is_allowed(request.headers(), &gateway.settings.allowed_origins) {
        next.run(request).await
    } else {
        let detail = origin::why_refused(request.headers());
        if let Some(others) = gateway.foreign_pages.due() {
            tracing::warn!(others, "{detail}");
        }
        Problem::new(StatusCode::FORBIDDEN, Reason::Forbidden, detail).into_response()
    }
}
