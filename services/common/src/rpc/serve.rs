//! Serving gRPC over TCP.

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

use super::{GrpcTls, GuardLayer};
use crate::shutdown::Shutdown;

/// How many calls of one connection may have been given up before they were looked at. Beyond it the connection is ended, with
/// all other calls on it: callers are parts of Tutti, and a crowd that hangs up on one of them is no fault of the others.
const MAX_GIVEN_UP: usize = 10_000;

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

/// Serves until the end is asked for and what was begun is finished; with TLS where there is a certificate.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    guard: GuardLayer,
    tls: GrpcTls,
    shutdown: Shutdown,
) {
    // Nagle's algorithm would hold an answer back until the event before it is acknowledged: 40 ms.
    let connections = TcpIncoming::from(listener).with_nodelay(Some(true));
    let ending = shutdown.clone();
    let server = match tls.server() {
        Some(tls) => Server::builder().tls_config(tls),
        None => Ok(Server::builder()),
    };
    let serve = async {
        server?
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .http2_max_pending_accept_reset_streams(Some(MAX_GIVEN_UP))
            .layer(guard)
            .add_routes(routes)
            .serve_with_incoming_shutdown(connections, async move { ending.ending().await })
            .await
    };
    if let Err(source) = serve.await {
        tracing::error!(
            error = &source as &dyn std::error::Error,
            "gRPC server failed"
        );
    }
}
