//! What a handler takes of a request: who asks, the JSON object, a path's id, the query.

use std::net::SocketAddr;

use axum::{
    body::Body,
    extract::{ConnectInfo, FromRequest, FromRequestParts, Path, RawQuery, Request},
};
use http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use std::time::Duration;
use tutti_common::{
    http::BodyError,
    limits::{Rule, prefix_of},
    rpc,
    status::{Reason, Violation},
};

use super::problem::Problem;
use crate::{Gateway, fields::Fields, origin};

/// How large a body may be, in bytes.
const BODY_MAX: usize = 64 * 1024;

/// The user who asks. Counts against the limit of calls.
pub(crate) struct Caller(pub(crate) String);

impl FromRequestParts<Gateway> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Problem> {
        let token = bearer(&parts.headers)?;
        let claims = gateway.identity.verify(token).await?;
        let user = claims.sub.to_string();
        let rule = Rule {
            name: "api",
            max: gateway.settings.rates.api_per_minute,
            window: Duration::from_mins(1),
        };
        gateway
            .limiter
            .take(&format!("api:{user}"), rule, gateway.clock.now())
            .await
            .map_err(|wait| Problem::limited(wait.0))?;
        Ok(Self(user))
    }
}

/// The token of `Authorization: Bearer …`; the scheme's case does not matter (RFC 9110, 11.1). A request that has two such
/// headers is malformed (RFC 6750, 3.1): what is between here and the client might have looked at the other one.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (given.next(), given.next()) else {
        return Err(Problem::unreadable(
            "there is more than one Authorization header",
        ));
    };
    value
        .and_then(|value| value.to_str().ok()?.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(Problem::unauthenticated)
}

/// The address of the client, as limits count it.
pub(crate) struct ClientAddress(pub(crate) String);

impl FromRequestParts<Gateway> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Problem> {
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)), |peer| peer.0);
        let address = origin::client_address(
            &parts.headers,
            peer,
            gateway.settings.proxies_before(peer.ip()),
        );
        Ok(Self(prefix_of(address)))
    }
}

/// A body that is a JSON object.
pub(crate) struct JsonObject(Map<String, Value>);

impl JsonObject {
    /// Reads its members.
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields::of(&self.0, "")
    }
}

impl FromRequest<Gateway> for JsonObject {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Gateway) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        if !is_json(&parts.headers) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Reason::InvalidRequest,
                "the body must be application/json",
            ));
        }
        let bytes = rpc::not_counting(read(body)).await?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(Problem::unreadable("the body must be a JSON object")),
            Err(error) => Err(Problem::unreadable(format!(
                "the body is not JSON: {error}"
            ))),
        }
    }
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    match Limited::new(body, BODY_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Reason::InvalidRequest,
            "the body may have at most 64 KiB",
        )),
        Err(error) => Err(match error.downcast_ref::<BodyError>() {
            Some(error) => Problem::unreadable(error.to_string()),
            None => Problem::unreadable("the body broke off"),
        }),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(media_type) = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let media_type = media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// The id in the path. Ids are opaque: what none of ours looks like is simply not there.
pub(crate) struct PathId(pub(crate) String);

impl FromRequestParts<Gateway> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Problem> {
        Path::<String>::from_request_parts(parts, gateway)
            .await
            .map(|Path(id)| Self(id))
            .map_err(|_| Problem::unreadable("the path cannot be read"))
    }
}

/// The query's members; the last of a name counts.
pub(crate) struct Query(Vec<(String, String)>);

impl FromRequestParts<Gateway> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Problem> {
        let Ok(RawQuery(query)) = RawQuery::from_request_parts(parts, gateway).await;
        query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(name)?, decode(value)?))
            })
            .collect::<Result<Vec<_>, Problem>>()
            .map(Self)
    }
}

fn decode(text: &str) -> Result<String, Problem> {
    percent_encoding::percent_decode_str(&text.replace('+', " "))
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| Problem::unreadable("the query is not UTF-8"))
}

impl Query {
    /// A member, if there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A member that must be there.
    pub(crate) fn need(&self, name: &str) -> Result<&str, Problem> {
        self.get(name)
            .ok_or_else(|| Problem::broken(vec![Violation::new(name, "is missing")]))
    }

    /// A whole number, if there.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i32>, Problem> {
        self.get(name)
            .map(|text| match text.parse::<i64>() {
                // Beyond an i32 it breaks the same rule as the largest does.
                Ok(number) => Ok(i32::try_from(number).unwrap_or(i32::MAX)),
                Err(_) => Err(Problem::unreadable(format!(
                    "{name}: must be a whole number"
                ))),
            })
            .transpose()
    }
}
