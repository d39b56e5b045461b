//! Which names a server answers to. A page that has a name of its own resolve to this server (DNS rebinding) is, to the
//! browser, of the same origin as the server; the name in `Host` gives it away.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, Request, Uri, Version, header::HOST, uri::Authority};

/// The names that are allowed besides addresses and `localhost`, which nobody else can have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<String>);

/// A request does not say, or not clearly, whom it is for (RFC 9112, 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request needs one valid Host")]
pub struct BadHost;

impl AllowedHosts {
    /// The hosts of these origins (`https://music.example:8443`).
    #[must_use]
    pub fn of_origins<'a>(origins: impl IntoIterator<Item = &'a str>) -> Self {
        let hosts = origins.into_iter().filter_map(|origin| {
            let uri = origin.parse::<Uri>().ok()?;
            Some(plain(uri.host()?))
        });
        Self(hosts.collect())
    }

    /// Whether a request for `host` is answered. The port does not matter.
    #[must_use]
    pub fn allow(&self, host: &Authority) -> bool {
        let host = plain(host.host());
        let address = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        host.parse::<Ipv4Addr>().is_ok()
            || address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
            || host == "localhost"
            || host.ends_with(".localhost")
            || self.0.contains(&host)
    }
}

/// A name as it is compared: names may end with a dot, and case does not matter.
fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whom a request is for. HTTP/1.0 need not say it; no browser speaks that.
///
/// # Errors
/// Where the request does not say it as HTTP/1.1 must.
pub fn requested_host<B>(request: &Request<B>) -> Result<Option<Authority>, BadHost> {
    let said = said_host(request.headers())?;
    // RFC 9112, 3.2.2: an absolute address counts and not `Host`, which has to be there all the same.
    match (request.uri().authority(), said) {
        (None, None) if request.version() > Version::HTTP_10 => Err(BadHost),
        (Some(authority), _) => Ok(Some(authority.clone())),
        (None, said) => Ok(said),
    }
}

fn said_host(headers: &HeaderMap) -> Result<Option<Authority>, BadHost> {
    let mut values = headers.get_all(HOST).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(HOST) {
            Err(BadHost)
        } else {
            Ok(None)
        };
    };
    let authority = Authority::try_from(value.as_bytes()).map_err(|_| BadHost)?;
    if authority.as_str().contains('@') {
        return Err(BadHost);
    }
    Ok(Some(authority))
}

#[cfg(test)]
mod tests {
    use http::{Request, Version};

    use super::{AllowedHosts, BadHost, requested_host};

    #[test]
    fn addresses_localhost_and_the_named_hosts_are_allowed() {
        let hosts = AllowedHosts::of_origins(["https://Music.example", "http://nas.lan:3000"]);
        for allowed in [
            "127.0.0.1:8000",
            "192.168.1.20",
            "[::1]:8000",
            "[2001:db8::1]",
            "localhost",
            "LOCALHOST:8000",
            "a.localhost:1",
            "music.example",
            "music.example.",
            "MUSIC.EXAMPLE:443",
            "nas.lan",
            "nas.lan:9",
        ] {
            assert!(hosts.allow(&allowed.parse().unwrap()), "{allowed}");
        }
        for foreign in [
            "evil.example",
            "music.example.evil.example",
            "evil-music.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "0x7f.1",
            "2130706433",
            "[v1.x]",
        ] {
            assert!(!hosts.allow(&foreign.parse().unwrap()), "{foreign}");
        }
    }

    fn host(uri: &str, version: Version, hosts: &[&str]) -> Result<Option<String>, BadHost> {
        let request = hosts
            .iter()
            .fold(Request::get(uri).version(version), |request, host| {
                request.header("host", *host)
            });
        let host = requested_host(&request.body(()).unwrap())?;
        Ok(host.map(|host| host.to_string()))
    }

    #[test]
    fn a_request_says_once_whom_it_is_for() {
        let now = Version::HTTP_11;
        assert_eq!(
            host("/", now, &["a.example:80"]),
            Ok(Some("a.example:80".to_owned()))
        );
        assert_eq!(
            host("http://b.example/", now, &["a.example"]),
            Ok(Some("b.example".to_owned()))
        );
        assert_eq!(host("/", Version::HTTP_10, &[]), Ok(None));
        for hosts in [
            &[][..],
            &["a.example", "a.example"],
            &["a b"],
            &[""],
            &["u@a.example"],
            &["a/b"],
        ] {
            assert_eq!(host("/", now, hosts), Err(BadHost), "{hosts:?}");
        }
        assert_eq!(host("http://b.example/", now, &["a", "b"]), Err(BadHost));
    }
}
