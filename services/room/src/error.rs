//! Why the room service refuses, and what that is over gRPC.

use tonic::{Code, Status};
use tutti_common::{
    limits::Wait,
    status::{self, Reason, Violation, error},
};

use crate::{domain::Refusal, live::LiveError, people::PeopleError, store::StoreError};

/// Why the room service refuses.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// There is no such room, or it is not for them to know.
    #[error("room not found")]
    NotFound,
    /// There is no such room to join, or it is not for them to know.
    #[error("room not found")]
    NotJoinable,
    /// There is no such user.
    #[error("user not found")]
    NoSuchUser,
    /// Only the host may end the room.
    #[error("only the host may close the room")]
    Forbidden,
    /// A rule of the room says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The request breaks rules of form.
    #[error("invalid request")]
    Invalid(Vec<Violation>),
    /// Too often.
    #[error(transparent)]
    Limited(#[from] Wait),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Live state.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// Accounts and friends.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// Others changed the room again and again at the same moment.
    #[error("the room is too busy")]
    Contended,
    /// Nobody waits for it any more.
    #[error("it took too long")]
    TooLate,
}

impl RoomError {
    /// Whether it may go well later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Unavailable(_))
                | Self::Live(LiveError::Unavailable(_))
                | Self::People(_)
                | Self::Contended
        )
    }
}

impl From<RoomError> for Status {
    fn from(refused: RoomError) -> Self {
        let message = refused.to_string();
        match refused {
            RoomError::NotFound
            | RoomError::NoSuchUser
            | RoomError::Refused(Refusal::NoSuchParticipant) => {
                error(Code::NotFound, Reason::NotFound, message)
            }
            RoomError::NotJoinable => error(Code::NotFound, Reason::JoinFailed, message),
            RoomError::Forbidden => error(Code::PermissionDenied, Reason::Forbidden, message),
            RoomError::Refused(Refusal::Full) => {
                error(Code::FailedPrecondition, Reason::JoinFailed, message)
            }
            RoomError::Refused(Refusal::NotHost) => {
                error(Code::PermissionDenied, Reason::UpdateFailed, message)
            }
            RoomError::Refused(Refusal::NotInRoom) => {
                error(Code::FailedPrecondition, Reason::NotInRoom, message)
            }
            RoomError::Invalid(violations) => status::invalid(&violations),
            RoomError::Limited(wait) => status::limited(wait.0),
            RoomError::Store(source @ StoreError::Unavailable(_)) => {
                status::unavailable("the database", &source)
            }
            RoomError::Store(source @ StoreError::Broken(_)) => status::internal(&source),
            RoomError::Live(source @ LiveError::Unavailable(_)) => {
                status::unavailable("live state", &source)
            }
            RoomError::Live(source @ LiveError::Unreadable(_)) => status::internal(&source),
            RoomError::People(source) => status::unavailable("the auth service", &source),
            RoomError::Contended | RoomError::TooLate => {
                error(Code::Unavailable, Reason::Unavailable, message)
            }
        }
    }
}
