//! Errors between services: a gRPC status whose `google.rpc.ErrorInfo` carries the contract's code.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// `ErrorInfo.domain` of every error that is Tutti's own.
pub const DOMAIN: &str = "tutti";

/// The contract's error codes: `ErrorInfo.reason`, `code` in REST and Socket.IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not, or no longer, authenticated.
    AuthRequired,
    /// The request breaks a rule of form.
    InvalidRequest,
    /// Visible, but not theirs to do.
    Forbidden,
    /// Not there, or not for them to know that it is.
    NotFound,
    /// The room cannot be joined.
    JoinFailed,
    /// It contradicts what is there.
    Conflict,
    /// Too often.
    RateLimited,
    /// Only the host may.
    UpdateFailed,
    /// The user is not in that room.
    NotInRoom,
    /// A part does not answer.
    Unavailable,
    /// A fault of ours.
    Internal,
}

impl Reason {
    const ALL: [Self; 11] = [
        Self::AuthRequired,
        Self::InvalidRequest,
        Self::Forbidden,
        Self::NotFound,
        Self::JoinFailed,
        Self::Conflict,
        Self::RateLimited,
        Self::UpdateFailed,
        Self::NotInRoom,
        Self::Unavailable,
        Self::Internal,
    ];

    /// As the contract spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthRequired => "AUTH_REQUIRED",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::JoinFailed => "JOIN_FAILED",
            Self::Conflict => "CONFLICT",
            Self::RateLimited => "RATE_LIMITED",
            Self::UpdateFailed => "UPDATE_FAILED",
            Self::NotInRoom => "NOT_IN_ROOM",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// The reason a status carries; for one without, as from a broken transport, what its code says.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        status
            .get_details_error_info()
            .and_then(|info| Self::parse(&info.reason))
            .unwrap_or(match status.code() {
                Code::Unauthenticated => Self::AuthRequired,
                Code::InvalidArgument | Code::OutOfRange => Self::InvalidRequest,
                Code::PermissionDenied => Self::Forbidden,
                Code::NotFound => Self::NotFound,
                Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Self::Conflict,
                Code::ResourceExhausted => Self::RateLimited,
                // A process of an earlier version, beside this one during an upgrade, lacks what is new.
                Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Cancelled
                | Code::Unimplemented => Self::Unavailable,
                Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Self::Internal,
            })
    }
}

/// A rule that a member of the request breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The member's name, as the contract has it.
    pub field: String,
    /// What it should be.
    pub message: String,
}

impl Violation {
    /// `field` should be `message`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// An error with the contract's code as its reason.
#[must_use]
pub fn error(code: Code, reason: Reason, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, []);
    Status::with_error_details(code, message, details)
}

/// The request is well-formed but breaks these rules.
#[must_use]
pub fn invalid(violations: &[Violation]) -> Status {
    let message = violations
        .iter()
        .map(|violation| format!("{}: {}", violation.field, violation.message))
        .collect::<Vec<_>>()
        .join("; ");
    let mut details = ErrorDetails::with_bad_request(
        violations
            .iter()
            .map(|violation| FieldViolation::new(&violation.field, &violation.message))
            .collect::<Vec<_>>(),
    );
    details.set_error_info(Reason::InvalidRequest.as_str(), DOMAIN, []);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// The rules a status says were broken.
#[must_use]
pub fn violations(status: &Status) -> Vec<Violation> {
    status
        .get_details_bad_request()
        .map(|bad| bad.field_violations)
        .unwrap_or_default()
        .into_iter()
        .map(|violation| Violation::new(violation.field, violation.description))
        .collect()
}

/// Too often; allowed again after `wait`.
#[must_use]
pub fn limited(wait: Duration) -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(wait));
    details.set_error_info(Reason::RateLimited.as_str(), DOMAIN, []);
    let seconds = crate::limits::retry_after_s(wait);
    Status::with_error_details(
        Code::ResourceExhausted,
        format!("too many requests; try again in {seconds} s"),
        details,
    )
}

/// How long a [`limited`] status asks to wait.
#[must_use]
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// A part we need does not answer. `source` is logged, never sent.
#[must_use]
pub fn unavailable(what: &str, source: &(dyn std::error::Error + 'static)) -> Status {
    tracing::warn!(error = source, "{what} is unavailable");
    error(
        Code::Unavailable,
        Reason::Unavailable,
        format!("{what} is unavailable"),
    )
}

/// A fault of ours. `source` is logged, never sent.
#[must_use]
pub fn internal(source: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(error = source, "internal error");
    error(Code::Internal, Reason::Internal, "internal error")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::{Code, Status};

    use super::{Reason, Violation, error, invalid, limited, retry_after, violations};

    #[test]
    fn a_status_carries_its_reason_across_the_wire() {
        for reason in Reason::ALL {
            assert_eq!(Reason::of(&error(Code::Unknown, reason, "x")), reason);
        }
        for away in [
            Status::unavailable("gone"),
            Status::unimplemented("too old"),
        ] {
            assert_eq!(Reason::of(&away), Reason::Unavailable);
        }
    }

    #[test]
    fn broken_rules_and_waits_read_back() {
        let rules = vec![Violation::new("username", "3 to 32 characters")];
        let status = invalid(&rules);
        assert_eq!(status.message(), "username: 3 to 32 characters");
        assert_eq!(violations(&status), rules);
        assert_eq!(Reason::of(&status), Reason::InvalidRequest);
        let status = limited(Duration::from_secs(7));
        assert_eq!(retry_after(&status), Some(Duration::from_secs(7)));
        assert_eq!(Reason::of(&status), Reason::RateLimited);
    }
}
