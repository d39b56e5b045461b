//! What other services must act on.

use tutti_common::ids::UserId;

use super::session::Session;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum AccountEvent {
    /// A session is over.
    SessionEnded(Session),
    /// Two users are no longer friends.
    FriendshipEnded(UserId, UserId),
}

/// Where an event is in the order of all; later ones have higher places.
pub type Place = i64;
