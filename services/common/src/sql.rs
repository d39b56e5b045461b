//! The SQL database: PostgreSQL, or SQLite where there is one machine and nothing to install.

use std::{
    future::Future,
    io,
    str::FromStr as _,
    sync::LazyLock,
    time::{Duration, Instant},
};

use sqlx::{
    Connection, PgConnection, PgPool, Row as _, SqliteConnection, SqlitePool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use tracing::Instrument as _;

use crate::{config::Secret, shutdown::Shutdown};

mod writes;

pub use writes::WRITES;

/// How long a query may wait for a connection: less than a call's deadline.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How long a statement may take. Whoever asked for it is told earlier, by the deadline of the call; this
/// gives the connection back when the server is frozen or gone without a word.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may take to say that it lives, before it is used and before it is put back.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// The same on the server's side: what nobody waits for any more ends, and a process that freezes in the
/// middle of a transaction does not keep its locks.
const SERVER_TIMEOUTS: &str =
    "SET statement_timeout = '5s'; SET idle_in_transaction_session_timeout = '5s'";

/// How often is counted how many connections are in use.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Connections to PostgreSQL a process holds at most.
const POSTGRES_CONNECTIONS: u32 = 16;

/// SQLite has one writer; readers run beside it.
const SQLITE_CONNECTIONS: u32 = 4;

/// To how many bytes SQLite's log of writes shrinks again that could not be put into the database while somebody read
/// for long: what it has when nobody does.
const WAL_BYTES: u32 = 4 * 1024 * 1024;

static POSTGRES: LazyLock<Migrator> =
    LazyLock::new(|| beside_newer(sqlx::migrate!("../../migrations/postgres")));
static SQLITE: LazyLock<Migrator> =
    LazyLock::new(|| beside_newer(sqlx::migrate!("../../migrations/sqlite")));

/// During a rolling upgrade a process of this version may start again after a newer one has brought the schema further.
/// Migrations only add, so this version can go on with it.
fn beside_newer(mut migrator: Migrator) -> Migrator {
    migrator.set_ignore_missing(true);
    migrator
}

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
                .busy_timeout(ACQUIRE_TIMEOUT)
                .pragma("journal_size_limit", WAL_BYTES.to_string());
            let pool = SqlitePoolOptions::new()
                .max_connections(SQLITE_CONNECTIONS)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .after_release(|connection, _| Box::pin(is_clean_sqlite(connection)))
                // The last one that closes takes files with it that a full disk has no room for.
                .idle_timeout(None)
                .max_lifetime(None)
                .connect_with(options)
                .await?;
            Ok(Self::Sqlite(pool))
        } else {
            let options = PgConnectOptions::from_str(url.expose())?.application_name("tutti");
            let pool = PgPoolOptions::new()
                .max_connections(POSTGRES_CONNECTIONS)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                // Without a limit of its own the test would wait for a frozen server as long as there is time.
                .test_before_acquire(false)
                .before_acquire(|connection, _| Box::pin(is_clean(connection)))
                .after_release(|connection, _| Box::pin(is_clean_postgres(connection)))
                .after_connect(|connection, _| {
                    Box::pin(async move {
                        sqlx::raw_sql(SERVER_TIMEOUTS).execute(connection).await?;
                        Ok(())
                    })
                })
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
            Self::Postgres(pool) => {
                // To build an index may take longer than anything else.
                let mut connection = pool.acquire().await?.detach();
                sqlx::raw_sql("SET statement_timeout = 0")
                    .execute(&mut connection)
                    .await?;
                POSTGRES.run(&mut connection).await?;
                Ok(connection.close().await?)
            }
            Self::Sqlite(pool) => SQLITE.run(pool).await,
        }
    }

    /// Counts the connections until the end.
    pub async fn count_connections(self, shutdown: Shutdown) {
        let mut tick = tokio::time::interval(COUNT_EVERY);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = shutdown.ending() => return,
            }
            let (size, idle) = match &self {
                Self::Postgres(pool) => (pool.size(), pool.num_idle()),
                Self::Sqlite(pool) => (pool.size(), pool.num_idle()),
            };
            let idle = u32::try_from(idle).unwrap_or(u32::MAX);
            for (state, count) in [("idle", idle), ("used", size.saturating_sub(idle))] {
                metrics::gauge!("tutti_sql_pool_connections", "state" => state).set(count);
            }
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

