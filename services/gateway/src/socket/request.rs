//! What a request to `/socket.io/` asks for, and how Engine.IO refuses one.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use engineioxide_core::Sid;
use http::{
    Method, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde_json::json;

/// Engine.IO's reasons to refuse a request, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownTransport = 0,
    UnknownSession = 1,
    BadMethod = 2,
    BadRequest = 3,
    UnsupportedVersion = 5,
}

impl Refusal {
    /// The answer to it.
    pub(super) fn response(self) -> Response {
        self.because(None)
    }

    /// The answer to it, with the reason for whoever looks at it.
    pub(super) fn because(self, detail: Option<&str>) -> Response {
        let message = match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSession => "Session ID unknown",
            Self::BadMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::UnsupportedVersion => "Unsupported protocol version",
        };
        let mut body = json!({ "code": self as u8, "message": message });
        if let Some(detail) = detail {
            body["detail"] = detail.into();
        }
        let headers = [
            (CONTENT_TYPE, "application/json"),
            (CACHE_CONTROL, "no-store"),
        ];
        (StatusCode::BAD_REQUEST, headers, body.to_string()).into_response()
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A session that is polled.
    Open,
    /// What waits in a session.
    Poll(Sid),
    /// To say something in a session.
    Post(Sid),
    /// A session by WebSocket.
    Socket,
    /// To go on by WebSocket.
    Upgrade(Sid),
}

impl Asked {
    /// Reads it, in the order in which the reference server finds fault.
    pub(super) fn of(method: &Method, query: &str) -> Result<Self, Refusal> {
        let value = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find_map(|(known, value)| (known == name).then_some(value))
        };
        let is_socket = match value("transport") {
            Some("polling") => false,
            Some("websocket") => true,
            _ => return Err(Refusal::UnknownTransport),
        };
        let sid = match value("sid") {
            Some(sid) => Some(sid.parse().map_err(|_| Refusal::UnknownSession)?),
            None if *method != Method::GET => return Err(Refusal::BadMethod),
            None => None,
        };
        if value("EIO") != Some("4") {
            return Err(Refusal::UnsupportedVersion);
        }
        match (sid, is_socket, method) {
            (None, false, _) => Ok(Self::Open),
            (None, true, _) => Ok(Self::Socket),
            (Some(sid), false, &Method::GET) => Ok(Self::Poll(sid)),
            (Some(sid), false, &Method::POST) => Ok(Self::Post(sid)),
            (Some(sid), true, &Method::GET) => Ok(Self::Upgrade(sid)),
            _ => Err(Refusal::BadRequest),
        }
    }
}

/// A good answer: packets, or that some were taken.
pub(super) fn answer(body: impl Into<Body>) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=UTF-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, body.into()).into_response()
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::{Asked, Refusal};

    #[test]
    fn faults_are_found_in_the_order_of_the_reference_server() {
        let asked = |method: Method, query: &str| Asked::of(&method, query);
        let sid = "AAAAAAAAAAAAAAAAAAAAAAAA".get(..16).unwrap();
        for (query, refusal) in [
            ("", Refusal::UnknownTransport),
            ("EIO=4&transport=pigeon", Refusal::UnknownTransport),
            ("EIO=4&transport=polling&sid=x", Refusal::UnknownSession),
            ("EIO=3&transport=polling", Refusal::UnsupportedVersion),
            ("transport=websocket", Refusal::UnsupportedVersion),
        ] {
            assert_eq!(asked(Method::GET, query), Err(refusal), "{query}");
        }
        let open = "EIO=4&transport=polling";
        assert_eq!(asked(Method::POST, open), Err(Refusal::BadMethod));
        assert_eq!(asked(Method::GET, open), Ok(Asked::Open));
        let with = format!("{open}&sid={sid}&t=now");
        let sid = sid.parse().unwrap();
        assert_eq!(asked(Method::POST, &with), Ok(Asked::Post(sid)));
        assert_eq!(asked(Method::GET, &with), Ok(Asked::Poll(sid)));
        assert_eq!(asked(Method::PUT, &with), Err(Refusal::BadRequest));
    }
}
