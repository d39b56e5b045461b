//! A story a time on each engine. It is told to a database or to what is made of one.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tutti_common::{config::Secret, sql::Database};

/// Tells each story once on SQLite and once on PostgreSQL.
#[macro_export]
macro_rules! on_both_engines {
    ($($story:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                $crate::on_sqlite(super::$story).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                $crate::on_postgres(super::$story).await;
            })*
        }
    };
}

/// On a new file.
pub async fn on_sqlite<W: From<Database>, F: Future<Output = ()>>(story: impl FnOnce(W) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("tutti.db").display());
    in_time(story(open(&url).await.into())).await;
}

/// A story that waits for what does not come fails, and the others go on.
async fn in_time(story: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_mins(2), story)
        .await
        .expect("the story ends within two minutes");
}

/// On a new database of the server that `TEST_POSTGRES_URL` names, as a user who may make one.
pub async fn on_postgres<W: From<Database>, F: Future<Output = ()>>(story: impl FnOnce(W) -> F) {
    let Ok(server) = std::env::var("TEST_POSTGRES_URL") else {
        eprintln!("TEST_POSTGRES_URL is not set: not told on PostgreSQL");
        return;
    };
    let name = format!("tutti_test_{}", uuid::Uuid::new_v4().simple());
    let mut admin = PgConnection::connect(&server).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut admin)
        .await
        .unwrap();
    let url = with_database(&server, &name);
    let told = AssertUnwindSafe(async { in_time(story(open(&url).await.into())).await })
        .catch_unwind()
        .await;
    sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
        .execute(&mut admin)
        .await
        .unwrap();
    if let Err(panic) = told {
        std::panic::resume_unwind(panic);
    }
}

async fn open(url: &str) -> Database {
    let database = Database::open(&Secret::new(url)).await.unwrap();
    database.migrate().await.unwrap();
    database
}

/// A server's address with another database in it.
fn with_database(server: &str, name: &str) -> String {
    let (front, query) = server.split_once('?').unwrap_or((server, ""));
    let host = front.find("://").map_or(0, |at| at + 3);
    let end = front[host..].find('/').map_or(front.len(), |at| host + at);
    format!("{}/{name}?{query}", &front[..end])
}
