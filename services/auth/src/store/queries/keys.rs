//! Public keys.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{query, query_as};
use tutti_common::{clock::UnixMs, sql::Statement as _};

use super::{super::Db, Queries};
use crate::{
    keys::PublicKey,
    published::PublishedKey,
    store::{KeyStore, StoreError},
};

#[async_trait]
impl KeyStore for Queries {
    async fn publish_keys(
        &self,
        process_id: &str,
        keys: &[PublishedKey],
        until: UnixMs,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for published in keys {
            let ttl_ms = published.access_token_ttl.as_millis();
            query(
                "INSERT INTO published_keys
                    (process_id, key_id, public_key, access_token_ttl_ms, published_at, seen_at)
                VALUES ($1, $2, $3, $4, $5, $5)
                ON CONFLICT (process_id, key_id) DO UPDATE
                SET seen_at = excluded.seen_at",
            )
            .bind(process_id)
            .bind(&published.key.key_id)
            .bind(&published.key.bytes[..])
            .bind(i64::try_from(ttl_ms).unwrap_or(i64::MAX))
            .bind(published.published_at.to_datetime())
            .execute(&mut *tx)
            .named("publish_key")
            .await?;
        }
        query(
            "DELETE FROM published_keys
            WHERE seen_at < $1",
        )
        .bind(until.to_datetime())
        .execute(&mut *tx)
        .named("forget_keys")
        .await?;
        tx.commit().named("commit").await?;
        Ok(())
    }

    async fn published_keys(&self, since: UnixMs) -> Result<Vec<PublishedKey>, StoreError> {
        let rows = query_as::<Db, (String, Vec<u8>, i64, DateTime<Utc>)>(
            "SELECT key_id, public_key, access_token_ttl_ms, published_at
            FROM published_keys
            WHERE seen_at >= $1",
        )
        .bind(since.to_datetime())
        .fetch_all(&self.pool)
        .named("published_keys")
        .await?;
        let keys = rows.into_iter().filter_map(|(key_id, bytes, ttl_ms, at)| {
            Some(PublishedKey {
                key: PublicKey {
                    key_id,
                    bytes: bytes.try_into().ok()?,
                },
                access_token_ttl: Duration::from_millis(ttl_ms.try_into().unwrap_or_default()),
                published_at: UnixMs::from_datetime(at),
            })
        });
        Ok(keys.collect())
    }
}
