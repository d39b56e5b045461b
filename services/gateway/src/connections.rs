//! How many connections a client may have, where the server that took the connection could not tell: behind a proxy, and for
//! sessions that live longer than the request that opened them. See [`ConnectionLimiter`](tutti_common::http::ConnectionLimiter).

use std::net::SocketAddr;

use axum::{
    body::HttpBody as _,
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use tutti_common::{
    http::{ConnectionPermit, TooManyConnections},
    status::Reason,
};

use crate::{Gateway, origin, rest::problem::Problem, socket};

/// What the system's own buffer is sure to take at once, in bytes: whoever asked for that much keeps nobody waiting.
const SENT_AT_ONCE: u64 = 16 * 1024;

/// Counts a request as a connection of its client, and finds it too many. Whatever outlives the request (a session of
/// Socket.IO) takes the [`ConnectionPermit`] out of its extensions and keeps it.
pub(crate) async fn limit_connections(
    State(gateway): State<Gateway>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(connection) = request.extensions().get::<ConnectionPermit>().cloned() else {
        return next.run(request).await;
    };
    let settings = &gateway.settings;
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let Some(&ConnectInfo(peer)) = peer else {
        return next.run(request).await;
    };
    let client =
        origin::client_address(request.headers(), peer, settings.proxies_before(peer.ip()));
    let permit = if socket::opens_polled_session(&request) {
        connection.for_session(client)
    } else if settings.trusted_proxies > 0 {
        connection.for_client(client)
    } else {
        // Counted when it was accepted.
        return next.run(request).await;
    };
    let permit = match permit {
        Ok(permit) => permit,
        Err(error) => return refuse(error),
    };
    request.extensions_mut().insert(permit.clone());
    let response = next.run(request).await;
    if response
        .body()
        .size_hint()
        .exact()
        .is_none_or(|size| size > SENT_AT_ONCE)
    {
        permit.hold_while_sent();
    }
    response
}

fn refuse(error: TooManyConnections) -> Response {
    let problem = match error {
        TooManyConnections::InProcess => Problem::unavailable(error.to_string()),
        TooManyConnections::OfAddress => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            Reason::RateLimited,
            error.to_string(),
        ),
    };
    problem
        .retry_after(tutti_common::http::RETRY_AFTER)
        .into_response()
}
