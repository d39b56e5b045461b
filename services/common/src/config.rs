//! Settings: each is a flag of `tutti` and an environment variable. All wrong ones are reported at once.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use http::Uri;

use crate::{
    network::Networks,
    outbound::OutboundAllow,
    redis::RedisUrl,
    rpc::{GrpcTls, ServiceKeys},
};

mod check;

pub use check::Wrong;

/// Text that must not reach a log, a trace or an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Keeps `text` to itself.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text, for whom it is meant.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The settings as they were given, unchecked. An empty one counts as not given.
#[derive(Args, Clone, Debug)]
pub struct RawSettings {
    /// Where the SQL database is: postgresql://… or sqlite:path [default: SQLite in the data folder when standalone]
    #[arg(long, env, global = true, hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// Where Redis is, for what processes share: `redis://host`, `redis+sentinel://host,host/master` or
    /// `redis+cluster://host,host`; with TLS `rediss…` [default: none, each process by itself]
    #[arg(long, env, global = true, hide_env_values = true, value_name = "URL")]
    pub redis_url: Option<String>,
    /// PEM file of the certificates to trust with `rediss…` [default: those the system trusts]
    #[arg(long, env, global = true, value_name = "PATH")]
    pub redis_tls_ca_file: Option<String>,
    /// Other origins whose pages may use this server, comma-separated [default: same origin only]
    #[arg(long, env, global = true, value_name = "ORIGINS")]
    pub allowed_origins: Option<String>,
    /// Where people open this Tutti, such as `https://music.example`. Requests for other hosts are refused, except for IP addresses,
    /// `localhost` and the hosts of `ALLOWED_ORIGINS` [default: none]
    #[arg(long, env, global = true, value_name = "URL")]
    pub public_url: Option<String>,
    /// Hosts that the server may fetch pictures from although they are not on the public internet, comma-separated: names, addresses and
    /// networks, each with a port or for any, such as `nas.lan:4533,192.168.1.20,10.0.0.0/8,[fd00::1]:80`. A name stands for whatever it
    /// resolves to [default: public addresses only]
    #[arg(long, env, global = true, value_name = "HOSTS")]
    pub outbound_allow: Option<String>,
    /// Where HTTP is served [default: 127.0.0.1:8000 standalone, 0.0.0.0:8000 gateway]
    #[arg(long, env, global = true, value_name = "ADDR")]
    pub http_addr: Option<String>,
    /// Where the auth service listens
    #[arg(
        long,
        env,
        global = true,
        value_name = "ADDR",
        default_value = "0.0.0.0:50051"
    )]
    pub auth_grpc_addr: String,
    /// Where the room service listens
    #[arg(
        long,
        env,
        global = true,
        value_name = "ADDR",
        default_value = "0.0.0.0:50052"
    )]
    pub room_grpc_addr: String,
    /// Where the others find the auth service: http://host:port or https://host:port, several of them comma-separated. Names are looked up
    /// again every 5 s, and calls are balanced over all addresses
    #[arg(long, env, global = true, value_name = "URL")]
    pub auth_url: Option<String>,
    /// Where the others find the room service, as `AUTH_URL`
    #[arg(long, env, global = true, value_name = "URL")]
    pub room_url: Option<String>,
    /// This part's certificate in PEM, with those between it and who signed it: gRPC is served with it, and callers show it
    #[arg(long, env, global = true, value_name = "FILE")]
    pub grpc_tls_cert_file: Option<String>,
    /// The key of that certificate in PEM
    #[arg(long, env, global = true, value_name = "FILE")]
    pub grpc_tls_key_file: Option<String>,
    /// Who signed the certificates of the others, where `AUTH_URL` or `ROOM_URL` is https://
    #[arg(long, env, global = true, value_name = "FILE")]
    pub grpc_tls_ca_file: Option<String>,
    /// Serve only callers with a certificate that these signed [default: any caller with a service key]
    #[arg(long, env, global = true, value_name = "FILE")]
    pub grpc_tls_client_ca_file: Option<String>,
    /// The keys by which services name themselves, name:key,name:key; name(rooms.read+friends):key may make these calls
    /// only [default: made at each start when standalone]
    #[arg(long, env, global = true, hide_env_values = true, value_name = "KEYS")]
    pub service_keys: Option<String>,
    /// Where /metrics, /healthz and /readyz of this process are [default: 127.0.0.1:9090]
    #[arg(long, env, global = true, value_name = "ADDR")]
    pub admin_addr: Option<String>,
    /// Standalone's database, keys and uploads
    #[arg(
        long,
        env = "TUTTI_DATA_DIR",
        global = true,
        value_name = "DIR",
        default_value = "./tutti-data"
    )]
    pub data_dir: String,
    /// Ed25519 PKCS#8 PEM that signs access tokens, or a folder of them for rotation: the last by name signs, 30 s after it was
    /// published where an older one can until then [default: made on first start in the data folder when standalone]
    #[arg(long, env, global = true, value_name = "PATH")]
    pub jwt_private_key_file: Option<String>,
    /// How long an access token lives
    #[arg(
        long,
        env,
        global = true,
        value_name = "DURATION",
        default_value = "15m"
    )]
    pub access_token_ttl: String,
    /// How long a refresh token lives
    #[arg(
        long,
        env,
        global = true,
        value_name = "DURATION",
        default_value = "30d"
    )]
    pub refresh_token_ttl: String,
    /// How often the server pings a socket
    #[arg(
        long,
        env,
        global = true,
        value_name = "DURATION",
        default_value = "25s"
    )]
    pub socket_ping_interval: String,
    /// How long a socket may take to answer a ping
    #[arg(
        long,
        env,
        global = true,
        value_name = "DURATION",
        default_value = "20s"
    )]
    pub socket_ping_timeout: String,
    /// How long a socket may take to say who it is
    #[arg(
        long,
        env,
        global = true,
        value_name = "DURATION",
        default_value = "10s"
    )]
    pub socket_connect_timeout: String,
    /// How large a socket's message or frame may be; beyond it the connection is closed
    #[arg(long, env, global = true, value_name = "SIZE", default_value = "64KiB")]
    pub socket_max_payload: String,
    /// How many proxies' X-Forwarded-For entries count
    #[arg(long, env, global = true, value_name = "COUNT", default_value = "0")]
    pub trusted_proxies: String,
    /// From which addresses and networks proxies connect, 10.0.0.0/8,192.168.1.20; what others send in X-Forwarded-… does not
    /// count [default: everybody who can connect is one of the proxies, where `TRUSTED_PROXIES` is set]
    #[arg(long, env, global = true, value_name = "NETWORKS")]
    pub proxy_networks: Option<String>,
    /// How many connections one client may have, by its IPv4 address or IPv6 /64; 0 for no limit [default: a quarter of the files that
    /// the process may open, at most 10000]
    #[arg(long, env, global = true, value_name = "COUNT")]
    pub connections_per_address: Option<String>,
    /// How long a lost connection keeps its place
    #[arg(
        long,
        env,
        global = true,
        value_name = "DURATION",
        default_value = "15s"
    )]
    pub presence_grace: String,
    /// How long an empty room is kept
    #[arg(
        long,
        env,
        global = true,
        value_name = "DURATION",
        default_value = "60s"
    )]
    pub room_empty_grace: String,
    /// Over how long a gateway that is told to end lets its connections go [default: 5s, 0s standalone]
    #[arg(long, env, global = true, value_name = "DURATION")]
    pub drain_time: Option<String>,
    /// How long after a rejection its sender may ask again
    #[arg(
        long,
        env,
        global = true,
        value_name = "DURATION",
        default_value = "24h"
    )]
    pub friend_request_cooldown: String,
    /// How often leftovers are swept up
    #[arg(
        long,
        env,
        global = true,
        value_name = "DURATION",
        default_value = "1h"
    )]
    pub cleanup_interval: String,
    /// Friend requests per user and hour; 0 for no limit, as with the limits below
    #[arg(long, env, global = true, value_name = "COUNT", default_value = "10")]
    pub rate_friend_requests_per_hour: String,
    /// Friend requests to strangers per address (IPv6: per /64) and hour, whoever sends them [default: six times
    /// `RATE_FRIEND_REQUESTS_PER_HOUR`]
    #[arg(long, env, global = true, value_name = "COUNT")]
    pub rate_stranger_requests_per_hour: Option<String>,
    /// Rooms created per user and hour
    #[arg(long, env, global = true, value_name = "COUNT", default_value = "5")]
    pub rate_room_creations_per_hour: String,
    /// Events per socket and minute, in bursts of at most 20
    #[arg(long, env, global = true, value_name = "COUNT", default_value = "60")]
    pub rate_socket_events_per_minute: String,
    /// Pings per socket and minute, in bursts of at most 20
    #[arg(long, env, global = true, value_name = "COUNT", default_value = "60")]
    pub rate_socket_pings_per_minute: String,
    /// Events per user and minute over all their sockets, in bursts of at most 80 [default: four times
    /// `RATE_SOCKET_EVENTS_PER_MINUTE`]
    #[arg(long, env, global = true, value_name = "COUNT")]
    pub rate_user_events_per_minute: Option<String>,
    /// Sockets that a user opens per minute, in bursts of at most 30
    /// [default: 60, or none where `RATE_SOCKET_EVENTS_PER_MINUTE` is 0]
    #[arg(long, env, global = true, value_name = "COUNT")]
    pub rate_user_connects_per_minute: Option<String>,
    /// Sockets that a user has at the same time, over all gateways
    /// [default: 20, or none where `RATE_SOCKET_EVENTS_PER_MINUTE` is 0]
    #[arg(long, env, global = true, value_name = "COUNT")]
    pub connections_per_user: Option<String>,
    /// Rooms that a user enters per minute, by REST or by socket, in bursts of at most 20
    /// [default: 30, or none where `RATE_SOCKET_EVENTS_PER_MINUTE` is 0]
    #[arg(long, env, global = true, value_name = "COUNT")]
    pub rate_user_joins_per_minute: Option<String>,
    /// What hosts say in a room (`sync_state`, `transfer_host`) per minute, whoever is host, in bursts of at most 40 [default: twice
    /// `RATE_SOCKET_EVENTS_PER_MINUTE`]
    #[arg(long, env, global = true, value_name = "COUNT")]
    pub rate_room_syncs_per_minute: Option<String>,
    /// Those per room and minute who enter it again less than ten minutes after they left it, in bursts of at most 60
    /// [default: 60, or none where `RATE_SOCKET_EVENTS_PER_MINUTE` is 0]
    #[arg(long, env, global = true, value_name = "COUNT")]
    pub rate_room_returns_per_minute: Option<String>,
    /// Register, login and refresh per address (IPv6: per /64) and minute
    #[arg(long, env, global = true, value_name = "COUNT", default_value = "30")]
    pub rate_auth_per_minute: String,
    /// Accounts registered per address (IPv6: per /64) and hour [default: ten times `RATE_AUTH_PER_MINUTE`]
    #[arg(long, env, global = true, value_name = "COUNT")]
    pub rate_registrations_per_hour: Option<String>,
    /// Wrong passwords per account and address (IPv6: per /64) in 15 minutes; from all addresses where nobody has logged in to
    /// the account, at most 16 times as many an hour
    #[arg(long, env, global = true, value_name = "COUNT", default_value = "10")]
    pub rate_login_failures_per_15_minutes: String,
    /// Other REST calls per user and minute
    #[arg(long, env, global = true, value_name = "COUNT", default_value = "600")]
    pub rate_api_per_minute: String,
    /// Pictures of other hosts that are fetched per user and minute
    #[arg(long, env, global = true, value_name = "COUNT", default_value = "120")]
    pub rate_images_per_minute: String,
    /// Where traces go: an OTLP collector's HTTP address such as `http://host:4318` [default: none]
    #[arg(long, env, global = true, value_name = "URL")]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// What is logged, as in `info,tutti_room=debug`
    #[arg(
        long,
        env,
        global = true,
        value_name = "FILTER",
        default_value = "info"
    )]
    pub rust_log: String,
    /// How logs look: text or json
    #[arg(
        long,
        env,
        global = true,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub log_format: String,
}

