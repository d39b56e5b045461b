//! Thousands of users. Hashing a password is slow on purpose, so they are put into the database as they
//! are, and their tokens are signed here, with the key that was given to the auth service.

use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use tutti_auth::keys::SigningKeys;
use tutti_common::{
    clock::{Clock as _, SystemClock},
    config::Secret,
    ids::{SessionId, UserId},
    sql::Database,
    token::AccessClaims,
};

/// Longer than any measurement.
const TOKEN_LIFE: std::time::Duration = std::time::Duration::from_hours(2);

/// Users and what proves who they are.
pub(crate) struct People {
    keys: SigningKeys,
    ids: Vec<UserId>,
}

impl People {
    pub(crate) fn new(key_file: &Path, count: usize) -> anyhow::Result<Self> {
        Ok(Self {
            keys: SigningKeys::load(key_file)?,
            ids: (0..count).map(|_| UserId::new()).collect(),
        })
    }

    pub(crate) fn id(&self, who: usize) -> String {
        self.ids[who % self.ids.len()].to_string()
    }

    /// The public key's 32 bytes, for whoever else is to check the tokens.
    pub(crate) fn public_key(&self) -> anyhow::Result<[u8; 32]> {
        Ok(self.keys.public().next().context("no key")?.bytes)
    }

    pub(crate) fn token(&self, who: usize) -> anyhow::Result<String> {
        let now = SystemClock.now();
        let claims = AccessClaims {
            sub: self.ids[who % self.ids.len()],
            sid: SessionId::new(),
            iat: now,
            exp: now + TOKEN_LIFE,
        };
        Ok(self.keys.signer().sign(&claims)?)
    }

    /// Puts them all into a database whose schema is there.
    pub(crate) async fn register(&self, url: &str) -> anyhow::Result<()> {
        let rows = self
            .ids
            .iter()
            .enumerate()
            .map(|(at, id)| json!({ "id": id.to_string(), "name": format!("listener_{at}") }))
            .collect::<Vec<_>>();
        let rows = serde_json::Value::from(rows).to_string();
        let database = Database::open(&Secret::new(url)).await?;
        match &database {
            Database::Postgres(pool) => {
                sqlx::query(
                    "INSERT INTO users (user_id, email, email_key, username, username_key, password_hash, created_at) \
                     SELECT id, name || '@example.org', name || '@example.org', name, name, '', now() \
                     FROM json_to_recordset($1::json) AS people (id text, name text)",
                )
                .bind(rows)
                .execute(pool)
                .await?;
                // As a database is that has been there for a while.
                sqlx::query("ANALYZE users").execute(pool).await?;
            }
            Database::Sqlite(pool) => {
                sqlx::query(
                    "INSERT INTO users (user_id, email, email_key, username, username_key, password_hash, created_at) \
                     SELECT value ->> 'id', (value ->> 'name') || '@example.org', (value ->> 'name') || '@example.org', \
                     value ->> 'name', value ->> 'name', '', '2024-01-01T00:00:00.000Z' FROM json_each(?)",
                )
                .bind(rows)
                .execute(pool)
                .await?;
            }
        }
        database.close().await;
        Ok(())
    }
}
