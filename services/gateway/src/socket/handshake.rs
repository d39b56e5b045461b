//! The opening handshake of a WebSocket (RFC 6455, section 4.2).

use axum::{extract::Request, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Version,
    header::{CONNECTION, HOST, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use sha1::{Digest as _, Sha1};

use super::request::Refusal;

/// RFC 6455, section 1.3.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The version of RFC 6455.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Checks a request for a WebSocket. Returns the value of `Sec-WebSocket-Accept`.
///
/// # Errors
/// The answer: 426 where the client speaks another version of the protocol, otherwise 400. It comes at once, so that a
/// client behind a proxy that does not pass `Upgrade` on can use long-polling without waiting.
#[expect(
    clippy::result_large_err,
    reason = "it is an answer, made once for a request that failed"
)]
pub(super) fn accept(request: &Request) -> Result<String, Response> {
    let headers = request.headers();
    if request.method() != Method::GET
        || request.version() < Version::HTTP_11
        || !names(headers, &UPGRADE, "websocket")
        || !names(headers, &CONNECTION, "upgrade")
    {
        return Err(refused(
            "a WebSocket begins with GET, HTTP/1.1 or higher, Upgrade: websocket and Connection: Upgrade, which proxies have to pass on",
        ));
    }
    if only(headers, &HOST).is_none() {
        return Err(refused("a WebSocket needs one Host header"));
    }
    if only(headers, &SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(other_version());
    }
    match only(headers, &SEC_WEBSOCKET_KEY) {
        Some(key) if is_key(key.as_bytes()) => {
            let hash = Sha1::new()
                .chain_update(key.as_bytes())
                .chain_update(ACCEPT_SUFFIX)
                .finalize();
            Ok(STANDARD.encode(hash))
        }
        _ => Err(refused(
            "a WebSocket needs one Sec-WebSocket-Key of 16 bytes in base64",
        )),
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// Whether a header's list has this word.
fn names(headers: &HeaderMap, header: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(header).iter();
    let mut words = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    words.any(|each| each.trim().eq_ignore_ascii_case(word))
}

/// Whether these are 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(is_base64)
}

/// In Engine.IO's form, with the reason for whoever looks at it.
fn refused(detail: &str) -> Response {
    Refusal::BadRequest.because(Some(detail))
}

/// RFC 6455, section 4.4: the client learns which version is spoken here.
fn other_version() -> Response {
    let mut answer = refused("WebSockets are spoken here in version 13");
    *answer.status_mut() = StatusCode::UPGRADE_REQUIRED;
    let headers = answer.headers_mut();
    headers.insert(SEC_WEBSOCKET_VERSION, VERSION);
    // RFC 9110, section 15.5.22: 426 names the protocol, and Connection names that header.
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, extract::Request};
    use http::{Method, StatusCode, Version};

    use super::accept;

    const GOOD: [(&str, &str); 5] = [
        ("host", "example.org"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    fn request(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().uri("/socket.io/?EIO=4&transport=websocket");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    /// A good one, but one header is `values`.
    fn but(name: &str, values: &[&str]) -> Request {
        let mut headers = GOOD.to_vec();
        headers.retain(|(each, _)| *each != name);
        headers.extend(values.iter().map(|value| (name, *value)));
        request(&headers)
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted_however_it_is_written() {
        let accepted = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        assert_eq!(accept(&request(&GOOD)).unwrap(), accepted);
        for (name, values) in [
            ("upgrade", ["WebSocket"].as_slice()),
            ("upgrade", &["h2c, websocket"]),
            ("upgrade", &["h2c", "websocket"]),
            ("connection", &["keep-alive, upgrade"]),
            ("connection", &["keep-alive", "UPGRADE"]),
        ] {
            assert_eq!(accept(&but(name, values)).unwrap(), accepted, "{name}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_refused() {
        for (name, values) in [
            ("host", [].as_slice()),
            ("host", &["example.org", "example.com"]),
            ("upgrade", &[]),
            ("upgrade", &["h2c"]),
            ("upgrade", &["websockets"]),
            ("connection", &[]),
            ("connection", &["close"]),
            ("connection", &["keep-alive, upgrades"]),
            ("sec-websocket-key", &[]),
            ("sec-websocket-key", &[""]),
            ("sec-websocket-key", &["c2hvcnQ="]),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZQ"]),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25j!Q=="]),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZTEy"]),
            (
                "sec-websocket-key",
                &["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="],
            ),
        ] {
            let answer = accept(&but(name, values)).unwrap_err();
            assert_eq!(
                answer.status(),
                StatusCode::BAD_REQUEST,
                "{name} {values:?}"
            );
        }
        let mut old = request(&GOOD);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(accept(&old).unwrap_err().status(), StatusCode::BAD_REQUEST);
        let mut post = request(&GOOD);
        *post.method_mut() = Method::POST;
        assert_eq!(accept(&post).unwrap_err().status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn who_speaks_another_version_is_told_which_one_is_spoken() {
        for versions in [
            [].as_slice(),
            &["8"],
            &["99"],
            &["13", "13"],
            &["13, 8"],
            &["x"],
        ] {
            let answer = accept(&but("sec-websocket-version", versions)).unwrap_err();
            assert_eq!(
                answer.status(),
                StatusCode::UPGRADE_REQUIRED,
                "{versions:?}"
            );
            assert_eq!(answer.headers()["sec-websocket-version"], "13");
            assert_eq!(answer.headers()["upgrade"], "websocket");
        }
    }
}
