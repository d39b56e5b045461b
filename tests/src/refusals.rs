//! How a service says no.

use std::fmt::Debug;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tutti_common::status::{Reason, violations};

/// Asserts that it was refused, how, and with which code of the contract.
#[track_caller]
pub fn refused<T: Debug>(answer: Result<T, Status>, code: Code, reason: Reason) -> Status {
    let status = answer.expect_err("refused");
    let given = status.get_details_error_info().map(|info| info.reason);
    assert_eq!(
        (status.code(), given.as_deref()),
        (code, Some(reason.as_str())),
        "{}",
        status.message()
    );
    status
}

/// The members of a request that were wrong.
#[track_caller]
pub fn wrong_fields<T: Debug>(answer: Result<T, Status>) -> Vec<String> {
    let status = refused(answer, Code::InvalidArgument, Reason::InvalidRequest);
    violations(&status)
        .into_iter()
        .map(|violation| violation.field)
        .collect()
}
