//! Serving HTTP/1.1 with what `axum::serve` lacks: no Nagle delay, a deadline for headers, an end that
//! does not wait for idle connections.

use std::{net::SocketAddr, pin::pin, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use crate::shutdown::Shutdown;

/// How long a client may take to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A request's head may be this large; browsers send some 2 KiB, and a token may stand in the address.
const MAX_HEAD: usize = 32 * 1024;

/// Serves until the end is asked for. Connections that were upgraded are their owner's to end.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) {
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(source) => {
                    // Out of file descriptors, or the peer is gone already: the listener itself is sound.
                    tracing::warn!(error = &source as &dyn std::error::Error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
            () = shutdown.ending() => break,
        };
        if let Err(source) = stream.set_nodelay(true) {
            tracing::debug!(
                error = &source as &dyn std::error::Error,
                "connection is gone"
            );
            continue;
        }
        let service = router.clone().map_request(
            move |mut request: hyper::Request<hyper::body::Incoming>| {
                request
                    .extensions_mut()
                    .insert(ConnectInfo::<SocketAddr>(peer));
                request.map(axum::body::Body::new)
            },
        );
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
        });
    }
}
