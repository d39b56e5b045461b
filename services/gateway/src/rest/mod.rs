//! The contract's REST calls: decode, call, encode.

mod accounts;
mod friends;
mod images;
pub(crate) mod problem;
mod request;
mod rooms;

use std::time::Instant;

use axum::{
    Json, Router,
    extract::{MatchedPath, Request},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde_json::Value;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument as _;
use tutti_common::{rpc, status::Reason, telemetry};

use self::problem::Problem;
use crate::{Gateway, meters};

/// What a handler answers.
type Answer = Result<Response, Problem>;

#[expect(clippy::unnecessary_wraps, reason = "the shape of an answer")]
fn ok(body: Value) -> Answer {
    Ok(Json(body).into_response())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of an answer")]
fn created(body: Value) -> Answer {
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of an answer")]
fn no_content() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Every REST call.
pub(crate) fn routes() -> Router<Gateway> {
    let api = Router::new()
        .route("/auth/register", post(accounts::register))
        .route("/auth/login", post(accounts::login))
        .route("/auth/refresh", post(accounts::refresh))
        .route("/auth/logout", post(accounts::logout))
        .route("/auth/me", get(accounts::me))
        .route("/auth/username", post(accounts::set_username))
        .route(
            "/friends/search",
            get(friends::search).post(friends::search),
        )
        .route("/friends/request", post(friends::send_request))
        .route("/friends/accept", post(friends::accept))
        .route("/friends/reject", post(friends::reject))
        .route("/friends/requests", get(friends::list_requests))
        .route("/friends/requests/{request_id}", delete(friends::withdraw))
        .route("/friends", get(friends::list))
        .route("/friends/{friend_id}", delete(friends::remove))
        .route("/rooms", get(rooms::list))
        .route("/rooms/create", post(rooms::create))
        .route("/rooms/join", post(rooms::join))
        .route("/rooms/{room_id}/leave", post(rooms::leave))
        .route("/rooms/{room_id}/members", get(rooms::members))
        .route("/rooms/{room_id}", get(rooms::show).delete(rooms::close))
        .route("/images", get(images::show))
        .layer(axum::middleware::from_fn(traced_and_never_cached));
    Router::new()
        .nest("/api/v1", api)
        .route("/.well-known/jwks.json", get(accounts::jwks))
}

/// One span a call, going on with the browser's trace where it has one. Answers are somebody's own, and are not kept unless they
/// say so.
async fn traced_and_never_cached(
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    // The route and not the address, which may hold ids.
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let span = tracing::info_span!(
        "http",
        otel.name = format!("{} {route}", request.method()),
        otel.kind = "server",
        http.response.status_code = tracing::field::Empty,
    );
    telemetry::continue_trace(&span, request.headers());
    let begun = Instant::now();
    let route = route.to_owned();
    let answer = rpc::answer_by(begun + rpc::DEADLINE, next.run(request));
    let mut response = answer.instrument(span.clone()).await;
    meters::answered(route, response.status(), begun.elapsed());
    span.record("http.response.status_code", response.status().as_u16());
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// What is at no address of ours.
pub(crate) fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        Reason::NotFound,
        "there is nothing here",
    )
}

/// A method that an address does not take; the router adds `Allow`.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        Reason::InvalidRequest,
        "this address does not take that method",
    )
}

/// Lets pages of the allowed origins read answers.
pub(crate) fn cors(allowed_origins: &[String]) -> CorsLayer {
    let origins = allowed_origins
        .iter()
        .filter_map(|origin| origin.parse().ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers([header::RETRY_AFTER])
        .max_age(std::time::Duration::from_hours(1))
}