/// Which part of Tutti a process plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All of them.
    Standalone,
    /// Accounts and friends.
    Auth,
    /// Rooms.
    Room,
    /// REST and Socket.IO.
    Gateway,
}

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// The settings, checked.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in RawSettings, which documents them")]
pub struct Settings {
    pub role: Role,
    pub database_url: Option<Secret>,
    pub redis_url: Option<RedisUrl>,
    /// With that of `public_url`.
    pub allowed_origins: Vec<String>,
    /// An origin, without a slash at its end.
    pub public_url: Option<String>,
    pub outbound_allow: OutboundAllow,
    pub http_addr: SocketAddr,
    pub auth_grpc_addr: SocketAddr,
    pub room_grpc_addr: SocketAddr,
    pub auth_url: Vec<Uri>,
    pub room_url: Vec<Uri>,
    pub grpc_tls: GrpcTls,
    pub service_keys: ServiceKeys,
    pub admin_addr: SocketAddr,
    /// Whether the admin address was asked for; the default one may be taken by a neighbour.
    pub admin_addr_is_explicit: bool,
    pub data_dir: PathBuf,
    pub jwt_private_key_file: Option<PathBuf>,
    pub access_token_ttl: Duration,
    pub refresh_token_ttl: Duration,
    pub socket_ping_interval: Duration,
    pub socket_ping_timeout: Duration,
    pub socket_connect_timeout: Duration,
    /// Bytes.
    pub socket_max_payload: usize,
    pub trusted_proxies: usize,
    /// Empty means any.
    pub proxy_networks: Networks,
    /// 0 means no limit.
    pub connections_per_address: Option<usize>,
    pub presence_grace: Duration,
    pub room_empty_grace: Duration,
    pub drain_time: Duration,
    pub friend_request_cooldown: Duration,
    pub cleanup_interval: Duration,
    pub rates: Rates,
    pub otlp_endpoint: Option<Uri>,
    pub rust_log: String,
    pub log_format: LogFormat,
}

