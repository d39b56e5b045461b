//! Connections to a gRPC service that are of no use end, and those that are of use live on.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tonic::{service::Routes, transport::Uri};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
    server::HealthReporter,
};
use tutti_common::{
    clock::SystemClock,
    rpc::{self, GrpcTls, GrpcTlsFiles, GuardLayer, IdleTimes, ServiceKeys, Transport},
    shutdown::Shutdown,
};

const KEY: &str = "test:a-key-of-tests";

/// Far beyond what anything here should take.
const PATIENCE: Duration = Duration::from_secs(20);

const SHORT: IdleTimes = IdleTimes {
    without_key: Duration::from_millis(100),
    without_calls: Duration::from_millis(300),
    grace: Duration::from_millis(50),
};

/// A service that only has its health to tell, and whoever calls it.
struct Service {
    address: SocketAddr,
    health: HealthReporter,
    shutdown: Shutdown,
}

impl Service {
    async fn start(times: IdleTimes, tls: GrpcTls) -> Self {
        let shutdown = Shutdown::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let guard = GuardLayer::new(
            ServiceKeys::parse(KEY).unwrap(),
            Arc::new(SystemClock),
            shutdown.clone(),
        );
        let routes = rpc::with_reflection_and_health(Routes::default(), &[]);
        let (routes, health) = routes.await.unwrap();
        shutdown.spawn(rpc::serve_within(
            times,
            listener,
            routes,
            guard,
            tls,
            shutdown.clone(),
        ));
        Self {
            address,
            health,
            shutdown,
        }
    }

    /// Dials it, with a service key or without.
    fn dial(&self, address: SocketAddr, has_key: bool) -> HealthClient<Transport> {
        let target = format!("http://{address}").parse::<Uri>().unwrap();
        let transport = rpc::dial(vec![target], GrpcTls::default(), &self.shutdown);
        let key = ServiceKeys::parse(KEY).unwrap().of("test").unwrap();
        HealthClient::new(if has_key {
            rpc::as_caller(transport, &key, Arc::new(SystemClock))
        } else {
            transport
        })
    }

    /// A way to it that says of each connection when it has ended.
    async fn relay(&self) -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (way, address) = (listener.local_addr().unwrap(), self.address);
        let (say, ended) = mpsc::unbounded_channel();
        self.shutdown.spawn(async move {
            loop {
                let (mut from, _) = listener.accept().await.unwrap();
                let mut to = TcpStream::connect(address).await.unwrap();
                let _ = copy_bidirectional(&mut from, &mut to).await;
                if say.send(()).is_err() {
                    return;
                }
            }
        });
        (way, ended)
    }

    /// Resolves when a connection that says `bytes` and nothing else was ended.
    async fn ends_whoever_only_says(&self, bytes: &[u8]) {
        let mut stranger = TcpStream::connect(self.address).await.unwrap();
        stranger.write_all(bytes).await.unwrap();
        let mut said = Vec::new();
        // An end or a reset: either is one.
        let _ = in_time(stranger.read_to_end(&mut said)).await;
    }
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it takes for ever")
}

#[tokio::test]
async fn who_shows_no_key_is_not_kept() {
    let service = Service::start(SHORT, GrpcTls::default()).await;
    // The preface of HTTP/2, then SETTINGS.
    let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    service.ends_whoever_only_says(b"").await;
    service.ends_whoever_only_says(&greeting[..10]).await;
    service.ends_whoever_only_says(greeting).await;
    // What needs no key is answered, but nobody stays by it.
    let (way, mut ended) = service.relay().await;
    let mut stranger = service.dial(way, false);
    let answer = stranger.watch(HealthCheckRequest::default()).await.unwrap();
    in_time(ended.recv()).await.unwrap();
    let mut answer = answer.into_inner();
    assert!(answer.message().await.unwrap().is_some());
    answer.message().await.unwrap_err();
}

#[tokio::test]
async fn who_finishes_no_handshake_is_not_kept() {
    let made = tempfile::tempdir().unwrap();
    let made = |name| made.path().join(name);
    let done = std::process::Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=a", "-days", "2",
        ])
        .args(["-keyout".as_ref(), made("key").as_os_str()])
        .args(["-out".as_ref(), made("cert").as_os_str()])
        .output();
    assert!(done.unwrap().status.success());
    let (cert, key) = (made("cert"), made("key"));
    let tls = GrpcTls::read(GrpcTlsFiles {
        cert: Some(&cert),
        key: Some(&key),
        ca: None,
        client_ca: None,
    });
    let service = Service::start(SHORT, tls.unwrap()).await;
    service.ends_whoever_only_says(b"").await;
    // The beginning of a handshake that never comes to its end.
    service
        .ends_whoever_only_says(b"\x16\x03\x01\x02\0\x01")
        .await;
}

#[tokio::test]
async fn a_stream_lives_on_and_its_connection_ends_after_it() {
    let service = Service::start(SHORT, GrpcTls::default()).await;
    let (way, mut ended) = service.relay().await;
    let mut caller = service.dial(way, true);
    let stream = caller.watch(HealthCheckRequest::default()).await.unwrap();
    let mut stream = stream.into_inner();
    assert!(stream.message().await.unwrap().is_some());
    // Others who are of no use come and go; they took as long as it would take.
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < 2 * SHORT.without_calls {
        service.ends_whoever_only_says(b"").await;
    }
    let health = &service.health;
    health
        .set_service_status("", ServingStatus::NotServing)
        .await;
    let news = in_time(stream.message()).await.unwrap();
    assert!(news.is_some(), "the stream goes on");
    assert!(ended.try_recv().is_err());
    drop(stream);
    in_time(ended.recv()).await.unwrap();
}

#[tokio::test]
async fn whoever_calls_again_does_not_notice_that_a_connection_ended() {
    let service = Service::start(SHORT, GrpcTls::default()).await;
    let (way, mut ended) = service.relay().await;
    let mut caller = service.dial(way, true);
    for _ in 0..3 {
        caller.check(HealthCheckRequest::default()).await.unwrap();
        in_time(ended.recv()).await.unwrap();
    }
}
