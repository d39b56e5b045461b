//! What can go wrong with a database, by what the caller can do about it.

/// The store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, or not now: worth another try.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// It answered with something that should not be.
    #[error("the database refused")]
    Internal(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(source: sqlx::Error) -> Self {
        if is_unavailable(&source) {
            Self::Unavailable(source)
        } else {
            Self::Internal(source)
        }
    }
}

fn is_unavailable(error: &sqlx::Error) -> bool {
    match error.as_database_error() {
        Some(refusal) => refusal.code().is_some_and(|code| is_passing(&code)),
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
fn is_passing(code: &str) -> bool {
    match code.parse::<u32>() {
        // SQLite's result codes; the low byte is the kind: BUSY, LOCKED, IOERR, FULL, CANTOPEN.
        Ok(number) if code.len() < 5 => matches!(number & 0xff, 5 | 6 | 10 | 13 | 14),
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
    use super::{StoreError, is_passing};

    #[test]
    fn what_passes_is_told_from_what_is_wrong() {
        for code in [
            "08006", "40P01", "53300", "57P01", "57P03", "25006", "5", "517", "1802", "13",
        ] {
            assert!(is_passing(code), "{code}");
        }
        for code in ["23505", "42P01", "22021", "1", "19", "2067", ""] {
            assert!(!is_passing(code), "{code}");
        }
        for error in [sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed] {
            assert!(matches!(error.into(), StoreError::Unavailable(_)));
        }
        assert!(matches!(
            sqlx::Error::RowNotFound.into(),
            StoreError::Internal(_)
        ));
    }
}
