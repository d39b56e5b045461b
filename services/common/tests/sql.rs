//! What becomes of connections to a database, and of SQLite's log of writes.

mod servers;

use std::{path::Path, time::Duration};

use futures_util::poll;
use servers::eventually;
use sqlx::{Connection as _, PgPool, Row as _, SqlitePool};
use tutti_common::{
    admin::Readiness,
    config::Secret,
    shutdown::Shutdown,
    sql::{Database, Statement as _},
};

async fn sqlite(folder: &Path) -> (Database, SqlitePool) {
    let url = format!("sqlite:{}", folder.join("tutti.db").display());
    let database = Database::open(&Secret::new(&url)).await.unwrap();
    database.migrate().await.unwrap();
    let Database::Sqlite(pool) = &database else {
        panic!("{database:?}");
    };
    let pool = pool.clone();
    (database, pool)
}

/// Whether each connection that the pool has is outside of a transaction.
async fn is_all_clean(pool: &PgPool) -> bool {
    let mut taken = Vec::new();
    while taken.len() < 16 {
        let mut connection = pool.acquire().await.unwrap();
        let outside = sqlx::raw_sql("SELECT now() = statement_timestamp()")
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        if !outside.get::<bool, _>(0) {
            return false;
        }
        taken.push(connection);
    }
    true
}

#[tokio::test]
async fn who_gives_up_a_begin_leaves_nobody_within_a_transaction() {
    let Ok(url) = std::env::var("TEST_POSTGRES_URL") else {
        eprintln!("TEST_POSTGRES_URL is not set: not told on PostgreSQL");
        return;
    };
    let Database::Postgres(pool) = Database::open(&Secret::new(&url)).await.unwrap() else {
        panic!("this is PostgreSQL");
    };
    assert!(is_all_clean(&pool).await);
    // It has done with few; where it stands after each is a matter of luck.
    for polls in (1..=5).cycle().take(100) {
        let mut begin = Box::pin(pool.begin_with("BEGIN").named("begin"));
        for _ in 0..polls {
            if poll!(&mut begin).is_ready() {
                break;
            }
            // The runtime looks at sockets every sixty-first time.
            for _ in 0..61 {
                tokio::task::yield_now().await;
            }
        }
        drop(begin);
        assert!(is_all_clean(&pool).await, "given up after {polls} polls");
    }
    pool.close().await;
}

#[tokio::test]
async fn a_rollback_that_fails_spoils_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (_database, pool) = sqlite(folder.path()).await;
    for _ in 0..8 {
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        // As a full disk does it, behind the back of sqlx.
        sqlx::raw_sql("ROLLBACK")
            .execute(&mut *transaction)
            .await
            .unwrap();
        if let Err(error) = transaction.commit().named("commit").await {
            assert!(error.to_string().contains("no transaction is active"));
        }
    }
    for _ in 0..8 {
        let transaction = pool.begin_with("BEGIN IMMEDIATE").named("begin").await;
        transaction.unwrap().commit().await.unwrap();
    }
    pool.close().await;
}

#[tokio::test]
async fn sqlites_log_of_writes_shrinks_when_a_long_reader_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (database, pool) = sqlite(folder.path()).await;
    let log = folder.path().join("tutti.db-wal");
    let megabytes = || std::fs::metadata(&log).unwrap().len() / 1024 / 1024;
    sqlx::raw_sql("CREATE TABLE filling (value blob)")
        .execute(&pool)
        .await
        .unwrap();

    let mut reader = pool.acquire().await.unwrap();
    let mut reading = reader.begin().await.unwrap();
    sqlx::raw_sql("SELECT count(*) FROM filling")
        .fetch_one(&mut *reading)
        .await
        .unwrap();
    for _ in 0..20 {
        sqlx::raw_sql("INSERT INTO filling VALUES (randomblob(1048576))")
            .execute(&pool)
            .await
            .unwrap();
    }
    assert!(megabytes() >= 20, "it has all of them: {}", megabytes());
    reading.rollback().await.unwrap();
    drop(reader);

    // Nobody writes any more but who looks whether one could.
    let shutdown = Shutdown::new();
    shutdown.spawn(database.watch_writes(Readiness::default(), shutdown.clone()));
    eventually(async || megabytes() <= 4).await;
    assert!(shutdown.finish(Duration::from_secs(3)).await);
    pool.close().await;
}

#[tokio::test]
async fn a_process_starts_beside_a_newer_one_that_has_brought_the_schema_further() {
    let folder = tempfile::tempdir().unwrap();
    let (database, pool) = sqlite(folder.path()).await;
    sqlx::raw_sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of a later version', TRUE, x'00', 1)",
    )
    .execute(&pool)
    .await
    .unwrap();
    database.migrate().await.unwrap();
}
