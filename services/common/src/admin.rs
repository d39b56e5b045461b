//! The admin address of a process: `/metrics`, `/healthz`, `/readyz`.

use axum::{
    Router,
    extract::{RawQuery, Request},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::Next,
    response::IntoResponse,
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

use crate::{
    http::{AllowedHosts, requested_host},
    sql,
};

/// What a process waits for: before it can serve at all, or because something it needs is gone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(watch::Sender<Vec<&'static str>>);

/// What a process waits for that was told to end: nobody is to send it anything new.
const THE_END: &str = "its end";

impl Readiness {
    /// Waits for `what` from now on, until it is there.
    pub fn wait_for(&self, what: &'static str) {
        self.0.send_if_modified(|missing| {
            let is_new = !missing.contains(&what);
            if is_new {
                tracing::info!("not ready: waiting for {what}");
                missing.push(what);
            }
            is_new
        });
    }

    /// `what` is there.
    pub fn have(&self, what: &'static str) {
        self.0.send_if_modified(|missing| {
            let before = missing.len();
            missing.retain(|&waiting| waiting != what);
            if missing.len() < before && missing.is_empty() {
                tracing::info!("ready");
            }
            missing.len() < before
        });
    }

    /// The process was told to end and is not ready again.
    pub fn end(&self) {
        self.wait_for(THE_END);
    }

    /// Whether the process was told to end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.0.borrow().contains(&THE_END)
    }

    /// What is missing; empty means ready.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.0.borrow().clone()
    }

    /// Resolves when `what` is there.
    pub async fn had(&self, what: &'static str) {
        // The sender is here: the channel is open.
        let _ = self
            .0
            .subscribe()
            .wait_for(|missing| !missing.contains(&what))
            .await;
    }

    /// Resolves when nothing is missing.
    pub async fn ready(&self) {
        // The sender is here: the channel is open.
        let _ = self.0.subscribe().wait_for(Vec::is_empty).await;
    }
}

/// What may be left out of an answer of `/readyz`, as `?exclude=` names it.
const EXCLUDABLE: [(&str, &str); 1] = [("writes", sql::WRITES)];

/// `/healthz` and `/readyz`.
///
/// `/readyz?exclude=writes` does not mind a database that takes no writes. It refuses them from all processes at once:
/// to take those out that can still do everything else helps nobody.
pub fn health_routes<S: Clone + Send + Sync + 'static>(readiness: Readiness) -> Router<S> {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move |RawQuery(query): RawQuery| {
                let missing = missing_but_excluded(&readiness, query.as_deref());
                async move {
                    if missing.is_empty() {
                        (StatusCode::OK, "ready\n".to_owned())
                    } else {
                        let waiting = format!("waiting for {}\n", missing.join(", "));
                        (StatusCode::SERVICE_UNAVAILABLE, waiting)
                    }
                }
            }),
        )
}

fn missing_but_excluded(readiness: &Readiness, query: Option<&str>) -> Vec<&'static str> {
    let asked = |name| {
        let mut pairs = query.unwrap_or_default().split('&');
        pairs.any(|pair| pair.strip_prefix("exclude=") == Some(name))
    };
    let mut missing = readiness.missing();
    for (name, what) in EXCLUDABLE {
        if asked(name) {
            missing.retain(|&waiting| waiting != what);
        }
    }
    missing
}

/// For an admin address that only this machine can reach: what a browser on this machine is made to ask under another name
/// (see [`AllowedHosts`]) is refused.
pub fn for_this_machine(router: Router) -> Router {
    let is_ours = |host: &_| AllowedHosts::default().allow(host);
    router.layer(axum::middleware::from_fn(
        move |request: Request, next: Next| async move {
            match requested_host(&request) {
                Ok(host) if host.as_ref().is_none_or(is_ours) => next.run(request).await,
                _ => StatusCode::MISDIRECTED_REQUEST.into_response(),
            }
        },
    ))
}

/// Everything the admin address serves.
pub fn router(readiness: Readiness, metrics: PrometheusHandle) -> Router {
    health_routes(readiness).route(
        "/metrics",
        get(move || {
            metrics.run_upkeep();
            let body = metrics.render();
            async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], body).into_response() }
        }),
    )
}
