//! The SQL database: PostgreSQL, or SQLite where there is one machine and nothing to install.

use std::{str::FromStr as _, time::Duration};

use sqlx::{
    PgPool, SqlitePool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::config::Secret;

/// How long a query may wait for a connection: less than a call's deadline.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Connections to PostgreSQL a process holds at most.
const POSTGRES_CONNECTIONS: u32 = 16;

/// SQLite has one writer; readers run beside it.
const SQLITE_CONNECTIONS: u32 = 4;

static POSTGRES: Migrator = sqlx::migrate!("../../migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// Connections to one of the two engines.
#[derive(Clone, Debug)]
pub enum Database {
    /// PostgreSQL.
    Postgres(PgPool),
    /// SQLite.
    Sqlite(SqlitePool),
}

impl Database {
    /// Opens a database; `sqlite:path` is made where it is not there. PostgreSQL is dialled when first
    /// needed.
    ///
    /// # Errors
    /// When the URL cannot be read or the file cannot be opened. The error does not repeat the URL.
    pub async fn open(url: &Secret) -> Result<Self, sqlx::Error> {
        if url.expose().starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url.expose())?
                .create_if_missing(true)
                .foreign_keys(true)
                .journal_mode(SqliteJournalMode::Wal)
                // In WAL a crash of the process loses nothing; a power cut may lose the last moments.
                .synchronous(SqliteSynchronous::Normal)
                .busy_timeout(ACQUIRE_TIMEOUT);
            let pool = SqlitePoolOptions::new()
                .max_connections(SQLITE_CONNECTIONS)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_with(options)
                .await?;
            Ok(Self::Sqlite(pool))
        } else {
            let options = PgConnectOptions::from_str(url.expose())?.application_name("tutti");
            let pool = PgPoolOptions::new()
                .max_connections(POSTGRES_CONNECTIONS)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_lazy_with(options);
            Ok(Self::Postgres(pool))
        }
    }

    /// Brings the schema up to date. Safe to run from several processes at once.
    ///
    /// # Errors
    /// When the database does not answer or holds a history that is not ours.
    pub async fn migrate(&self) -> Result<(), sqlx::migrate::MigrateError> {
        match self {
            Self::Postgres(pool) => POSTGRES.run(pool).await,
            Self::Sqlite(pool) => SQLITE.run(pool).await,
        }
    }

    /// Closes the connections once what runs on them is done.
    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Sqlite(pool) => pool.close().await,
        }
    }
}
