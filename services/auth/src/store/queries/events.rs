//! What other services must act on.

use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};
use tutti_common::{clock::UnixMs, sql::Statement as _};

use super::{
    super::{Db, LOCK_EVENTS},
    Connection, Queries,
};
use crate::{
    domain::event::{AccountEvent, Place},
    store::{
        EventStore, StoreError,
        rows::{EventRow, FRIENDSHIP_ENDED, SESSION_ENDED, all},
    },
};

#[async_trait]
impl EventStore for Queries {
    async fn last_event(&self) -> Result<Place, StoreError> {
        let last = query_scalar::<Db, Option<i64>>("SELECT max(id) FROM account_events")
            .fetch_one(&self.pool)
            .named("last_event")
            .await?;
        Ok(last.unwrap_or_default())
    }

    async fn event_before(&self, since: UnixMs) -> Result<Place, StoreError> {
        // In this order: what happens between the two is in the second.
        let last = self.last_event().await?;
        let first = query_scalar::<Db, Option<i64>>(
            "SELECT min(id)
            FROM account_events
            WHERE created_at >= $1",
        )
        .bind(since.to_datetime())
        .fetch_one(&self.pool)
        .named("event_before")
        .await?;
        Ok(first.map_or(last, |first| first - 1))
    }

    async fn events_after(&self, place: Place) -> Result<Vec<(Place, AccountEvent)>, StoreError> {
        let rows = query_as::<Db, EventRow>(
            "SELECT id, kind, user_id, subject_id
            FROM account_events
            WHERE id > $1
            ORDER BY id
            LIMIT 500",
        )
        .bind(place)
        .fetch_all(&self.pool)
        .named("events_after")
        .await?;
        Ok(all(rows)?)
    }

    async fn forget_events(&self, until: UnixMs) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let forgotten = query(
            "DELETE FROM account_events
            WHERE id IN (
                SELECT id
                FROM account_events
                WHERE created_at < $1
                LIMIT 1000
            )",
        )
        .bind(until.to_datetime())
        .execute(&mut *tx)
        .named("forget_events")
        .await?;
        tx.commit().named("commit").await?;
        Ok(forgotten.rows_affected())
    }
}

/// The last statement of a transaction: from here to its end no other one gets a place, so that places are
/// seen in their order. Whoever has read up to one has missed none before it.
pub(super) async fn insert_event(
    connection: &mut Connection,
    event: AccountEvent,
    now: UnixMs,
) -> Result<(), sqlx::Error> {
    let (kind, user, subject) = match event {
        AccountEvent::SessionEnded(session) => {
            (SESSION_ENDED, session.user_id, session.id.to_string())
        }
        AccountEvent::FriendshipEnded(user, other) => (FRIENDSHIP_ENDED, user, other.to_string()),
    };
    query(LOCK_EVENTS)
        .execute(&mut *connection)
        .named("lock_events")
        .await?;
    query(
        "INSERT INTO account_events
            (kind, user_id, subject_id, created_at)
        VALUES ($1, $2, $3, $4)",
    )
    .bind(kind)
    .bind(user.to_string())
    .bind(subject)
    .bind(now.to_datetime())
    .execute(connection)
    .named("insert_event")
    .await?;
    Ok(())
}
