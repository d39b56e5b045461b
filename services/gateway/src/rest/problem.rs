//! Errors as RFC 9457 `application/problem+json`.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tutti_common::{
    limits::retry_after_s,
    status::{self, Reason, Violation},
};

use crate::{fields::BadFields, identity::IdentityError};

/// What a call that fails answers.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    reason: Reason,
    detail: String,
    errors: Vec<Violation>,
    retry_after_s: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    /// The request cannot be read.
    pub(crate) fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Reason::InvalidRequest, detail)
    }

    /// The request breaks rules.
    pub(crate) fn broken(errors: Vec<Violation>) -> Self {
        let detail = detail(&errors);
        Self {
            errors,
            ..Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                Reason::InvalidRequest,
                detail,
            )
        }
    }

    /// Who asks is not known.
    pub(crate) fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            Reason::AuthRequired,
            "a valid access token is required",
        )
    }

    /// A part that is needed does not answer.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Reason::Unavailable, detail)
    }

    /// When to try again, in whole seconds.
    pub(crate) fn retry_after(self, wait: std::time::Duration) -> Self {
        Self {
            retry_after_s: Some(retry_after_s(wait)),
            ..self
        }
    }

    /// Too often.
    pub(crate) fn limited(wait: std::time::Duration) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            Reason::RateLimited,
            format!("too many requests; try again in {} s", retry_after_s(wait)),
        )
        .retry_after(wait)
    }
}

fn detail(errors: &[Violation]) -> String {
    errors
        .iter()
        .map(|error| format!("{}: {}", error.field, error.message))
        .collect::<Vec<_>>()
        .join("; ")
}

impl From<BadFields> for Problem {
    fn from(bad: BadFields) -> Self {
        match bad {
            BadFields::Missing(errors) => Self::broken(errors),
            BadFields::Types(errors) => Self {
                detail: detail(&errors),
                errors,
                ..Self::unreadable("")
            },
        }
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Refused => Self::unauthenticated(),
            IdentityError::Unavailable => Self::unavailable(error.to_string()),
        }
    }
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        let reason = Reason::of(&status);
        let problem = |http: StatusCode| Self::new(http, reason, status.message());
        match status.code() {
            Code::Unauthenticated => problem(StatusCode::UNAUTHORIZED),
            Code::PermissionDenied => problem(StatusCode::FORBIDDEN),
            Code::NotFound => problem(StatusCode::NOT_FOUND),
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => {
                problem(StatusCode::CONFLICT)
            }
            Code::InvalidArgument | Code::OutOfRange => Self {
                errors: status::violations(&status),
                ..problem(StatusCode::UNPROCESSABLE_ENTITY)
            },
            Code::ResourceExhausted => match status::retry_after(&status) {
                Some(wait) => Self::limited(wait),
                // A message too large for gRPC: nothing that a client of ours sends.
                None => problem(StatusCode::PAYLOAD_TOO_LARGE),
            },
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unavailable
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss => {
                tracing::warn!(code = ?status.code(), message = status.message(), "a part did not answer as it should");
                Self::unavailable("the service is unavailable; try again")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.reason.as_str(),
        });
        if !self.errors.is_empty() {
            body["errors"] = self
                .errors
                .iter()
                .map(|error| json!({ "field": error.field, "message": error.message }))
                .collect::<Value>();
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
