//! Calling and serving gRPC. A service is a layered tower service: split, tonic serves it over TCP and a
//! client dials it; standalone, the client's transport *is* the service.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Status,
    body::Body,
    service::Routes,
    transport::{Endpoint, Server, Uri},
};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};
use tracing::Instrument as _;

use crate::{
    config::Secret,
    shutdown::Shutdown,
    status::{Reason, error},
    telemetry,
};

/// What a client calls through: a TCP channel or the service itself.
pub type Transport = BoxCloneSyncService<Request<Body>, Response<Body>, Status>;

/// How long a call may take, connecting included. The contract answers `UNAVAILABLE` within 2 s.
pub const DEADLINE: Duration = Duration::from_millis(1_800);

/// How long a call may take that hashes a password. That is slow on purpose, and a crowd that logs in at
/// once waits its turn: a part that is busy is not one that does not answer.
pub const HASHING_DEADLINE: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// See [`answer_by`].
    static ANSWER_BY: Instant;
}

/// Does something that is to be answered by then: no call it makes waits for longer, however many there are or
/// however long it had to wait for its turn. Those that hash a password have their own time.
pub async fn answer_by<T>(by: Instant, what: impl Future<Output = T>) -> T {
    ANSWER_BY.scope(by, what).await
}

/// The calls that hash a password.
const HASHING: [&str; 2] = [
    "/tutti.auth.v1.AuthService/Register",
    "/tutti.auth.v1.AuthService/Login",
];

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The keys by which callers name themselves: `gateway:…,ops:…`. Two keys of one name allow rotation.
#[derive(Clone, Debug)]
pub struct ServiceKeys(Arc<[(String, Secret)]>);

impl ServiceKeys {
    /// Reads `name:key,name:key`.
    ///
    /// # Errors
    /// Says what is wrong; never repeats a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keys = text
            .split(',')
            .map(|pair| match pair.trim().split_once(':') {
                Some((name, key)) if !name.is_empty() && key.len() >= 8 => {
                    Ok((name.to_owned(), Secret::new(key)))
                }
                Some((name, _)) if !name.is_empty() => {
                    Err(format!("the key of {name} needs at least 8 characters"))
                }
                _ => Err("expected name:key,name:key".to_owned()),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self(keys.into()))
    }

    /// One key for the parts of one process, made anew each time it starts.
    #[must_use]
    pub fn ephemeral() -> Self {
        let key = format!(
            "{}{}",
            uuid::Uuid::new_v4().simple(),
            uuid::Uuid::new_v4().simple()
        );
        Self([("standalone".to_owned(), Secret::new(&key))].into())
    }

    /// The key that the part `name` calls with: its own, or the first.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<Secret> {
        self.0
            .iter()
            .find(|(owner, _)| owner == name)
            .or_else(|| self.0.first())
            .map(|(_, key)| key.clone())
    }

    /// Whose key it is. Every key is compared, each in constant time.
    fn owner(&self, presented: &[u8]) -> Option<&str> {
        self.0.iter().fold(None, |found, (name, key)| {
            let same: bool = key.expose().as_bytes().ct_eq(presented).into();
            if same { Some(name.as_str()) } else { found }
        })
    }
}

/// Lets in whoever has a service key, and finishes what it let in: a call runs in a task of its own, so
/// that a caller who goes away does not cut a transaction in two.
#[derive(Clone, Debug)]
pub struct GuardLayer {
    keys: ServiceKeys,
    shutdown: Shutdown,
}

impl GuardLayer {
    /// Calls are tracked by `shutdown`.
    #[must_use]
    pub fn new(keys: ServiceKeys, shutdown: Shutdown) -> Self {
        Self { keys, shutdown }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard {
            inner,
            layer: self.clone(),
        }
    }
}

/// See [`GuardLayer`].
#[derive(Clone, Debug)]
pub struct Guard<S> {
    inner: S,
    layer: GuardLayer,
}

impl<S, B> Service<Request<B>> for Guard<S>
where
    S: Service<Request<B>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Health and reflection tell nothing that the .proto files do not.
        let public = request.uri().path().starts_with("/grpc.");
        let caller = request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
            .and_then(|key| self.layer.keys.owner(key));
        if !public && caller.is_none() {
            let refusal = error(
                Code::Unauthenticated,
                Reason::AuthRequired,
                "a service key is required",
            );
            return Box::pin(std::future::ready(Ok(refusal.into_http())));
        }
        // The clone takes the place of the service that was polled ready.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let span = tracing::info_span!(
            "rpc",
            otel.name = request.uri().path(),
            otel.kind = "server",
            caller
        );
        telemetry::continue_trace(&span, request.headers());
        let (answer, answered) = tokio::sync::oneshot::channel();
        let work = async move {
            // Nobody waits any more: the work is done all the same.
            let _ = answer.send(inner.call(request).await);
        };
        self.layer.shutdown.spawn(work.instrument(span));
        Box::pin(async move {
            answered.await.unwrap_or_else(|_| {
                let gone = error(
                    Code::Unavailable,
                    Reason::Unavailable,
                    "the service is ending",
                );
                Ok(gone.into_http())
            })
        })
    }
}

