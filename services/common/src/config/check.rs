//! Checking the settings: all that is wrong is found before any of it is reported.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use http::Uri;

use super::{LogFormat, Rates, RawSettings, Role, Secret, Settings};
use crate::{
    network::Networks,
    outbound::OutboundAllow,
    redis::{RedisUrl, Unusable},
    rpc::{GrpcTls, GrpcTlsFiles, ServiceKeys},
};

/// Over how long a gateway lets its connections go. Kubernetes kills 30 s after it asked a process to end, if not told
/// otherwise.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// How many times what one connection may say all of a user's may, where no setting says so.
const USER_EVENTS: u32 = 4;

/// How many times what one connection may say is said in a room, where no setting says so.
const ROOM_SYNCS: u32 = 2;

/// What holds where no setting says so, unless an operator has taken away the limit of events: then these are gone as well, so that
/// one setting frees what is said on sockets, as it always has.
const USER_CONNECTS: u32 = 60;
const CONNECTIONS: u32 = 20;
const USER_JOINS: u32 = 30;
const ROOM_RETURNS: u32 = 60;

/// How many times what one user may ask strangers an address may, where no setting says so.
const STRANGER_REQUESTS: u32 = 6;

/// How many times what an address may try in a minute it may register in an hour, where no setting says so.
const REGISTRATIONS: u32 = 10;

/// Settings that are wrong: the variable's name, and what is the matter with it. Values are not
/// repeated, since some are secret.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wrong(pub Vec<(&'static str, String)>);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, message) in &self.0 {
            writeln!(f, "{name}: {message}")?;
        }
        Ok(())
    }
}

impl Wrong {
    fn add(&mut self, name: &'static str, message: impl Into<String>) {
        self.0.push((name, message.into()));
    }

    /// The value, or `T`'s default where it is wrong: the caller reports before anybody uses it.
    fn keep<T: Default>(&mut self, name: &'static str, value: Result<T, String>) -> T {
        value.unwrap_or_else(|message| {
            self.add(name, message);
            T::default()
        })
    }

    fn duration(&mut self, name: &'static str, text: &str) -> Duration {
        let value = humantime::parse_duration(text.trim())
            .map_err(|_| "expected a duration such as 15s, 10m, 24h or 30d".to_owned());
        self.keep(name, value)
    }

    fn positive(&mut self, name: &'static str, text: &str) -> Duration {
        let value = self.duration(name, text);
        if value.is_zero() && !self.0.iter().any(|(wrong, _)| *wrong == name) {
            self.add(name, "must be longer than nothing");
        }
        value
    }

    fn count<T: std::str::FromStr + Default>(&mut self, name: &'static str, text: &str) -> T {
        let value = text
            .trim()
            .parse()
            .map_err(|_| "expected a whole number, 0 or more".to_owned());
        self.keep(name, value)
    }

    /// A count that is something else where it is not given.
    fn count_or(&mut self, name: &'static str, text: Option<&String>, otherwise: u32) -> u32 {
        given(text).map_or(otherwise, |text| self.count(name, text))
    }

