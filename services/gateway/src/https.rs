//! Who came over TLS is to come over TLS the next time, too.

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderValue, header::STRICT_TRANSPORT_SECURITY};
use tutti_common::http::requested_host;

use crate::Gateway;

/// For a year. Not for names below this one, which may be somebody else's.
const STRICTLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Adds `Strict-Transport-Security` where the request came over TLS.
pub(crate) async fn stay_on_tls(
    State(gateway): State<Gateway>,
    request: Request,
    next: Next,
) -> Response {
    let settings = &gateway.settings;
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let proxies = peer.map_or(0, |peer| settings.proxies_before(peer.ip()));
    let is_over_tls = match forwarded_scheme(request.headers(), proxies) {
        Some(scheme) => scheme.eq_ignore_ascii_case("https"),
        // Whoever came by the public address came the way that it says.
        None => settings.public_url.as_deref().is_some_and(|url| {
            let host = requested_host(&request).ok().flatten();
            let public = url.strip_prefix("https://");
            public.is_some_and(|public| {
                host.is_some_and(|host| host.as_str().eq_ignore_ascii_case(public))
            })
        }),
    };
    let mut response = next.run(request).await;
    if is_over_tls {
        let headers = response.headers_mut();
        headers.insert(STRICT_TRANSPORT_SECURITY, STRICTLY);
    }
    response
}

/// What the outermost of the trusted proxies says in `X-Forwarded-Proto`. A proxy replaces what is there, or adds to it.
fn forwarded_scheme(headers: &HeaderMap, trusted: usize) -> Option<&str> {
    let nth = trusted.checked_sub(1)?;
    let schemes = headers
        .get_all("x-forwarded-proto")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|scheme| !scheme.is_empty())
        .collect::<Vec<_>>();
    let last = schemes.len().checked_sub(1)?;
    schemes.into_iter().rev().nth(nth.min(last))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::forwarded_scheme;

    #[test]
    fn only_trusted_proxies_say_how_somebody_came() {
        let headers = |scheme: &str| {
            HeaderMap::from_iter([(
                "x-forwarded-proto".parse().unwrap(),
                scheme.parse().unwrap(),
            )])
        };
        assert_eq!(forwarded_scheme(&headers("https"), 0), None);
        assert_eq!(forwarded_scheme(&HeaderMap::new(), 1), None);
        assert_eq!(forwarded_scheme(&headers("https"), 1), Some("https"));
        assert_eq!(forwarded_scheme(&headers("https"), 2), Some("https"));
        assert_eq!(forwarded_scheme(&headers("https, http"), 1), Some("http"));
        assert_eq!(
            forwarded_scheme(&headers("http, https, http"), 2),
            Some("https")
        );
    }
}