/// The service itself as a transport, behind the same guard as over TCP.
#[must_use]
pub fn in_process(routes: Routes, guard: &GuardLayer) -> Transport {
    let service = guard.layer(routes.prepare());
    BoxCloneSyncService::new(ServiceExt::<Request<Body>>::map_err(
        service,
        |never: Infallible| match never {},
    ))
}

/// A transport that dials `uri` when it is first needed, and again when the line breaks.
#[must_use]
pub fn dial(uri: Uri) -> Transport {
    let channel = Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .connect_lazy();
    BoxCloneSyncService::new(channel.map_err(|error| Status::from_error(Box::new(error))))
}

/// Names the caller and gives every call a deadline.
#[must_use]
pub fn as_caller(transport: Transport, key: &Secret) -> Transport {
    let bearer = HeaderValue::try_from(format!("Bearer {}", key.expose()))
        .map(|mut value| {
            value.set_sensitive(true);
            value
        })
        .ok();
    BoxCloneSyncService::new(tower::service_fn(move |mut request: Request<Body>| {
        if let Some(bearer) = bearer.clone() {
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let method = request.uri().path().to_owned();
        let span = tracing::info_span!("call", otel.name = %method, otel.kind = "client");
        telemetry::pass_trace_on(&span, request.headers_mut());
        let begun = Instant::now();
        let deadline = if HASHING.contains(&method.as_str()) {
            begun + HASHING_DEADLINE
        } else {
            let by = ANSWER_BY.try_with(|&by| by);
            by.unwrap_or(begun + DEADLINE).min(begun + DEADLINE)
        };
        let call = transport.clone().oneshot(request);
        let call = async move {
            // A stream is held to it until it begins; then it lives as long as it is wanted.
            let answer = match tokio::time::timeout_at(deadline.into(), call).await {
                Ok(answer) => answer,
                Err(_) => Err(Status::deadline_exceeded("no answer in time")),
            };
            metrics::histogram!("tutti_rpc_seconds", "method" => method).record(begun.elapsed());
            answer
        };
        call.instrument(span)
    }))
}

/// Adds reflection and `grpc.health.v1` to a service's routes. Health says serving from now on.
///
/// # Errors
/// When the descriptors do not describe themselves, which a build would have caught.
pub async fn with_reflection_and_health(
    routes: Routes,
    services: &[&'static str],
) -> Result<(Routes, tonic_health::server::HealthReporter), tonic_reflection::server::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    for service in services {
        reporter
            .set_service_status(*service, tonic_health::ServingStatus::Serving)
            .await;
    }
    let describe = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tutti_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = routes
        .add_service(health)
        .add_service(describe().build_v1()?)
        // grpcurl before 1.9 asks for v1alpha.
        .add_service(describe().build_v1alpha()?);
    Ok((routes, reporter))
}

/// Serves until the end is asked for and what was begun is finished.
pub async fn serve(listener: TcpListener, routes: Routes, guard: GuardLayer, shutdown: Shutdown) {
    let connections = TcpListenerStream::new(listener);
    let ending = shutdown.clone();
    let served = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .layer(guard)
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections, async move { ending.ending().await })
        .await;
    if let Err(source) = served {
        tracing::error!(
            error = &source as &dyn std::error::Error,
            "gRPC server failed"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use http::{Request, Response};
    use tonic::{Code, Status, body::Body};
    use tower::{ServiceExt as _, service_fn, util::BoxCloneSyncService};

    use super::{DEADLINE, ServiceKeys, answer_by, as_caller};
    use crate::config::Secret;

    #[tokio::test]
    async fn no_call_outlasts_what_it_is_made_for() {
        let never = service_fn(|_| std::future::pending::<Result<Response<Body>, Status>>());
        let caller = as_caller(BoxCloneSyncService::new(never), &Secret::new("key"));
        let call = || caller.clone().oneshot(Request::new(Body::empty()));
        let begun = Instant::now();
        let status = answer_by(begun + Duration::from_millis(20), async {
            // The first call takes all the time there is: nothing is left for the second.
            call().await.unwrap_err();
            call().await.unwrap_err()
        });
        assert_eq!(status.await.code(), Code::DeadlineExceeded);
        assert!(begun.elapsed() < DEADLINE);
    }

    #[test]
    fn a_key_names_its_owner_and_two_keys_of_one_name_both_hold() {
        let keys = ServiceKeys::parse("gateway:old-old-old, gateway:new-new-new,ops:secret-secret")
            .unwrap();
        assert_eq!(keys.owner(b"old-old-old"), Some("gateway"));
        assert_eq!(keys.owner(b"new-new-new"), Some("gateway"));
        assert_eq!(keys.owner(b"secret-secret"), Some("ops"));
        assert_eq!(keys.owner(b"secret-secre"), None);
        assert_eq!(keys.owner(b""), None);
        assert_eq!(keys.of("ops").unwrap().expose(), "secret-secret");
        assert_eq!(keys.of("room").unwrap().expose(), "old-old-old");
    }

    #[test]
    fn bad_keys_are_refused_without_repeating_them() {
        for text in ["", "gateway", ":12345678", "gateway:short"] {
            let message = ServiceKeys::parse(text).unwrap_err();
            assert!(!message.contains("short\""), "{message}");
        }
        assert!(!format!("{:?}", ServiceKeys::parse("a:12345678")).contains("12345678"));
    }
}