/// Whether a connection answers and is outside of a transaction. One that is not would refuse every transaction, or
/// do within somebody else's what is asked of it next.
async fn is_clean<C: Connection>(connection: &mut C) -> Result<bool, sqlx::Error> {
    in_time(connection.ping()).await?;
    Ok(!connection.is_in_transaction())
}

/// The same for SQLite, which rolls a transaction back by itself when the disk is full. Then sqlx's ROLLBACK fails, since
/// there is nothing to roll back, and it counts the transaction as open for ever. With an empty one its ROLLBACK
/// succeeds. The connection is kept that way; to open another one may need room on the disk.
async fn is_clean_sqlite(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if is_clean(connection).await? {
        return Ok(true);
    }
    // Fails where the transaction is open after all.
    let _ = sqlx::raw_sql("BEGIN").execute(&mut *connection).await;
    // sqlx refuses this, and rolls back what it takes for open.
    let _ = connection.begin_with("BEGIN").await;
    is_clean(connection).await
}

/// The same for PostgreSQL, as its server has it: of a BEGIN that nobody waited for sqlx knows nothing. Within a
/// transaction the time is that of its beginning.
async fn is_clean_postgres(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        return Ok(false);
    }
    let outside = "SELECT now() = statement_timestamp()";
    in_time(sqlx::raw_sql(outside).fetch_one(connection))
        .await?
        .try_get(0)
}

async fn in_time<T>(what: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let done = tokio::time::timeout(PING_TIMEOUT, what).await;
    done.unwrap_or_else(|_| Err(too_late()))
}

fn too_late() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::TimedOut.into())
}

/// What is sent to the database, so that it is seen and measured, and does not take for ever.
pub trait Statement<T>: Future<Output = Result<T, sqlx::Error>> + Sized + Send {
    /// Does it under a name, which is in the trace and in the metrics; the values are not.
    fn named(self, name: &'static str) -> impl Future<Output = Result<T, sqlx::Error>> + Send {
        let span = tracing::info_span!(
            "sql",
            otel.name = format_args!("sql {name}"),
            otel.kind = "client"
        );
        async move {
            let begun = Instant::now();
            let done = tokio::time::timeout(STATEMENT_TIMEOUT, self).await;
            let done = done.unwrap_or_else(|_| Err(too_late()));
            metrics::histogram!("tutti_sql_seconds", "statement" => name).record(begun.elapsed());
            done.inspect_err(writes::note)
        }
        .instrument(span)
    }
}

impl<T, F: Future<Output = Result<T, sqlx::Error>> + Send> Statement<T> for F {}

/// Whether the database does not answer, or not now: worth another try.
#[must_use]
pub fn is_passing(error: &sqlx::Error) -> bool {
    match error.as_database_error() {
        Some(refusal) => refusal.code().is_some_and(|code| is_passing_code(&code)),
        None => matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed
        ),
    }
}

/// Whether an engine's code says that it cannot now, though it could later.
fn is_passing_code(code: &str) -> bool {
    match code.parse::<u32>() {
        // SQLite's result codes; the low byte is the kind: BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN.
        Ok(number) if code.len() < 5 => matches!(number & 0xff, 5 | 6 | 8 | 10 | 13 | 14),
        // PostgreSQL's five characters, of which the first two are the class: a broken connection, a
        // transaction to be tried again, no resources left, ended by an operator. And 25006: a server
        // that only reads, as a replica does until it takes over.
        Ok(_) | Err(_) => {
            code == "25006" || matches!(code.get(..2), Some("08" | "40" | "53" | "57" | "58"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{is_passing, is_passing_code};

    #[test]
    fn what_passes_is_told_from_what_is_wrong() {
        for code in [
            "08006", "40P01", "53300", "57014", "57P01", "57P03", "25006", "5", "517", "8", "1802",
            "13",
        ] {
            assert!(is_passing_code(code), "{code}");
        }
        for code in ["23505", "42P01", "22021", "1", "19", "2067", ""] {
            assert!(!is_passing_code(code), "{code}");
        }
        for error in [sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed] {
            assert!(is_passing(&error));
        }
        assert!(!is_passing(&sqlx::Error::RowNotFound));
    }
}
