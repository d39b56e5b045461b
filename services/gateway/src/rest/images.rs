//! Pictures of other hosts.

use std::time::Duration;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use tutti_common::{
    limits::Rule,
    outbound::{self, OutboundError},
    status::{Reason, Violation},
};
use url::Url;

use super::{
    Answer,
    problem::Problem,
    request::{Caller, Query},
};
use crate::{
    Gateway,
    images::{Image, ImageError, KEPT_FOR},
};

/// What the picture is called in errors: the query's member.
const FIELD: &str = "url";

pub(super) async fn show(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    query: Query,
) -> Answer {
    let mut url = Url::parse(query.need(FIELD)?)
        .map_err(|_| broken("must be an https: or http: address".to_owned()))?;
    outbound::check(&url).map_err(ImageError::from)?;
    // It is not sent, so that it makes no other picture.
    url.set_fragment(None);
    if let Some(known) = gateway.images.known(&url).await {
        return Ok(answer(known?));
    }
    let rule = Rule {
        name: "images",
        max: gateway.settings.rates.images_per_minute,
        window: Duration::from_mins(1),
    };
    gateway
        .limiter
        .take(&format!("images:{user_id}"), rule, gateway.clock.now())
        .await
        .map_err(|wait| Problem::limited(wait.0))?;
    Ok(answer(gateway.images.get(url).await?))
}

fn answer(image: Image) -> Response {
    let mut response = image.bytes.into_response();
    let kept = format!("private, max-age={}", KEPT_FOR.as_secs());
    let fixed = [
        (CONTENT_TYPE, image.media_type),
        (CACHE_CONTROL, kept.as_str()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Opened by itself it is a picture and nothing more, whatever else a browser might find in it.
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    ];
    for (name, value) in fixed {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn broken(message: String) -> Problem {
    Problem::broken(vec![Violation::new(FIELD, message)])
}

impl From<ImageError> for Problem {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::NotAnImage | ImageError::TooManyPixels => broken(error.to_string()),
            ImageError::Busy => Self::unavailable(error.to_string()),
            ImageError::Outbound(outbound) => outbound.into(),
        }
    }
}

impl From<OutboundError> for Problem {
    fn from(error: OutboundError) -> Self {
        let message = error.to_string();
        match error {
            OutboundError::Address(_)
            | OutboundError::TooLarge { .. }
            | OutboundError::Encoded { .. } => broken(message),
            OutboundError::Refused { .. } => Self::new(
                StatusCode::FORBIDDEN,
                Reason::Forbidden,
                format!("{message}, and OUTBOUND_ALLOW does not list it"),
            ),
            // Whatever the other host does is no fault of ours: there is no picture to be had from it.
            OutboundError::Unreachable { .. }
            | OutboundError::Status { .. }
            | OutboundError::Redirects { .. }
            | OutboundError::TookTooLong { .. } => {
                Self::new(StatusCode::NOT_FOUND, Reason::NotFound, message)
            }
        }
    }
}
