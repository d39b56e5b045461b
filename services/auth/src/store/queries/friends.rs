//! Friends and friend requests.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{query, query_as, query_scalar};
use tutti_common::{
    clock::UnixMs,
    ids::{FriendRequestId, UserId},
    sql::Statement as _,
};

use super::{
    super::{Db, FRIENDS_AMONG, LOCK_PAIR},
    Connection, Queries,
    events::insert_event,
    json,
};
use crate::{
    domain::{
        event::AccountEvent,
        friends::{
            Answered, AskRefusal, Asking, Between, Direction, END_OF_TIME, Found, Friend,
            FriendRequest, RequestPage, RequestRefusal, RequestStatus, Search,
        },
    },
    store::{
        AskOutcome, FriendStore, NewRequest, StoreError,
        rows::{FoundRow, FriendRow, RequestRow, all, id},
    },
};

#[async_trait]
impl FriendStore for Queries {
    async fn search(&self, user: UserId, search: &Search) -> Result<Vec<Found>, StoreError> {
        let (Some((from, to)), Some(pattern)) = (search.prefix_range(), search.pattern()) else {
            return Ok(Vec::new());
        };
        let limit = i64::from(search.limit);
        let mut rows = query_as::<Db, FoundRow>(include_str!("../search_prefix.sql"))
            .bind(user.to_string())
            .bind(from)
            .bind(&to)
            .bind(limit)
            .fetch_all(&self.pool)
            .named("search_prefix")
            .await?;
        let wanted = limit - i64::try_from(rows.len()).unwrap_or(limit);
        if wanted > 0 {
            // Planned anew each time: which index is the right one depends on the pattern.
            let more = query_as::<Db, FoundRow>(include_str!("../search_middle.sql"))
                .bind(user.to_string())
                .bind(from)
                .bind(&to)
                .bind(wanted)
                .bind(pattern)
                .persistent(false)
                .fetch_all(&self.pool)
                .named("search_middle")
                .await?;
            rows.extend(more);
        }
        Ok(all(rows)?)
    }

    async fn ask(&self, request: NewRequest, cooldown: Duration) -> Result<AskOutcome, StoreError> {
        let (sender, receiver) = (request.sender, request.receiver);
        let mut tx = self.begin().await?;
        lock_pair(&mut tx, sender, receiver).await?;
        let between = between(&mut tx, sender, receiver).await?;
        let asked = match between.ask(sender, cooldown, request.now) {
            Err(refusal) => return Ok(AskOutcome::Refused(refusal)),
            Ok(Asking::Accept(id)) => {
                let answer = RequestStatus::Accepted;
                set_answer(&mut tx, id, answer, request.now).await?;
                insert_friendship(&mut tx, id, sender, receiver, request.now).await?;
                find_request(&mut tx, id).await?.map(AskOutcome::Accepted)
            }
            Ok(Asking::Send) => match insert_request(&mut tx, request).await {
                Ok(true) => find_request(&mut tx, request.id)
                    .await?
                    .map(AskOutcome::Sent),
                Ok(false) => return Ok(AskOutcome::Refused(AskRefusal::AlreadyPending)),
                Err(source) if is_dangling(&source) => return Ok(AskOutcome::NoSuchUser),
                Err(source) => return Err(source.into()),
            },
        };
        tx.commit().named("commit").await?;
        Ok(asked.unwrap_or(AskOutcome::NoSuchUser))
    }

    async fn answer(
        &self,
        id: FriendRequestId,
        by: UserId,
        answer: RequestStatus,
        now: UnixMs,
    ) -> Result<Result<FriendRequest, RequestRefusal>, StoreError> {
        let mut tx = self.begin().await?;
        let Some(request) = lock_request(&mut tx, id).await? else {
            return Ok(Err(RequestRefusal::NotFound));
        };
        if let Err(refusal) = request.may_answer(by) {
            return Ok(Err(refusal));
        }
        set_answer(&mut tx, id, answer, now).await?;
        if answer == RequestStatus::Accepted {
            let (sender, receiver) = (request.sender.id, request.receiver.id);
            insert_friendship(&mut tx, id, sender, receiver, now).await?;
        }
        tx.commit().named("commit").await?;
        Ok(Ok(FriendRequest {
            status: answer,
            responded_at: Some(now),
            ..request
        }))
    }

    async fn withdraw(
        &self,
        id: FriendRequestId,
        by: UserId,
    ) -> Result<Result<(), RequestRefusal>, StoreError> {
        let mut tx = self.begin().await?;
        let Some(request) = lock_request(&mut tx, id).await? else {
            return Ok(Err(RequestRefusal::NotFound));
        };
        if let Err(refusal) = request.may_withdraw(by) {
            return Ok(Err(refusal));
        }
        query(
            "DELETE FROM friend_requests
            WHERE id = $1",
        )
        .bind(id.to_string())
        .execute(&mut *tx)
        .named("delete_request")
        .await?;
        tx.commit().named("commit").await?;
        Ok(Ok(()))
    }

