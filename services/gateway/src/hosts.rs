//! Which names this server answers to, and what it says where it is called by another one. See [`AllowedHosts`](tutti_common::http::AllowedHosts).

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, Method, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
};
use tutti_common::{http::requested_host, status::Reason};

use crate::{Gateway, origin::printable, rest::problem::Problem};

/// What balancers and supervisors ask, who call a process by whatever name or address they know. It tells nothing.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

/// The page for people. Nothing but itself can be loaded from where it is shown.
const PAGE: &str = include_str!("hosts.html");
const PAGE_SECURITY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Refuses requests that are for another host.
pub(crate) async fn refuse_foreign_hosts(
    State(gateway): State<Gateway>,
    request: Request,
    next: Next,
) -> Response {
    if HEALTH.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let host = match requested_host(&request) {
        Ok(None) => return next.run(request).await,
        Ok(Some(host)) if gateway.hosts.allow(&host) => return next.run(request).await,
        Ok(Some(host)) => host,
        Err(bad) => return Problem::unreadable(bad.to_string()).into_response(),
    };
    let host = printable(host.as_str());
    let detail = format!(
        "this server does not answer to the name {host}. If it is its name, whoever runs it has to set PUBLIC_URL to \
         the address that people open, or to name it in ALLOWED_ORIGINS"
    );
    if let Some(others) = gateway.foreign_hosts.due() {
        tracing::warn!(others, "refused a request: {detail}");
    }
    if wants_a_page(&request) {
        page(&host)
    } else {
        Problem::new(StatusCode::MISDIRECTED_REQUEST, Reason::Forbidden, detail).into_response()
    }
}

fn wants_a_page(request: &Request) -> bool {
    let accepts_html = |headers: &HeaderMap| {
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/html"))
    };
    matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.uri().path().starts_with("/api/")
        && accepts_html(request.headers())
}

fn page(host: &str) -> Response {
    let host = host
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;");
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, PAGE_SECURITY),
        (CACHE_CONTROL, "no-store"),
    ];
    let body = Body::from(PAGE.replace("{host}", &host));
    (StatusCode::MISDIRECTED_REQUEST, headers, body).into_response()
}
