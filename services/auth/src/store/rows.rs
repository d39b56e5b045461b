//! Rows as both engines give them, and what they mean.

use std::{error::Error, str::FromStr};

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use tutti_common::clock::UnixMs;

use crate::domain::{
    account::{Account, DisplayName, User},
    event::{AccountEvent, Place},
    friends::{Found, Friend, FriendRequest, Relationship, RequestStatus},
    session::{KnownToken, Session, TokenHash},
};

/// Reads an id.
pub(super) fn id<T: FromStr<Err: Error + Send + Sync + 'static>>(
    text: &str,
) -> Result<T, sqlx::Error> {
    text.parse()
        .map_err(|source| sqlx::Error::Decode(Box::new(source)))
}

fn known<T>(word: Option<T>, what: &str) -> Result<T, sqlx::Error> {
    word.ok_or_else(|| sqlx::Error::Decode(format!("unknown {what}").into()))
}

#[derive(FromRow)]
pub(super) struct UserRow {
    user_id: String,
    username: String,
    name: Option<String>,
}

impl TryFrom<UserRow> for User {
    type Error = sqlx::Error;

    fn try_from(row: UserRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: id(&row.user_id)?,
            username: row.username,
            name: row.name.as_deref().and_then(DisplayName::of_record),
        })
    }
}

#[derive(FromRow)]
pub(super) struct TokenRow {
    expires_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
    replaced_at: Option<DateTime<Utc>>,
    unused_successor: Option<Vec<u8>>,
}

impl TryFrom<TokenRow> for KnownToken {
    type Error = sqlx::Error;

    fn try_from(row: TokenRow) -> Result<Self, sqlx::Error> {
        let hash = |bytes: Vec<u8>| match bytes.try_into() {
            Ok(hash) => Ok(TokenHash(hash)),
            Err(_) => Err(sqlx::Error::Decode("a hash has 32 bytes".into())),
        };
        Ok(Self {
            expires_at: UnixMs::from_datetime(row.expires_at),
            used_at: row.used_at.map(UnixMs::from_datetime),
            replaced_at: row.replaced_at.map(UnixMs::from_datetime),
            unused_successor: row.unused_successor.map(hash).transpose()?,
        })
    }
}

#[derive(FromRow)]
pub(super) struct AccountRow {
    #[sqlx(flatten)]
    user: UserRow,
    email: String,
    profile: String,
    created_at: DateTime<Utc>,
    last_login: Option<DateTime<Utc>>,
}

impl TryFrom<AccountRow> for Account {
    type Error = sqlx::Error;

    fn try_from(row: AccountRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            user: row.user.try_into()?,
            email: row.email,
            profile_json: row.profile,
            created_at: UnixMs::from_datetime(row.created_at),
            last_login: row.last_login.map(UnixMs::from_datetime),
        })
    }
}

#[derive(FromRow)]
pub(super) struct FoundRow {
    #[sqlx(flatten)]
    user: UserRow,
    relationship: String,
}

impl TryFrom<FoundRow> for Found {
    type Error = sqlx::Error;

    fn try_from(row: FoundRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            user: row.user.try_into()?,
            relationship: known(Relationship::parse(&row.relationship), "relationship")?,
        })
    }
}

#[derive(FromRow)]
pub(super) struct FriendRow {
    #[sqlx(flatten)]
    user: UserRow,
    since: DateTime<Utc>,
}

impl TryFrom<FriendRow> for Friend {
    type Error = sqlx::Error;

    fn try_from(row: FriendRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            user: row.user.try_into()?,
            since: UnixMs::from_datetime(row.since),
        })
    }
}

#[derive(FromRow)]
pub(super) struct RequestRow {
    id: String,
    status: String,
    created_at: DateTime<Utc>,
    responded_at: Option<DateTime<Utc>>,
    sender_id: String,
    sender_username: String,
    sender_name: Option<String>,
    receiver_id: String,
    receiver_username: String,
    receiver_name: Option<String>,
}

impl TryFrom<RequestRow> for FriendRequest {
    type Error = sqlx::Error;

    fn try_from(row: RequestRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: id(&row.id)?,
            sender: User {
                id: id(&row.sender_id)?,
                username: row.sender_username,
                name: row.sender_name.as_deref().and_then(DisplayName::of_record),
            },
            receiver: User {
                id: id(&row.receiver_id)?,
                username: row.receiver_username,
                name: row
                    .receiver_name
                    .as_deref()
                    .and_then(DisplayName::of_record),
            },
            status: known(RequestStatus::parse(&row.status), "status")?,
            created_at: UnixMs::from_datetime(row.created_at),
            responded_at: row.responded_at.map(UnixMs::from_datetime),
        })
    }
}

/// How the kinds of events are spelled.
pub(super) const SESSION_ENDED: &str = "session_ended";
pub(super) const FRIENDSHIP_ENDED: &str = "friendship_ended";

#[derive(FromRow)]
pub(super) struct EventRow {
    id: i64,
    kind: String,
    user_id: String,
    subject_id: String,
}

impl TryFrom<EventRow> for (Place, AccountEvent) {
    type Error = sqlx::Error;

    fn try_from(row: EventRow) -> Result<Self, sqlx::Error> {
        let user = id(&row.user_id)?;
        let event = match row.kind.as_str() {
            SESSION_ENDED => Some(AccountEvent::SessionEnded(Session {
                id: id(&row.subject_id)?,
                user_id: user,
            })),
            FRIENDSHIP_ENDED => Some(AccountEvent::FriendshipEnded(user, id(&row.subject_id)?)),
            _ => None,
        };
        Ok((row.id, known(event, "kind of event")?))
    }
}

/// Reads every row, or none.
pub(super) fn all<R, T: TryFrom<R, Error = sqlx::Error>>(
    rows: Vec<R>,
) -> Result<Vec<T>, sqlx::Error> {
    rows.into_iter().map(T::try_from).collect()
}
