//! Who is let in, and that what was begun is finished.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use futures_util::future::BoxFuture;
use http::{Request, Response, header::AUTHORIZATION};
use tokio_util::sync::CancellationToken;
use tonic::{Code, body::Body};
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::{CALLER, ServiceKeys, answer_by, connection::Connection, patience};
use crate::{
    clock::SharedClock,
    shutdown::Shutdown,
    status::{Reason, error},
    telemetry,
};

/// Lets in whoever has a service key with a scope for the call, and finishes what it let in: a call runs in a task of its own, so
/// that a caller who goes away does not cut a transaction in two. The call can ask [`caller_gone`](super::caller_gone).
#[derive(Clone)]
pub struct GuardLayer {
    keys: ServiceKeys,
    clock: SharedClock,
    shutdown: Shutdown,
    connection: Option<Connection>,
}

impl GuardLayer {
    /// Callers give up at a time of `clock`; calls are tracked by `shutdown`.
    #[must_use]
    pub fn new(keys: ServiceKeys, clock: SharedClock, shutdown: Shutdown) -> Self {
        Self {
            keys,
            clock,
            shutdown,
            connection: None,
        }
    }

    /// The same for the calls of one connection, which is told that it is of use.
    pub(super) fn on(&self, connection: &Connection) -> Self {
        Self {
            connection: Some(connection.clone()),
            ..self.clone()
        }
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
#[derive(Clone)]
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
        let mut given = request.headers().get_all(AUTHORIZATION).iter();
        let caller = match (given.next(), given.next()) {
            (Some(value), None) => value
                .as_bytes()
                .strip_prefix(b"Bearer ")
                .and_then(|key| self.layer.keys.find(key)),
            // Of two, who is between here and the caller might have looked at the other one.
            (None, _) | (Some(_), Some(_)) => None,
        };
        if !public && caller.is_none() {
            let refusal = error(
                Code::Unauthenticated,
                Reason::AuthRequired,
                "a service key is required",
            );
            return Box::pin(std::future::ready(Ok(refusal.into_http())));
        }
        let under_way = match &self.layer.connection {
            Some(connection) if caller.is_some() => Some(connection.begin_call()),
            Some(_) | None => None,
        };
        let path = request.uri().path();
        if let Some(caller) = caller
            && !public
            && !caller.may_call(path)
        {
            tracing::warn!(
                caller = caller.name,
                call = path,
                "a service key has no such scope"
            );
            let refusal = error(
                Code::PermissionDenied,
                Reason::Forbidden,
                "the service key has no scope for this call",
            );
            return Box::pin(std::future::ready(Ok(refusal.into_http())));
        }
        // The clone takes the place of the service that was polled ready.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let span = tracing::info_span!(
            "rpc",
            otel.name = path,
            otel.kind = "server",
            caller = caller.map(|caller| caller.name.as_str())
        );
        telemetry::continue_trace(&span, request.headers());
        let (answer, answered) = tokio::sync::oneshot::channel();
        let left = patience(request.headers(), self.layer.clock.now());
        let by = left.and_then(|left| Instant::now().checked_add(left));
        let work = async move {
            // Nobody waits any more: what was begun is finished all the same.
            let _ = answer.send(inner.call(request).await);
        };
        let gone = CancellationToken::new();
        let waits = gone.clone().drop_guard();
        let work = CALLER.scope(gone, work.instrument(span));
        match by {
            Some(by) => self.layer.shutdown.spawn(answer_by(by, work)),
            None => self.layer.shutdown.spawn(work),
        }
        Box::pin(async move {
            // Dropped with this future when the caller goes away.
            let _waits = waits;
            let answer = answered.await.unwrap_or_else(|_| {
                let gone = error(
                    Code::Unavailable,
                    Reason::Unavailable,
                    "the service is ending",
                );
                Ok(gone.into_http())
            })?;
            Ok(match under_way {
                Some(call) => call.until_answered(answer),
                None => answer,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc, time::Duration};

    use futures_util::poll;
    use http::{Request, Response};
    use tokio::sync::mpsc;
    use tonic::{Code, Status, body::Body};
    use tower::{Layer as _, ServiceExt as _, service_fn};

    use super::GuardLayer;
    use crate::{
        clock::SystemClock,
        rpc::{ServiceKeys, caller_gone},
        shutdown::Shutdown,
    };

    #[tokio::test]
    async fn two_keys_are_as_good_as_none() {
        let serve = service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let keys = ServiceKeys::parse("ann:key-of-ann,ben:key-of-ben").unwrap();
        let guard = GuardLayer::new(keys, Arc::new(SystemClock), Shutdown::new());
        let code = async |values: &[&str]| {
            let mut request = Request::builder().uri("/tutti.rooms.v1.RoomService/GetRoom");
            for value in values {
                request = request.header("authorization", *value);
            }
            let call = guard
                .layer(serve)
                .oneshot(request.body(Body::empty()).unwrap());
            let Ok(answer) = call.await;
            Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code())
        };
        let (ann, ben) = ("Bearer key-of-ann", "Bearer key-of-ben");
        assert_eq!(code(&[ann]).await, Code::Ok);
        for given in [&[][..], &[ann, ben], &[ann, ann], &[ann, "Bearer nonsense"]] {
            assert_eq!(code(given).await, Code::Unauthenticated, "{given:?}");
        }
    }

    #[tokio::test]
    async fn a_call_hears_that_its_caller_has_gone_and_is_finished() {
        let (say, mut said) = mpsc::unbounded_channel();
        let serve = service_fn(move |_: Request<Body>| {
            let say = say.clone();
            async move {
                say.send("begun").unwrap();
                caller_gone().await;
                tokio::task::yield_now().await;
                say.send("finished").unwrap();
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        let shutdown = Shutdown::new();
        let guard = GuardLayer::new(
            ServiceKeys::ephemeral(),
            Arc::new(SystemClock),
            shutdown.clone(),
        );
        let request = Request::builder().uri("/grpc.public").body(Body::empty());
        let mut call = Box::pin(guard.layer(serve).oneshot(request.unwrap()));
        assert!(poll!(call.as_mut()).is_pending());
        assert_eq!(said.recv().await, Some("begun"));
        assert!(said.try_recv().is_err(), "somebody waits");
        drop(call);
        let finished = tokio::time::timeout(Duration::from_secs(30), said.recv());
        assert_eq!(finished.await, Ok(Some("finished")));
        assert!(shutdown.finish(Duration::from_secs(5)).await);
    }
}
