//! Serving gRPC over TCP.

use std::{io, pin::pin, time::Duration};

use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};

use super::{
    GrpcTls, GuardLayer,
    connection::{Connection, IdleTimes, Socket},
};
use crate::shutdown::Shutdown;

/// How many calls of one connection may have been given up before they were looked at. Beyond it the connection is ended, with
/// all other calls on it: callers are parts of Tutti, and a crowd that hangs up on one of them is no fault of the others.
const MAX_GIVEN_UP: usize = 10_000;

/// How many calls of one connection may be under way. A gateway without Redis watches each of its rooms in a stream.
const MAX_CALLS: u32 = 32_768;

/// How many bytes the headers of a call may have: a key, a deadline and a trace are a few hundred.
const MAX_HEADERS: u32 = 16 * 1024;

/// How long to wait after a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

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

/// Serves until the end is asked for and what was begun is finished; with TLS where there is a certificate. Connections
/// that are of no use end.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    guard: GuardLayer,
    tls: GrpcTls,
    shutdown: Shutdown,
) {
    let times = IdleTimes::default();
    serve_within(times, listener, routes, guard, tls, shutdown).await;
}

/// The same; `times` say when a connection is of no use.
pub async fn serve_within(
    times: IdleTimes,
    listener: TcpListener,
    routes: Routes,
    guard: GuardLayer,
    tls: GrpcTls,
    shutdown: Shutdown,
) {
    let server = match tls.server() {
        Some(tls) => Server::builder().tls_config(tls),
        None => Ok(Server::builder()),
    };
    let server = match server {
        Ok(server) => server
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .http2_max_pending_accept_reset_streams(Some(MAX_GIVEN_UP))
            .http2_max_header_list_size(MAX_HEADERS)
            .max_concurrent_streams(MAX_CALLS),
        Err(source) => {
            tracing::error!(
                error = &source as &dyn std::error::Error,
                "gRPC server failed"
            );
            return;
        }
    };
    let service = routes.prepare();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(source) => {
                    // Out of file descriptors, or the peer is gone already: the listener itself is sound.
                    tracing::warn!(error = &source as &dyn std::error::Error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
            () = shutdown.ending() => break,
        };
        // Nagle's algorithm would hold an answer back until the event before it is acknowledged: 40 ms.
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let connection = Connection::opened();
        let ends = CancellationToken::new();
        // tonic serves one connection as it serves many, so each can be told by itself to end as a server does: it takes
        // nothing new (GOAWAY), and finishes what was begun.
        let serving = server
            .clone()
            .layer(guard.on(&connection))
            .serve_with_incoming_shutdown(
                service.clone(),
                only(Socket::new(stream, &connection, ends.clone())),
                ends.clone().cancelled_owned(),
            );
        let shutdown = shutdown.clone();
        let watching = async move {
            tokio::select! {
                () = connection.unused(times) => {}
                () = shutdown.ending() => {}
                () = ends.cancelled() => {}
            }
            ends.cancel();
            connection.cut_after(times.grace).await;
        };
        connections.spawn(async move {
            // What may fail is a connection, which is its caller's concern.
            let mut serving = pin!(serving);
            tokio::select! {
                _ = &mut serving => {}
                () = watching => {
                    let _ = serving.await;
                }
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A listener that has accepted one connection and accepts no other.
fn only(socket: Socket) -> impl Stream<Item = io::Result<Socket>> {
    stream::iter([Ok(socket)]).chain(stream::pending())
}
