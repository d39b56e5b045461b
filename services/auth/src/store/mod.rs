//! What is kept: users, refresh tokens, friend requests, friendships, public keys. The statements are written once, in
//! `queries`, and compiled for both engines.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tutti_common::{
    clock::UnixMs,
    ids::{FriendRequestId, SessionId, UserId},
    sql::Database,
};

use crate::{
    domain::{
        account::{Account, DisplayName, Email, Login, User, Username},
        event::{AccountEvent, Place},
        friends::{
            AskRefusal, Direction, Found, Friend, FriendRequest, RequestPage, RequestRefusal,
            RequestStatus, Search,
        },
        network::Network,
        session::{NewToken, Session, TokenHash},
    },
    published::PublishedKey,
};

mod error;
mod postgres;
mod rows;
mod sqlite;

pub use error::StoreError;

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its id.
    pub id: UserId,
    /// Its e-mail address.
    pub email: Email,
    /// Its username.
    pub username: Username,
    /// The name shown.
    pub name: Option<DisplayName>,
    /// In the PHC string format.
    pub password_hash: String,
    /// When it is made.
    pub created_at: UnixMs,
}

/// What became of making an account or renaming one.
#[derive(Clone, Debug)]
pub enum Naming {
    /// This is the account now.
    Done(Account),
    /// Somebody has that username.
    UsernameTaken,
    /// Somebody has that e-mail address.
    EmailTaken,
    /// There is no such account.
    NoSuchUser,
}

/// What is needed to check a password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Whose they are.
    pub user_id: UserId,
    /// In the PHC string format.
    pub password_hash: String,
}

/// What became of trading a refresh token.
#[derive(Clone, Debug)]
pub enum Rotation {
    /// The new token holds.
    Renewed(Box<Renewed>),
    /// The token had been used before; its session is over.
    Reused(Session),
    /// Unknown, too old, or replaced a moment ago.
    Dead,
}

/// A session whose refresh token was traded.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// Which.
    pub session: SessionId,
    /// Whose it is.
    pub account: Account,
    /// How many refresh tokens it has had.
    pub generation: u32,
}

/// A friend request to be sent.
#[derive(Clone, Copy, Debug)]
pub struct NewRequest {
    /// Its id, if it comes to that.
    pub id: FriendRequestId,
    /// Who asks.
    pub sender: UserId,
    /// Who is asked.
    pub receiver: UserId,
    /// When.
    pub now: UnixMs,
}

/// What became of asking somebody.
#[derive(Clone, Debug)]
pub enum AskOutcome {
    /// They are asked.
    Sent(FriendRequest),
    /// They had asked: now they are friends.
    Accepted(FriendRequest),
    /// The rules forbid it.
    Refused(AskRefusal),
    /// One of the two is not there.
    NoSuchUser,
}

/// Accounts and their sessions. Each change is one transaction.
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    /// Makes an account and its first session.
    async fn create_account(
        &self,
        account: &NewAccount,
        session: SessionId,
        token: &NewToken,
    ) -> Result<Naming, StoreError>;

    /// What to check somebody's password against.
    async fn credentials(&self, login: &Login) -> Result<Option<Credentials>, StoreError>;

    /// Puts another hash of the same password in the place of the one that is `known`, unless that has changed meanwhile.
    async fn replace_password_hash(
        &self,
        known: &Credentials,
        hash: &str,
    ) -> Result<(), StoreError>;

    /// Opens a session; none where there is no such user. Notes it as the last log-in.
    async fn open_session(
        &self,
        session: Session,
        token: &NewToken,
    ) -> Result<Option<Account>, StoreError>;

    /// Trades a refresh token for `new`, made now.
    async fn rotate(&self, old: TokenHash, new: &NewToken) -> Result<Rotation, StoreError>;

    /// Ends the session that a refresh token belongs to; whether there was one.
    async fn end_session(&self, token: TokenHash, now: UnixMs) -> Result<bool, StoreError>;

    /// Forgets refresh tokens that are dead by `now`, some at a time. Returns how many; zero when
    /// there are no more.
    async fn forget_dead_tokens(&self, now: UnixMs) -> Result<u64, StoreError>;

    /// Whether a session of the user was opened or renewed in that network since then.
    async fn knows_network(
        &self,
        user: UserId,
        network: &Network,
        since: UnixMs,
    ) -> Result<bool, StoreError>;

    /// Forgets networks that nobody was in since then, some at a time. Returns how many.
    async fn forget_networks(&self, since: UnixMs) -> Result<u64, StoreError>;

    /// A user's own account.
    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError>;

    /// Changes a username.
    async fn set_username(&self, id: UserId, username: &Username) -> Result<Naming, StoreError>;

    /// Those of `ids` who are there, in any order.
    async fn users(&self, ids: &[UserId]) -> Result<Vec<User>, StoreError>;

    /// Whose username has that key.
    async fn user_by_key(&self, username_key: &str) -> Result<Option<UserId>, StoreError>;
}

