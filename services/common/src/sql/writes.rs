//! Whether the database takes writes: on a full disk it still answers and reads.

use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::{Error, error::DatabaseError};
use tokio::sync::Notify;

use super::{Database, Statement as _, too_late};
use crate::{admin::Readiness, shutdown::Shutdown};

/// What a process waits for while its database takes no writes.
pub const WRITES: &str = "the database to take writes";

/// How often is looked while all is well. Each look writes a page; a write that is refused is noticed at once anyway.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often is looked whether it takes writes again.
const LOOK_AGAIN_EVERY: Duration = Duration::from_millis(500);

/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Told when somebody's statement was refused.
static REFUSED: Notify = Notify::const_new();

/// Notes that a statement failed.
pub(super) fn note(error: &Error) {
    if is_refusal(error) {
        REFUSED.notify_one();
    }
}

/// Whether the database says that it has no room, or may only read.
fn is_refusal(error: &Error) -> bool {
    kind_of(
        error,
        |number| matches!(number, 8 | 10 | 13),
        |code| {
            // disk_full, io_error, read_only_sql_transaction.
            matches!(code, "53100" | "58030" | "25006")
        },
    )
}

/// Whether somebody else is writing: the database is well.
fn is_busy(error: &Error) -> bool {
    kind_of(error, |number| matches!(number, 5 | 6), |_| false)
}

/// What a database error is: by SQLite's primary result code, or by PostgreSQL's five characters.
fn kind_of(error: &Error, sqlite: fn(u32) -> bool, postgres: fn(&str) -> bool) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| match code.parse::<u32>() {
        Ok(number) if code.len() < 5 => sqlite(number & 0xff),
        Ok(_) | Err(_) => postgres(&code),
    })
}

impl Database {
    /// Makes `readiness` wait for [`WRITES`] while the database takes none, until the end.
    pub async fn watch_writes(self, readiness: Readiness, shutdown: Shutdown) {
        let mut is_well = true;
        loop {
            let every = if is_well {
                LOOK_EVERY
            } else {
                LOOK_AGAIN_EVERY
            };
            let needs_room = tokio::select! {
                () = tokio::time::sleep(every) => !is_well,
                // To look at once, where that is known already, would find the same.
                () = REFUSED.notified(), if is_well => true,
                () = shutdown.ending() => return,
            };
            let written = tokio::time::timeout(PATIENCE, self.write(needs_room)).await;
            match written.unwrap_or_else(|_| Err(too_late())) {
                Err(error) if !is_busy(&error) => {
                    if is_well {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the database takes no writes"
                        );
                    }
                    readiness.wait_for(WRITES);
                    is_well = false;
                }
                Ok(()) | Err(_) => {
                    if !is_well {
                        tracing::info!("the database takes writes again");
                        // What was refused meanwhile says nothing new.
                        let _ = REFUSED.notified().now_or_never();
                    }
                    readiness.have(WRITES);
                    is_well = true;
                }
            }
        }
    }

    /// Writes something that changes nothing. `needs_room`: into new room on the disk, too, since PostgreSQL may have
    /// some left in its files for a small write.
    async fn write(&self, needs_room: bool) -> Result<(), Error> {
        match self {
            // It goes to the end of the log of writes.
            Self::Sqlite(pool) => sqlx::raw_sql("PRAGMA user_version = 0")
                .execute(pool)
                .named("probe")
                .await
                .map(drop),
            Self::Postgres(pool) => {
                let mut transaction = pool.begin().named("begin").await?;
                sqlx::raw_sql("UPDATE _sqlx_migrations SET success = success WHERE version = 1")
                    .execute(&mut *transaction)
                    .named("probe")
                    .await?;
                if needs_room {
                    sqlx::raw_sql("CREATE TEMPORARY TABLE room ON COMMIT DROP AS SELECT 1 AS one")
                        .execute(&mut *transaction)
                        .named("probe_room")
                        .await?;
                }
                transaction.commit().named("commit").await
            }
        }
    }
}
