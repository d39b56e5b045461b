//! Requests of the server to hosts that a stranger named: never to an address that is not public, unless `OUTBOUND_ALLOW` lists it,
//! and never for longer or for more bytes than its caller allows.

mod address;

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, LOCATION, USER_AGENT},
};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use rustls::{ClientConfig, RootCertStore};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};
use tower::{service_fn, util::BoxCloneSyncService};
use url::Url;

pub use self::address::OutboundAllow;

/// How often a host may send the request elsewhere.
const REDIRECTS: usize = 3;

/// How long one of a host's addresses may take to connect before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Below these only the ports of HTTP itself are connected to: what else is there is no web server.
const FIRST_FREE_PORT: u16 = 1024;

/// Higher ports of other protocols: those of the Fetch standard's "bad ports", to which browsers do not connect either.
const BAD_PORTS: [u16; 19] = [
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669,
    6679, 6697, 10080,
];

/// Why there is no answer. The texts name a host at most: paths and queries may hold secrets.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OutboundError {
    /// The address is not one that is ever connected to.
    #[error("{0}")]
    Address(&'static str),
    /// The host has no address that may be connected to.
    #[error("{host} is not on the public internet")]
    Refused {
        /// The one that was asked for, or that a redirect led to.
        host: String,
    },
    /// It cannot be resolved or connected to, or breaks off.
    #[error("{host} cannot be reached")]
    Unreachable {
        /// The one that was asked last.
        host: String,
    },
    /// It answers something else than 200.
    #[error("{host} answered {}", .status.as_u16())]
    Status {
        /// The one that answered.
        host: String,
        /// What it answered.
        status: StatusCode,
    },
    /// It sends the request from address to address.
    #[error("{host} redirects too often")]
    Redirects {
        /// The one that was asked last.
        host: String,
    },
    /// It has not answered, or not everything, in the time there was.
    #[error("{host} took too long")]
    TookTooLong {
        /// The one that was asked first.
        host: String,
    },
    /// There is more than the caller takes.
    #[error("is larger than {} MiB", max / 1024 / 1024)]
    TooLarge {
        /// How many bytes there may be.
        max: usize,
    },
    /// The body is compressed, which nobody asked for: what it would become has no limit.
    #[error("{host} compresses its answer unasked")]
    Encoded {
        /// The one that answered.
        host: String,
    },
}

/// No address of the host may be connected to.
#[derive(Debug, thiserror::Error)]
#[error("not on the public internet")]
struct NotPublic;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Connector = HttpsConnector<BoxCloneSyncService<Uri, TokioIo<TcpStream>, BoxError>>;

/// The client for requests to hosts that a stranger named. Addresses are checked when a connection is made: the one that was
/// checked is the one that is connected to, whatever a name resolves to later.
#[derive(Clone)]
pub struct Outbound(Client<Connector, Empty<Bytes>>);

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outbound")
    }
}

