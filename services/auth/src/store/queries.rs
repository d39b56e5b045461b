//! The statements, compiled once for each engine: `super` says which, and holds what differs.

use sqlx::{Database, Pool, Transaction};
use tutti_common::sql::Statement as _;

use super::{BEGIN, Db};

#[allow(clippy::duplicate_mod, reason = "compiled once for each engine")]
#[path = "queries/accounts.rs"]
mod accounts;
#[allow(clippy::duplicate_mod, reason = "compiled once for each engine")]
#[path = "queries/events.rs"]
mod events;
#[allow(clippy::duplicate_mod, reason = "compiled once for each engine")]
#[path = "queries/friends.rs"]
mod friends;
#[allow(clippy::duplicate_mod, reason = "compiled once for each engine")]
#[path = "queries/keys.rs"]
mod keys;

type Connection = <Db as Database>::Connection;

/// The store on one engine.
pub(in crate::store) struct Queries {
    pool: Pool<Db>,
}

impl Queries {
    pub(in crate::store) fn new(pool: Pool<Db>) -> Self {
        Self { pool }
    }

    async fn begin(&self) -> Result<Transaction<'static, Db>, sqlx::Error> {
        self.pool.begin_with(BEGIN).named("begin").await
    }
}

/// Ids as a JSON array, which both engines can take apart.
fn json(ids: &[tutti_common::ids::UserId]) -> String {
    ids.iter()
        .map(ToString::to_string)
        .collect::<serde_json::Value>()
        .to_string()
}