    async fn pending_requests(
        &self,
        user: UserId,
        direction: Direction,
        page: RequestPage,
    ) -> Result<Vec<FriendRequest>, StoreError> {
        let statement = match direction {
            Direction::Sent => SENT_REQUESTS,
            Direction::Received => RECEIVED_REQUESTS,
        };
        let (sent_at, id) = page.after.map_or((END_OF_TIME, String::new()), |(at, id)| {
            (at, id.to_string())
        });
        let rows = query_as::<Db, RequestRow>(statement)
            .bind(user.to_string())
            .bind(sent_at.to_datetime())
            .bind(id)
            .bind(i64::from(page.limit) + 1)
            .fetch_all(&self.pool)
            .named("pending_requests")
            .await?;
        Ok(all(rows)?)
    }

    async fn are_acquainted(&self, user: UserId, other: UserId) -> Result<bool, StoreError> {
        let found = query_scalar::<Db, i32>(ACQUAINTED)
            .bind(user.to_string())
            .bind(other.to_string())
            .fetch_optional(&self.pool)
            .named("are_acquainted")
            .await?;
        Ok(found.is_some())
    }

    async fn friends(&self, user: UserId) -> Result<Vec<Friend>, StoreError> {
        let rows = query_as::<Db, FriendRow>(
            "SELECT users.user_id, users.username, users.name, friendships.created_at AS since
            FROM friendships
            JOIN users ON users.user_id =
                CASE WHEN friendships.user1_id = $1
                    THEN friendships.user2_id
                    ELSE friendships.user1_id
                END
            WHERE friendships.user1_id = $1
               OR friendships.user2_id = $1
            ORDER BY users.username_key",
        )
        .bind(user.to_string())
        .fetch_all(&self.pool)
        .named("friends")
        .await?;
        Ok(all(rows)?)
    }

    async fn unfriend(
        &self,
        user: UserId,
        friend: UserId,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        lock_pair(&mut tx, user, friend).await?;
        let ended = query(
            "DELETE FROM friendships
            WHERE (user1_id = $1 AND user2_id = $2)
               OR (user1_id = $2 AND user2_id = $1)",
        )
        .bind(user.to_string())
        .bind(friend.to_string())
        .execute(&mut *tx)
        .named("delete_friendship")
        .await?;
        let ended = ended.rows_affected() > 0;
        if ended {
            let event = AccountEvent::FriendshipEnded(user, friend);
            insert_event(&mut tx, event, now).await?;
        }
        tx.commit().named("commit").await?;
        Ok(ended)
    }

    async fn friends_among(
        &self,
        user: UserId,
        others: &[UserId],
    ) -> Result<Vec<UserId>, StoreError> {
        let friends = query_scalar::<Db, String>(FRIENDS_AMONG)
            .bind(user.to_string())
            .bind(json(others))
            .fetch_all(&self.pool)
            .named("friends_among")
            .await?;
        Ok(friends
            .iter()
            .map(|text| id(text))
            .collect::<Result<_, _>>()?)
    }
}

macro_rules! requests_where {
    ($rest:literal) => {
        concat!(
            "SELECT request.id, request.status, request.created_at, request.responded_at,
                sender.user_id AS sender_id,
                sender.username AS sender_username,
                sender.name AS sender_name,
                receiver.user_id AS receiver_id,
                receiver.username AS receiver_username,
                receiver.name AS receiver_name
            FROM friend_requests AS request
            JOIN users AS sender ON sender.user_id = request.sender_id
            JOIN users AS receiver ON receiver.user_id = request.receiver_id ",
            $rest
        )
    };
}

const ONE_REQUEST: &str = requests_where!("WHERE request.id = $1");

const SENT_REQUESTS: &str = requests_where!(
    "WHERE request.sender_id = $1
      AND request.status = 'pending'
      AND (request.created_at, request.id) < ($2, $3)
    ORDER BY request.created_at DESC, request.id DESC
    LIMIT $4"
);

const RECEIVED_REQUESTS: &str = requests_where!(
    "WHERE request.receiver_id = $1
      AND request.status = 'pending'
      AND (request.created_at, request.id) < ($2, $3)
    ORDER BY request.created_at DESC, request.id DESC
    LIMIT $4"
);

const ACQUAINTED: &str = "SELECT 1
    WHERE EXISTS (
        SELECT 1
        FROM friend_requests
        WHERE sender_id = $2
          AND receiver_id = $1
          AND status = 'pending'
    )
    OR EXISTS (
        SELECT 1
        FROM friendships
        WHERE (user1_id = $1 AND user2_id = $2)
           OR (user1_id = $2 AND user2_id = $1)
    )
    OR EXISTS (
        SELECT 1
        FROM friendships AS mine
        JOIN friendships AS theirs ON
            CASE WHEN theirs.user1_id = $2 THEN theirs.user2_id ELSE theirs.user1_id END
          = CASE WHEN mine.user1_id = $1 THEN mine.user2_id ELSE mine.user1_id END
        WHERE (mine.user1_id = $1 OR mine.user2_id = $1)
          AND (theirs.user1_id = $2 OR theirs.user2_id = $2)
    )";

