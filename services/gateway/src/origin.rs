//! Which pages may use this server, and which address asks.

use std::net::{IpAddr, SocketAddr};

use http::{
    HeaderMap, HeaderName, Uri,
    header::{HOST, ORIGIN},
};

/// How much of a header is repeated, in characters.
const SHOWN: usize = 100;

/// Whether the page that asks, if it is a page, is one of ours or an allowed one. Browsers send `Origin`
/// with `WebSocket`s and cross-site requests; programs need not.
pub(crate) fn is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    let origin = origin.to_ascii_lowercase();
    if allowed.contains(&origin) {
        return true;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match (authority(&origin), host) {
        (Some(page), Some(host)) => page == without_default_port(&host.to_ascii_lowercase()),
        _ => false,
    }
}

/// Says why a page is refused: who asked, what it asked for, and what whoever runs this server has to set.
pub(crate) fn why_refused(headers: &HeaderMap) -> String {
    format!(
        "pages of {} may not connect, since the Host that arrives here is {}. A proxy in front of this server has to pass \
         the browser's Host on. A page of another address has to be named in ALLOWED_ORIGINS",
        shown(headers, &ORIGIN),
        shown(headers, &HOST),
    )
}

/// A header that anybody may write, as it may be repeated: on one line, and not too long.
fn shown(headers: &HeaderMap, name: &HeaderName) -> String {
    let value = headers.get(name);
    value.map_or_else(
        || "(none)".to_owned(),
        |value| printable(&String::from_utf8_lossy(value.as_bytes())),
    )
}

/// What anybody may write, on one line and not too long.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = text
        .chars()
        .take(SHOWN)
        .map(|char| if char.is_ascii_graphic() { char } else { '?' })
        .collect::<String>();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

/// The host and port of `scheme://host:port`. Behind a proxy that ends TLS our own scheme is unknown, so
/// the default ports of both count as none.
fn authority(origin: &str) -> Option<String> {
    let uri = origin.parse::<Uri>().ok()?;
    uri.scheme()?;
    Some(without_default_port(uri.authority()?.as_str()).to_owned())
}

fn without_default_port(authority: &str) -> &str {
    authority
        .strip_suffix(":80")
        .or_else(|| authority.strip_suffix(":443"))
        .unwrap_or(authority)
}

/// The address of who asks: what the `trusted`-last proxy wrote into `X-Forwarded-For`, or the peer's.
pub(crate) fn client_address(headers: &HeaderMap, peer: SocketAddr, trusted: usize) -> IpAddr {
    let forwarded = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .collect::<Vec<_>>();
    // What stands before those entries anybody can make up.
    trusted
        .checked_sub(1)
        .and_then(|nth| forwarded.iter().rev().nth(nth))
        .and_then(|address| address.parse().ok())
        .unwrap_or(peer.ip())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{client_address, is_allowed, why_refused};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn our_own_pages_allowed_ones_and_programs_may() {
        let allowed = ["https://app.example".to_owned()];
        for pairs in [
            &[("host", "a.example:8000")][..],
            &[
                ("host", "a.example:8000"),
                ("origin", "http://a.example:8000"),
            ],
            &[("host", "a.example"), ("origin", "https://a.example")],
            &[("host", "A.example"), ("origin", "https://a.EXAMPLE:443")],
            &[("host", "a.example"), ("origin", "https://app.example")],
        ] {
            assert!(is_allowed(&headers(pairs), &allowed), "{pairs:?}");
        }
        for pairs in [
            &[("host", "a.example"), ("origin", "https://evil.example")][..],
            &[("host", "a.example"), ("origin", "null")],
            &[
                ("host", "a.example:8000"),
                ("origin", "http://a.example:8001"),
            ],
            &[
                ("host", "a.example"),
                ("origin", "https://app.example.evil.example"),
            ],
        ] {
            assert!(!is_allowed(&headers(pairs), &allowed), "{pairs:?}");
        }
    }

    #[test]
    fn a_refusal_names_what_was_seen_on_one_line_and_not_at_length() {
        let why = why_refused(&headers(&[
            ("host", "tutti"),
            ("origin", "https://a.example"),
        ]));
        assert!(
            why.contains(
                "of https://a.example may not connect, since the Host that arrives here is tutti."
            ),
            "{why}"
        );
        assert!(why_refused(&HeaderMap::new()).contains("arrives here is (none)."));
        let mut hostile = headers(&[("host", "a\tb c")]);
        let long = format!("https://é{}", "x".repeat(5_000));
        hostile.insert("origin", HeaderValue::from_bytes(long.as_bytes()).unwrap());
        let why = why_refused(&hostile);
        assert!(why.is_ascii() && !why.contains(char::is_control), "{why}");
        assert!(
            why.contains("is a?b?c.") && why.contains("xxx... may"),
            "{why}"
        );
        assert!(why.len() < 500, "{why}");
    }

    #[test]
    fn only_trusted_proxies_entries_count() {
        let peer = "10.0.0.9:1".parse().unwrap();
        let forwarded = headers(&[("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.1")]);
        let address = |trusted| client_address(&forwarded, peer, trusted).to_string();
        assert_eq!(address(0), "10.0.0.9");
        assert_eq!(address(1), "10.0.0.1");
        assert_eq!(address(2), "1.2.3.4");
        assert_eq!(address(9), "10.0.0.9");
    }
}
