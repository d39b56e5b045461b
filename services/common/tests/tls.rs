//! TLS between services, with certificates made by openssl.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{Code, Status, service::Routes, transport::Uri};
use tutti_common::{
    clock::SystemClock,
    rpc::{self, GrpcTls, GrpcTlsFiles, GuardLayer, ServiceKeys},
    shutdown::Shutdown,
};
use tutti_proto::rooms::{GetRoomRequest, room_service_client::RoomServiceClient};

const KEY: &str = "test:a-key-of-tests";

/// Two authorities, each with a certificate for 127.0.0.1: `a.ca`, `a.cert`, `a.key` and `b.…`.
struct Certificates(TempDir);

impl Certificates {
    fn make() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        for name in ["a", "b"] {
            made.openssl(&format!(
                "req -x509 -newkey ed25519 -nodes -subj /CN={name} -days 2 -keyout {name}.ca-key -out {name}.ca"
            ));
            made.openssl(&format!(
                "req -x509 -newkey ed25519 -nodes -subj /CN=localhost -days 2 -keyout {name}.key -out {name}.cert \
                 -CA {name}.ca -CAkey {name}.ca-key -addext subjectAltName=IP:127.0.0.1 \
                 -addext basicConstraints=critical,CA:FALSE"
            ));
        }
        made
    }

    fn openssl(&self, arguments: &str) {
        let done = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A part's settings: whose certificate it has, whom it believes, whom it serves.
    fn of(&self, own: Option<&str>, ca: Option<&str>, client_ca: Option<&str>) -> GrpcTls {
        let path = |name: Option<&str>, kind| name.map(|name| self.path(&format!("{name}.{kind}")));
        let [cert, key] = ["cert", "key"].map(|kind| path(own, kind));
        let [ca, client_ca] = [ca, client_ca].map(|name| path(name, "ca"));
        let files = GrpcTlsFiles {
            cert: cert.as_deref(),
            key: key.as_deref(),
            ca: ca.as_deref(),
            client_ca: client_ca.as_deref(),
        };
        GrpcTls::read(files).unwrap()
    }
}

/// What a caller is told by a server that has no room service.
async fn call(scheme: &str, server: GrpcTls, client: GrpcTls, key: &str) -> Status {
    let shutdown = Shutdown::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let guard = GuardLayer::new(
        ServiceKeys::parse(KEY).unwrap(),
        Arc::new(SystemClock),
        shutdown.clone(),
    );
    let routes = Routes::default();
    shutdown.spawn(rpc::serve(
        listener,
        routes,
        guard,
        server,
        shutdown.clone(),
    ));
    let target = format!("{scheme}://{address}").parse::<Uri>().unwrap();
    let transport = rpc::dial(vec![target], client, &shutdown);
    let key = ServiceKeys::parse(key).unwrap().of("test").unwrap();
    let mut rooms = RoomServiceClient::new(rpc::as_caller(transport, &key, Arc::new(SystemClock)));
    let answer = rooms.get_room(GetRoomRequest::default()).await;
    answer.unwrap_err()
}

#[tokio::test]
async fn who_is_signed_by_whom_decides_who_is_called_and_served() {
    let made = Certificates::make();
    let (server, mutual) = (
        made.of(Some("a"), None, None),
        made.of(Some("a"), None, Some("b")),
    );
    let believes = |ca| made.of(None, Some(ca), None);
    let shows = |own| made.of(Some(own), Some("a"), None);
    for (what, server, client, answered) in [
        ("the right authority", &server, believes("a"), true),
        ("another authority", &server, believes("b"), false),
        ("the right caller", &mutual, shows("b"), true),
        (
            "a caller without a certificate",
            &mutual,
            believes("a"),
            false,
        ),
        ("a caller with another's", &mutual, shows("a"), false),
    ] {
        let said = call("https", server.clone(), client, KEY).await;
        let expected = if answered {
            Code::Unimplemented
        } else {
            Code::Unavailable
        };
        assert_eq!(said.code(), expected, "{what}: {said}");
    }
    let said = call("http", server.clone(), GrpcTls::default(), KEY).await;
    assert_eq!(said.code(), Code::Unavailable, "without TLS: {said}");
    // A certificate is no service key.
    let said = call("https", mutual, shows("b"), "test:another-key").await;
    assert_eq!(said.code(), Code::Unauthenticated);
}

#[test]
fn wrong_files_are_named_by_their_settings() {
    let made = Certificates::make();
    let [cert, key, others] = ["a.cert", "a.key", "b.key"].map(|name| made.path(name));
    let named = |cert: Option<&Path>, key: Option<&Path>, ca: Option<&Path>| {
        let client_ca = None;
        let wrong = GrpcTls::read(GrpcTlsFiles {
            cert,
            key,
            ca,
            client_ca,
        })
        .err();
        let wrong = wrong.unwrap_or_default().into_iter();
        wrong.map(|(name, _)| name).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(named(Some(&cert), Some(&key), None), none);
    assert_eq!(named(Some(&cert), None, None), ["GRPC_TLS_KEY_FILE"]);
    assert_eq!(
        named(Some(&cert), Some(&others), None),
        ["GRPC_TLS_KEY_FILE"]
    );
    assert_eq!(named(Some(&key), Some(&key), None), ["GRPC_TLS_CERT_FILE"]);
    assert_eq!(named(None, None, Some(&key)), ["GRPC_TLS_CA_FILE"]);
}