impl Settings {
    /// How many proxies' `X-Forwarded-…` entries count in a request that `peer` sent.
    #[must_use]
    pub fn proxies_before(&self, peer: IpAddr) -> usize {
        if self.proxy_networks.is_empty() || self.proxy_networks.contains(peer) {
            self.trusted_proxies
        } else {
            0
        }
    }
}

/// How often; 0 means no limit.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "as in RawSettings, which documents them")]
pub struct Rates {
    pub friend_requests_per_hour: u32,
    pub stranger_requests_per_hour: u32,
    pub room_creations_per_hour: u32,
    pub socket_events_per_minute: u32,
    pub socket_pings_per_minute: u32,
    pub user_events_per_minute: u32,
    pub user_connects_per_minute: u32,
    pub connections_per_user: u32,
    pub user_joins_per_minute: u32,
    pub room_syncs_per_minute: u32,
    pub room_returns_per_minute: u32,
    pub auth_per_minute: u32,
    pub registrations_per_hour: u32,
    pub login_failures_per_15_minutes: u32,
    pub api_per_minute: u32,
    pub images_per_minute: u32,
}

impl Rates {
    /// No limits.
    pub const UNLIMITED: Self = Self {
        friend_requests_per_hour: 0,
        stranger_requests_per_hour: 0,
        room_creations_per_hour: 0,
        socket_events_per_minute: 0,
        socket_pings_per_minute: 0,
        user_events_per_minute: 0,
        user_connects_per_minute: 0,
        connections_per_user: 0,
        user_joins_per_minute: 0,
        room_syncs_per_minute: 0,
        room_returns_per_minute: 0,
        auth_per_minute: 0,
        registrations_per_hour: 0,
        login_failures_per_15_minutes: 0,
        api_per_minute: 0,
        images_per_minute: 0,
    };
}