impl Outbound {
    /// A client that connects to public addresses and to what `allow` lists.
    #[must_use]
    pub fn new(allow: OutboundAllow) -> Self {
        let allow = Arc::new(allow);
        let connect = service_fn(move |uri: Uri| {
            let allow = allow.clone();
            async move { connect(&allow, &uri).await }
        });
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(TLS.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(BoxCloneSyncService::new(connect));
        let client = Client::builder(TokioExecutor::new())
            // A connection a request: nothing of one stranger's host is left for the next.
            .pool_max_idle_per_host(0)
            .build(connector);
        Self(client)
    }

    /// What `url` has, of at most `max_bytes` bytes, by `deadline`. Redirects are followed, three at most. No cookie, no referrer
    /// and nothing of whoever asked goes with the request.
    ///
    /// # Errors
    /// Why there is nothing.
    pub async fn get(
        &self,
        url: &Url,
        accept: &HeaderValue,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Bytes, OutboundError> {
        timeout_at(deadline, self.follow(url.clone(), accept, max_bytes))
            .await
            .unwrap_or_else(|_| {
                let host = host_of(url);
                Err(OutboundError::TookTooLong { host })
            })
    }

    async fn follow(
        &self,
        mut url: Url,
        accept: &HeaderValue,
        max_bytes: usize,
    ) -> Result<Bytes, OutboundError> {
        for _ in 0..=REDIRECTS {
            check(&url)?;
            let host = host_of(&url);
            let response = self.ask(&url, accept).await?;
            let status = response.status();
            if status == StatusCode::OK {
                return read(response, host, max_bytes).await;
            }
            let next = response
                .headers()
                .get(LOCATION)
                .filter(|_| is_redirect(status));
            let Some(next) = next else {
                return Err(OutboundError::Status { host, status });
            };
            url = next
                .to_str()
                .ok()
                .and_then(|next| url.join(next).ok())
                .ok_or(OutboundError::Status { host, status })?;
        }
        let host = host_of(&url);
        Err(OutboundError::Redirects { host })
    }

    /// One request, to exactly that address.
    async fn ask(
        &self,
        url: &Url,
        accept: &HeaderValue,
    ) -> Result<Response<Incoming>, OutboundError> {
        let request = Request::get(url.as_str())
            .header(ACCEPT, accept)
            .header(ACCEPT_ENCODING, "identity")
            .header(USER_AGENT, concat!("Tutti/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|_| OutboundError::Address("holds characters that HTTP does not send"))?;
        self.0.request(request).await.map_err(|error| {
            let host = host_of(url);
            if is_caused_by_not_public(&error) {
                tracing::debug!(
                    host,
                    "an outbound request was refused: not a public address"
                );
                return OutboundError::Refused { host };
            }
            tracing::debug!(
                host,
                error = &error as &dyn std::error::Error,
                "an outbound request failed"
            );
            OutboundError::Unreachable { host }
        })
    }
}

/// Whether an address is one that may be asked, whoever has it.
///
/// # Errors
/// Why it is not.
pub fn check(url: &Url) -> Result<(), OutboundError> {
    let wrong = |why| Err(OutboundError::Address(why));
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return wrong("must be an https: or http: address");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("must not hold a user name or a password");
    }
    match url.port_or_known_default() {
        Some(80 | 443) => Ok(()),
        Some(port) if port >= FIRST_FREE_PORT && !BAD_PORTS.contains(&port) => Ok(()),
        Some(_) | None => wrong("has a port that is not one of web servers"),
    }
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn is_caused_by_not_public(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(<dyn std::error::Error>::is::<NotPublic>)
}

async fn read(
    response: Response<Incoming>,
    host: String,
    max: usize,
) -> Result<Bytes, OutboundError> {
    let headers = response.headers();
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(OutboundError::Encoded { host });
    }
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > max as u64) {
        return Err(OutboundError::TooLarge { max });
    }
    let mut body = response.into_body();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(OutboundError::Unreachable { host });
        };
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > max {
                return Err(OutboundError::TooLarge { max });
            }
            bytes.extend_from_slice(&data);
        }
    }
    // What has grown in steps has room to spare, up to twice its length: whoever keeps it would keep that too.
    Ok(Bytes::copy_from_slice(&bytes))
}

/// Connects to the first of a host's addresses that answers, of those that may be connected to.
async fn connect(allow: &OutboundAllow, uri: &Uri) -> Result<TokioIo<TcpStream>, BoxError> {
    let host = uri.host().unwrap_or_default();
    let is_secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.');
    let mut failure: BoxError = NotPublic.into();
    for address in lookup_host((bare, port)).await? {
        if !allow.permits(name, address.ip(), port) {
            continue;
        }
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(TokioIo::new(stream));
            }
            Ok(Err(error)) => failure = error.into(),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

/// Trusts whom the system trusts.
static TLS: LazyLock<ClientConfig> = LazyLock::new(|| {
    let config = ClientConfig::builder();
    match config.clone().with_native_roots() {
        Ok(config) => config.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the system trusts no certificates: nothing can be fetched from https addresses"
            );
            config
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth()
        }
    }
});