/// From here on, changes between the two come one after the other: what is read of them stays true.
async fn lock_pair(connection: &mut Connection, a: UserId, b: UserId) -> Result<(), sqlx::Error> {
    query(LOCK_PAIR)
        .bind(format!("{} {}", a.min(b), a.max(b)))
        .execute(connection)
        .named("lock_pair")
        .await?;
    Ok(())
}

async fn find_request(
    connection: &mut Connection,
    id: FriendRequestId,
) -> Result<Option<FriendRequest>, sqlx::Error> {
    query_as::<Db, RequestRow>(ONE_REQUEST)
        .bind(id.to_string())
        .fetch_optional(connection)
        .named("find_request")
        .await?
        .map(FriendRequest::try_from)
        .transpose()
}

/// The request as it stands once nobody else can change what is between its two users.
async fn lock_request(
    connection: &mut Connection,
    id: FriendRequestId,
) -> Result<Option<FriendRequest>, sqlx::Error> {
    match find_request(connection, id).await? {
        Some(request) => {
            lock_pair(connection, request.sender.id, request.receiver.id).await?;
            find_request(connection, id).await
        }
        None => Ok(None),
    }
}

async fn between(
    connection: &mut Connection,
    a: UserId,
    b: UserId,
) -> Result<Between, sqlx::Error> {
    let (a, b) = (a.to_string(), b.to_string());
    let friends = query_scalar::<Db, i32>(
        "SELECT 1
        FROM friendships
        WHERE (user1_id = $1 AND user2_id = $2)
           OR (user1_id = $2 AND user2_id = $1)",
    )
    .bind(&a)
    .bind(&b)
    .fetch_optional(&mut *connection)
    .named("find_friendship")
    .await?;
    let pending = query_as::<Db, (String, String)>(
        "SELECT id, sender_id
        FROM friend_requests
        WHERE status = 'pending'
          AND ((sender_id = $1 AND receiver_id = $2) OR (sender_id = $2 AND receiver_id = $1))",
    )
    .bind(&a)
    .bind(&b)
    .fetch_optional(&mut *connection)
    .named("find_pending_request")
    .await?;
    let answered = query_as::<Db, (String, String, DateTime<Utc>)>(
        "SELECT sender_id, status, responded_at
        FROM friend_requests
        WHERE status <> 'pending'
          AND responded_at IS NOT NULL
          AND ((sender_id = $1 AND receiver_id = $2) OR (sender_id = $2 AND receiver_id = $1))
        ORDER BY responded_at DESC, id DESC
        LIMIT 1",
    )
    .bind(&a)
    .bind(&b)
    .fetch_optional(connection)
    .named("find_last_answer")
    .await?;
    Ok(Between {
        friends: friends.is_some(),
        pending: pending
            .map(|(request, sender)| Ok::<_, sqlx::Error>((id(&request)?, id(&sender)?)))
            .transpose()?,
        last_answer: answered
            .map(|(sender, status, at)| {
                Ok::<_, sqlx::Error>(Answered {
                    sender: id(&sender)?,
                    rejected: status == RequestStatus::Rejected.as_str(),
                    at: UnixMs::from_datetime(at),
                })
            })
            .transpose()?,
    })
}

/// False where another one is pending between the two.
async fn insert_request(
    connection: &mut Connection,
    request: NewRequest,
) -> Result<bool, sqlx::Error> {
    let inserted = query(
        "INSERT INTO friend_requests
            (id, sender_id, receiver_id, status, created_at)
        VALUES ($1, $2, $3, 'pending', $4)
        ON CONFLICT DO NOTHING",
    )
    .bind(request.id.to_string())
    .bind(request.sender.to_string())
    .bind(request.receiver.to_string())
    .bind(request.now.to_datetime())
    .execute(connection)
    .named("insert_request")
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// Whether a row refers to a user who is not there.
fn is_dangling(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation)
}

async fn set_answer(
    connection: &mut Connection,
    id: FriendRequestId,
    answer: RequestStatus,
    now: UnixMs,
) -> Result<(), sqlx::Error> {
    query(
        "UPDATE friend_requests
        SET status = $2,
            responded_at = $3
        WHERE id = $1
          AND status = 'pending'",
    )
    .bind(id.to_string())
    .bind(answer.as_str())
    .bind(now.to_datetime())
    .execute(connection)
    .named("set_answer")
    .await?;
    Ok(())
}

/// The friendship has the id of the request it came of. Which of the two is `user1_id` is for the
/// database to say: its order of texts may not be Rust's.
async fn insert_friendship(
    connection: &mut Connection,
    request: FriendRequestId,
    a: UserId,
    b: UserId,
    now: UnixMs,
) -> Result<(), sqlx::Error> {
    query(
        "INSERT INTO friendships
            (id, user1_id, user2_id, created_at)
        VALUES (
            $1,
            CASE WHEN $2 < $3 THEN $2 ELSE $3 END,
            CASE WHEN $2 < $3 THEN $3 ELSE $2 END,
            $4
        )
        ON CONFLICT DO NOTHING",
    )
    .bind(request.to_string())
    .bind(a.to_string())
    .bind(b.to_string())
    .bind(now.to_datetime())
    .execute(connection)
    .named("insert_friendship")
    .await?;
    Ok(())
}