    fn addr(&mut self, name: &'static str, text: &str) -> SocketAddr {
        text.trim().parse().unwrap_or_else(|_| {
            self.add(name, "expected an address and port such as 127.0.0.1:8000");
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn url(&mut self, name: &'static str, text: Option<&str>, schemes: &[&str]) -> Option<Uri> {
        let text = text?;
        match text.parse::<Uri>() {
            Ok(uri)
                if uri
                    .scheme_str()
                    .is_some_and(|scheme| schemes.contains(&scheme))
                    && uri.host().is_some() =>
            {
                Some(uri)
            }
            _ => {
                self.add(
                    name,
                    format!("expected a URL with {}", schemes.join("://, ") + "://"),
                );
                None
            }
        }
    }

    /// A comma-separated list of them; none where it is not given.
    fn urls(&mut self, name: &'static str, text: Option<&str>, schemes: &[&str]) -> Vec<Uri> {
        text.into_iter()
            .flat_map(|list| list.split(','))
            .map_while(|url| self.url(name, Some(url.trim()), schemes))
            .collect()
    }

    fn needed<T>(&mut self, name: &'static str, value: Option<&T>, role: Role) {
        if value.is_none() && !self.0.iter().any(|(wrong, _)| *wrong == name) {
            self.add(
                name,
                format!(
                    "is needed by `tutti {}`",
                    format!("{role:?}").to_lowercase()
                ),
            );
        }
    }
}

fn given(value: Option<&String>) -> Option<&str> {
    value
        .map(String::as_str)
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

impl RawSettings {
    /// Checks everything for `role`.
    ///
    /// # Errors
    /// All that is wrong, at once.
    #[expect(clippy::too_many_lines, reason = "one line a setting")]
    pub fn check(&self, role: Role) -> Result<Settings, Wrong> {
        let mut wrong = Wrong::default();
        let database_url = given(self.database_url.as_ref()).map(Secret::new);
        if let Some(url) = &database_url
            && !["postgresql://", "postgres://", "sqlite:"]
                .iter()
                .any(|scheme| url.expose().starts_with(scheme))
        {
            wrong.add("DATABASE_URL", "expected postgresql://… or sqlite:path");
        }
        let redis_tls_ca_file = given(self.redis_tls_ca_file.as_ref()).map(Path::new);
        let redis_url = given(self.redis_url.as_ref()).and_then(|url| {
            RedisUrl::parse(&Secret::new(url), redis_tls_ca_file)
                .map_err(|unusable| {
                    let name = match unusable {
                        Unusable::Address => "REDIS_URL",
                        Unusable::Certificates => "REDIS_TLS_CA_FILE",
                    };
                    wrong.add(name, unusable.to_string());
                })
                .ok()
        });
        let service_keys = match given(self.service_keys.as_ref()) {
            Some(text) => match ServiceKeys::parse(text) {
                Ok(keys) => Some(keys),
                Err(message) => {
                    wrong.add("SERVICE_KEYS", message);
                    None
                }
            },
            None => None,
        };
        let jwt_private_key_file = given(self.jwt_private_key_file.as_ref()).map(PathBuf::from);
        let auth_url = wrong.urls(
            "AUTH_URL",
            given(self.auth_url.as_ref()),
            &["http", "https"],
        );
        let room_url = wrong.urls(
            "ROOM_URL",
            given(self.room_url.as_ref()),
            &["http", "https"],
        );
        let file = |path| given(path).map(Path::new);
        let grpc_tls = GrpcTls::read(GrpcTlsFiles {
            cert: file(self.grpc_tls_cert_file.as_ref()),
            key: file(self.grpc_tls_key_file.as_ref()),
            ca: file(self.grpc_tls_ca_file.as_ref()),
            client_ca: file(self.grpc_tls_client_ca_file.as_ref()),
        })
        .unwrap_or_else(|found| {
            wrong.0.extend(found);
            GrpcTls::default()
        });
        let mut urls = auth_url.iter().chain(&room_url);
        if urls.any(|url| url.scheme_str() == Some("https"))
            && given(self.grpc_tls_ca_file.as_ref()).is_none()
        {
            wrong.add("GRPC_TLS_CA_FILE", "is needed where a URL is https://");
        }
        if role != Role::Standalone {
            wrong.needed("SERVICE_KEYS", service_keys.as_ref(), role);
        }
        if matches!(role, Role::Auth | Role::Room) {
            wrong.needed("DATABASE_URL", database_url.as_ref(), role);
        }
        if role == Role::Auth {
            wrong.needed("JWT_PRIVATE_KEY_FILE", jwt_private_key_file.as_ref(), role);
        }
        if matches!(role, Role::Room | Role::Gateway) {
            wrong.needed("AUTH_URL", auth_url.first(), role);
        }
        if role == Role::Gateway {
            wrong.needed("ROOM_URL", room_url.first(), role);
        }
        let default_http_addr = match role {
            Role::Gateway => "0.0.0.0:8000",
            Role::Standalone | Role::Auth | Role::Room => "127.0.0.1:8000",
        };
        let public_url = given(self.public_url.as_ref()).map(|url| {
            wrong.keep(
                "PUBLIC_URL",
                public_origin(url).ok_or_else(|| {
                    "expected an address without a path such as https://music.example".to_owned()
                }),
            )
        });
        let mut allowed_origins = given(self.allowed_origins.as_ref())
            .into_iter()
            .flat_map(|list| list.split(','))
            .map(|origin| origin.trim().trim_end_matches('/').to_ascii_lowercase())
            .filter(|origin| !origin.is_empty())
            .collect::<Vec<_>>();
        if allowed_origins.iter().any(|origin| !is_origin(origin)) {
            wrong.add(
                "ALLOWED_ORIGINS",
                "expected origins such as https://example.org,http://localhost:3000",
            );
        }
        // The page there is ours, whatever Host a proxy passes on.
        allowed_origins.extend(public_url.clone());
        let outbound_allow = wrong.keep(
            "OUTBOUND_ALLOW",
            OutboundAllow::parse(given(self.outbound_allow.as_ref()).unwrap_or_default()),
        );
        let proxy_networks = wrong.keep(
            "PROXY_NETWORKS",
            Networks::parse(given(self.proxy_networks.as_ref()).unwrap_or_default()),
        );
        let otlp_endpoint = wrong.url(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            given(self.otel_exporter_otlp_endpoint.as_ref()),
            &["http"],
        );
        if let Err(error) = self.rust_log.parse::<tracing_subscriber::EnvFilter>() {
            wrong.add("RUST_LOG", error.to_string());
        }
        let log_format = match self.log_format.trim() {
            "json" => LogFormat::Json,
            "text" => LogFormat::Text,
            _ => {
                wrong.add("LOG_FORMAT", "expected text or json");
                LogFormat::Text
            }
        };
        let socket_max_payload = wrong.keep(
            "SOCKET_MAX_PAYLOAD",
            self.socket_max_payload
                .trim()
                .parse::<ByteSize>()
                .ok()
                .and_then(|size| usize::try_from(size.as_u64()).ok())
                .filter(|&size| size >= 1024)
                .ok_or_else(|| "expected a size of at least 1KiB, such as 64KiB".to_owned()),
        );
        let socket_events_per_minute = wrong.count::<u32>(
            "RATE_SOCKET_EVENTS_PER_MINUTE",
            &self.rate_socket_events_per_minute,
        );
        let friend_requests_per_hour = wrong.count::<u32>(
            "RATE_FRIEND_REQUESTS_PER_HOUR",
            &self.rate_friend_requests_per_hour,
        );
        let auth_per_minute =
            wrong.count::<u32>("RATE_AUTH_PER_MINUTE", &self.rate_auth_per_minute);
        let unless_free = |count: u32| {
            if socket_events_per_minute == 0 {
                0
            } else {
                count
            }
        };
        let settings = Settings {
            role,
            database_url,
            redis_url,
            allowed_origins,
            public_url,
            outbound_allow,
            http_addr: wrong.addr(
                "HTTP_ADDR",
                given(self.http_addr.as_ref()).unwrap_or(default_http_addr),
            ),
            auth_grpc_addr: wrong.addr("AUTH_GRPC_ADDR", &self.auth_grpc_addr),
            room_grpc_addr: wrong.addr("ROOM_GRPC_ADDR", &self.room_grpc_addr),
            auth_url,
            room_url,
            grpc_tls,
            service_keys: service_keys.unwrap_or_else(ServiceKeys::ephemeral),
            admin_addr: wrong.addr(
                "ADMIN_ADDR",
                given(self.admin_addr.as_ref()).unwrap_or("127.0.0.1:9090"),
            ),
            admin_addr_is_explicit: given(self.admin_addr.as_ref()).is_some(),
            data_dir: PathBuf::from(&self.data_dir),
            jwt_private_key_file,
            access_token_ttl: wrong.positive("ACCESS_TOKEN_TTL", &self.access_token_ttl),
            refresh_token_ttl: wrong.positive("REFRESH_TOKEN_TTL", &self.refresh_token_ttl),
            socket_ping_interval: wrong
                .positive("SOCKET_PING_INTERVAL", &self.socket_ping_interval),
            socket_ping_timeout: wrong.positive("SOCKET_PING_TIMEOUT", &self.socket_ping_timeout),
            socket_connect_timeout: wrong
                .positive("SOCKET_CONNECT_TIMEOUT", &self.socket_connect_timeout),
            socket_max_payload,
            trusted_proxies: wrong.count("TRUSTED_PROXIES", &self.trusted_proxies),
            proxy_networks,
            connections_per_address: given(self.connections_per_address.as_ref())
                .map(|text| wrong.count("CONNECTIONS_PER_ADDRESS", text)),
            presence_grace: wrong.duration("PRESENCE_GRACE", &self.presence_grace),
            room_empty_grace: wrong.duration("ROOM_EMPTY_GRACE", &self.room_empty_grace),
            drain_time: match (given(self.drain_time.as_ref()), role) {
                (Some(text), _) => wrong.duration("DRAIN_TIME", text),
                (None, Role::Gateway) => DRAIN_TIME,
                // Its clients have nowhere else to go.
                (None, Role::Standalone | Role::Auth | Role::Room) => Duration::ZERO,
            },
            friend_request_cooldown: wrong
                .duration("FRIEND_REQUEST_COOLDOWN", &self.friend_request_cooldown),
            cleanup_interval: wrong.positive("CLEANUP_INTERVAL", &self.cleanup_interval),
            rates: Rates {
                friend_requests_per_hour,
                stranger_requests_per_hour: wrong.count_or(
                    "RATE_STRANGER_REQUESTS_PER_HOUR",
                    self.rate_stranger_requests_per_hour.as_ref(),
                    friend_requests_per_hour.saturating_mul(STRANGER_REQUESTS),
                ),
                room_creations_per_hour: wrong.count(
                    "RATE_ROOM_CREATIONS_PER_HOUR",
                    &self.rate_room_creations_per_hour,
                ),
                socket_events_per_minute,
                socket_pings_per_minute: wrong.count(
                    "RATE_SOCKET_PINGS_PER_MINUTE",
                    &self.rate_socket_pings_per_minute,
                ),
                user_events_per_minute: wrong.count_or(
                    "RATE_USER_EVENTS_PER_MINUTE",
                    self.rate_user_events_per_minute.as_ref(),
                    socket_events_per_minute.saturating_mul(USER_EVENTS),
                ),
                user_connects_per_minute: wrong.count_or(
                    "RATE_USER_CONNECTS_PER_MINUTE",
                    self.rate_user_connects_per_minute.as_ref(),
                    unless_free(USER_CONNECTS),
                ),
                connections_per_user: wrong.count_or(
                    "CONNECTIONS_PER_USER",
                    self.connections_per_user.as_ref(),
                    unless_free(CONNECTIONS),
                ),
                user_joins_per_minute: wrong.count_or(
                    "RATE_USER_JOINS_PER_MINUTE",
                    self.rate_user_joins_per_minute.as_ref(),
                    unless_free(USER_JOINS),
                ),
                room_syncs_per_minute: wrong.count_or(
                    "RATE_ROOM_SYNCS_PER_MINUTE",
                    self.rate_room_syncs_per_minute.as_ref(),
                    socket_events_per_minute.saturating_mul(ROOM_SYNCS),
                ),
                room_returns_per_minute: wrong.count_or(
                    "RATE_ROOM_RETURNS_PER_MINUTE",
                    self.rate_room_returns_per_minute.as_ref(),
                    unless_free(ROOM_RETURNS),
                ),
                auth_per_minute,
                registrations_per_hour: wrong.count_or(
                    "RATE_REGISTRATIONS_PER_HOUR",
                    self.rate_registrations_per_hour.as_ref(),
                    auth_per_minute.saturating_mul(REGISTRATIONS),
                ),
                login_failures_per_15_minutes: wrong.count(
                    "RATE_LOGIN_FAILURES_PER_15_MINUTES",
                    &self.rate_login_failures_per_15_minutes,
                ),
                api_per_minute: wrong.count("RATE_API_PER_MINUTE", &self.rate_api_per_minute),
                images_per_minute: wrong
                    .count("RATE_IMAGES_PER_MINUTE", &self.rate_images_per_minute),
            },
            otlp_endpoint,
            rust_log: self.rust_log.clone(),
            log_format,
        };
        if wrong.0.is_empty() {
            Ok(settings)
        } else {
            Err(wrong)
        }
    }
}

/// Whether it is `scheme://host` or `scheme://host:port` and nothing more.
fn is_origin(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| {
        uri.scheme().is_some()
            && uri.host().is_some()
            && text.matches('/').count() == 2
            && uri.query().is_none()
    })
}

/// The origin of an address that is nothing more than one, as browsers write it.
fn public_origin(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let origin = url.origin().ascii_serialization();
    let is_one = matches!(url.scheme(), "http" | "https") && url.as_str() == format!("{origin}/");
    is_one.then_some(origin)
}

#[cfg(test)]
mod tests {
    use clap::{Parser, error::ErrorKind};

    use crate::config::{RawSettings, Role};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: RawSettings,
    }

    fn raw(flags: &[&str]) -> RawSettings {
        Cli::try_parse_from([&["tutti"], flags].concat())
            .unwrap_or_else(|error| panic!("{error}"))
            .settings
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let settings = raw(&[]).check(Role::Standalone).unwrap();
        assert_eq!(settings.http_addr.to_string(), "127.0.0.1:8000");
        assert_eq!(settings.socket_max_payload, 64 * 1024);
        assert_eq!(settings.refresh_token_ttl.as_secs(), 30 * 24 * 3600);
        assert_eq!(settings.rates.api_per_minute, 600);
        assert_eq!(settings.public_url, None);
        assert_eq!(settings.connections_per_address, None);
    }

    #[test]
    fn the_public_url_is_an_origin_and_an_allowed_one() {
        for (given, origin) in [
            ("https://Music.example/", "https://music.example"),
            ("http://nas.lan:8000", "http://nas.lan:8000"),
            ("https://music.example:443", "https://music.example"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
        ] {
            let settings = raw(&["--public-url", given])
                .check(Role::Standalone)
                .unwrap();
            assert_eq!(settings.public_url.as_deref(), Some(origin));
            assert_eq!(settings.allowed_origins, [origin]);
        }
        for wrong in [
            "music.example",
            "https://music.example/tutti",
            "https://music.example?a",
            "https://ann:secret@music.example",
            "ftp://music.example",
            "https://",
        ] {
            let wrong = raw(&["--public-url", wrong])
                .check(Role::Standalone)
                .unwrap_err();
            assert_eq!(wrong.0[0].0, "PUBLIC_URL");
        }
    }

    #[test]
    fn all_wrong_settings_are_reported_at_once_and_no_value_is_repeated() {
        let wrong = raw(&[
            "--database-url=mysql://root:hunter2@db/x",
            "--redis-url=redis+cluster://:hunter2@redis/path",
            "--http-addr=nowhere",
            "--presence-grace=soon",
            "--access-token-ttl=0s",
            "--rate-api-per-minute=-1",
            "--allowed-origins=https://a.example/path",
            "--outbound-allow=nas.lan,http://user:hunter2@nas.lan",
            "--proxy-networks=proxy.lan",
            "--log-format=xml",
            "--room-url=https://room",
            "--grpc-tls-key-file=/nowhere",
            "--grpc-tls-client-ca-file=/dev/null",
        ])
        .check(Role::Standalone)
        .unwrap_err();
        let names = wrong.0.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        for name in [
            "DATABASE_URL",
            "REDIS_URL",
            "HTTP_ADDR",
            "PRESENCE_GRACE",
            "ACCESS_TOKEN_TTL",
            "RATE_API_PER_MINUTE",
            "ALLOWED_ORIGINS",
            "OUTBOUND_ALLOW",
            "PROXY_NETWORKS",
            "LOG_FORMAT",
            "GRPC_TLS_CERT_FILE",
            "GRPC_TLS_KEY_FILE",
            "GRPC_TLS_CA_FILE",
            "GRPC_TLS_CLIENT_CA_FILE",
        ] {
            assert!(names.contains(&name), "{name} is missing from {names:?}");
        }
        assert!(!wrong.to_string().contains("hunter2"));
    }

    #[test]
    fn a_service_may_be_at_several_addresses() {
        let settings = raw(&[
            "--service-keys=gateway:change-me",
            "--auth-url=http://auth:50051",
            "--room-url=http://127.0.0.1:50052, http://[::1]:50062",
        ])
        .check(Role::Gateway)
        .unwrap();
        assert_eq!(settings.auth_url, ["http://auth:50051"]);
        let rooms = ["http://127.0.0.1:50052", "http://[::1]:50062"];
        assert_eq!(settings.room_url, rooms);
        let wrong = raw(&["--room-url=http://a:1,b:2"]).check(Role::Standalone);
        assert_eq!(wrong.unwrap_err().0[0].0, "ROOM_URL");
    }

    #[test]
    fn a_role_of_its_own_says_what_it_needs() {
        let wrong = raw(&[]).check(Role::Gateway).unwrap_err();
        let names = wrong.0.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        assert_eq!(names, ["SERVICE_KEYS", "AUTH_URL", "ROOM_URL"]);
    }

    #[test]
    fn help_is_help() {
        let error = Cli::try_parse_from(["tutti", "--help"])
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DisplayHelp);
        for variable in [
            "DATABASE_URL",
            "TUTTI_DATA_DIR",
            "RATE_LOGIN_FAILURES_PER_15_MINUTES",
        ] {
            assert!(error.to_string().contains(variable), "{variable}");
        }
    }
}