/// Friends and friend requests. Each change is one transaction, and changes between the same two users
/// happen one after the other.
#[async_trait]
pub trait FriendStore: Send + Sync + 'static {
    /// Users by the beginning of their username, then by its middle; never `user` themselves.
    async fn search(&self, user: UserId, search: &Search) -> Result<Vec<Found>, StoreError>;

    /// Asks somebody, by the rule of [`Between::ask`](crate::domain::friends::Between::ask).
    async fn ask(&self, request: NewRequest, cooldown: Duration) -> Result<AskOutcome, StoreError>;

    /// Answers a request with `answer`, by the rule of [`FriendRequest::may_answer`].
    async fn answer(
        &self,
        id: FriendRequestId,
        by: UserId,
        answer: RequestStatus,
        now: UnixMs,
    ) -> Result<Result<FriendRequest, RequestRefusal>, StoreError>;

    /// Takes a request back, by the rule of [`FriendRequest::may_withdraw`].
    async fn withdraw(
        &self,
        id: FriendRequestId,
        by: UserId,
    ) -> Result<Result<(), RequestRefusal>, StoreError>;

    /// The pending requests of one direction, newest first, and one more than the page has if there are more.
    async fn pending_requests(
        &self,
        user: UserId,
        direction: Direction,
        page: RequestPage,
    ) -> Result<Vec<FriendRequest>, StoreError>;

    /// Whether the two have something to do with each other: a friendship, a friend of both, or a request of `other` that
    /// waits for `user`.
    async fn are_acquainted(&self, user: UserId, other: UserId) -> Result<bool, StoreError>;

    /// A user's friends, by username.
    async fn friends(&self, user: UserId) -> Result<Vec<Friend>, StoreError>;

    /// Ends a friendship; false where there is none.
    async fn unfriend(&self, user: UserId, friend: UserId, now: UnixMs)
    -> Result<bool, StoreError>;

    /// Which of `others` are the user's friends, in any order.
    async fn friends_among(
        &self,
        user: UserId,
        others: &[UserId],
    ) -> Result<Vec<UserId>, StoreError>;
}

/// What other services must act on, put there by the transaction that made it happen. Places are seen in
/// their order, by whichever process.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// The place of the last event; zero where there is none.
    async fn last_event(&self) -> Result<Place, StoreError>;

    /// The place before all that happened since then.
    async fn event_before(&self, since: UnixMs) -> Result<Place, StoreError>;

    /// The next events after a place, some at a time.
    async fn events_after(&self, place: Place) -> Result<Vec<(Place, AccountEvent)>, StoreError>;

    /// Forgets events from before `until`, some at a time. Returns how many.
    async fn forget_events(&self, until: UnixMs) -> Result<u64, StoreError>;
}

/// The public keys of all processes.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// A process says that it has these keys at their `published_at`, which is kept from the first time. Forgets what was said
    /// before `until`.
    async fn publish_keys(
        &self,
        process_id: &str,
        keys: &[PublishedKey],
        until: UnixMs,
    ) -> Result<(), StoreError>;

    /// The keys that processes have said they have since then; one of several processes is there several times.
    async fn published_keys(&self, since: UnixMs) -> Result<Vec<PublishedKey>, StoreError>;
}

/// All that the service keeps.
pub trait AuthStore: AccountStore + EventStore + FriendStore + KeyStore {}

impl<T: AccountStore + EventStore + FriendStore + KeyStore> AuthStore for T {}

/// The store on `database`.
#[must_use]
pub fn on(database: &Database) -> Arc<dyn AuthStore> {
    match database {
        Database::Postgres(pool) => Arc::new(postgres::Queries::new(pool.clone())),
        Database::Sqlite(pool) => Arc::new(sqlite::Queries::new(pool.clone())),
    }
}
