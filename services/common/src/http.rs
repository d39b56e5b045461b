//! Serving HTTP/1.1 with what `axum::serve` lacks: no Nagle delay, deadlines for whatever a client sends or reads, limits
//! for connections, an end that does not wait for idle ones.

mod body;
mod connections;
mod hosts;

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use http::{HeaderValue, StatusCode, header::X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::ServiceExt as _;

use self::body::TimedBody;
pub use self::{
    body::BodyError,
    connections::{ConnectionLimiter, ConnectionPermit, TooManyConnections},
    hosts::{AllowedHosts, BadHost, requested_host},
};
use crate::{shutdown::Shutdown, telemetry::LogThrottle};

/// How long a client may take to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// After how long without progress a body, or an answer that is not read, ends its connection.
const STALLED: Duration = Duration::from_secs(10);

/// A request's head may be this large; browsers send some 2 KiB, and a token may stand in the address.
const MAX_HEAD: usize = 32 * 1024;

/// How long the server waits after it could not accept a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// How long those who come wait for somebody to leave, where there are as many connections as there may be.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// How many of those who are refused are told why at the same time, and for how long.
const TOLD: usize = 32;
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// How long those who are refused should wait.
pub const RETRY_AFTER: Duration = STALLED;

/// By what a server counts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountBy {
    /// By whoever is at the other end.
    Peer,
    /// Proxies are at the other end: [`ConnectionPermit::for_client`] counts for their clients.
    Client,
}

/// Serves until the end is asked for. Connections that were upgraded are their owner's to end. Each request carries the
/// [`ConnectionPermit`] of its connection in its extensions.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections: ConnectionLimiter,
    count_by: CountBy,
    shutdown: Shutdown,
) {
    let cannot_accept = LogThrottle::default();
    let told = Arc::new(Semaphore::new(TOLD));
    let mut is_full = false;
    loop {
        // While a crowd arrives, many connections are there for a moment only: the next ones wait in the system's queue. Where
        // nobody leaves, they are told so.
        if !is_full {
            let room = tokio::time::timeout(ROOM_WITHIN, connections.has_room());
            is_full = room.await.is_err();
        }
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(source) => {
                    // Out of file descriptors, or the peer is gone already: the listener itself is sound.
                    if let Some(others) = cannot_accept.due() {
                        tracing::warn!(error = &source as &dyn std::error::Error, others, "cannot accept a connection");
                    }
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            },
            () = shutdown.ending() => break,
        };
        let client = (count_by == CountBy::Peer).then(|| peer.ip());
        let permit = match connections.admit(client) {
            Ok(permit) => {
                is_full = false;
                permit
            }
            Err(error) => {
                if let Ok(place) = told.clone().try_acquire_owned() {
                    shutdown.spawn(async move {
                        let _ = tokio::time::timeout(TOLD_WITHIN, tell(stream, error)).await;
                        drop(place);
                    });
                }
                continue;
            }
        };
        if let Err(source) = stream
            .set_nodelay(true)
            .and_then(|()| set_deadline(&stream, STALLED))
        {
            tracing::debug!(
                error = &source as &dyn std::error::Error,
                "connection is gone"
            );
            continue;
        }
        let of_requests = permit.clone();
        let service = router
            .clone()
            .map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
                let extensions = request.extensions_mut();
                extensions.insert(ConnectInfo::<SocketAddr>(peer));
                extensions.insert(of_requests.clone());
                request.map(|body| axum::body::Body::new(TimedBody::new(body)))
            })
            .map_response(never_sniffed);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
            .with_upgrades();
        let ending = shutdown.clone();
        shutdown.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = ending.ending() => {
                    // The request under way is answered; then the line is closed.
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(source) = ended {
                tracing::debug!(
                    error = &source as &dyn std::error::Error,
                    "connection ended"
                );
            }
            drop(permit);
        });
    }
}

/// Takes the deadline for answers off a connection that was upgraded: its owner has rules of its own.
pub fn lift_deadline(stream: &TcpStream) {
    if let Err(source) = set_deadline(stream, Duration::ZERO) {
        tracing::debug!(
            error = &source as &dyn std::error::Error,
            "connection is gone"
        );
    }
}

/// Lets the system end the connection where what was sent is not taken for that long; zero for the system's own patience.
/// The system sees every byte that the other end takes. A process would see only that its buffer, which may hold
/// megabytes, has become a third emptier, and could not tell somebody who reads slowly from somebody who does not read.
#[cfg(target_os = "linux")]
fn set_deadline(stream: &TcpStream, within: Duration) -> std::io::Result<()> {
    let ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, ms)?)
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
fn set_deadline(_: &TcpStream, _: Duration) -> std::io::Result<()> {
    Ok(())
}

/// Browsers must not take an answer for anything but what it says it is.
fn never_sniffed<B>(mut response: http::Response<B>) -> http::Response<B> {
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Tells somebody who is refused why, before anything was read.
async fn tell(mut stream: TcpStream, error: TooManyConnections) -> std::io::Result<()> {
    let (status, code) = match error {
        TooManyConnections::InProcess => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        TooManyConnections::OfAddress => (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED"),
    };
    let title = status.canonical_reason().unwrap_or_default();
    let body = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{},"detail":"{error}","code":"{code}"}}"#,
        status.as_u16()
    );
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\nx-content-type-options: nosniff\r\nretry-after: \
         {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        RETRY_AFTER.as_secs(),
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Closed with something unread, the connection would be reset, and the answer might be lost.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
