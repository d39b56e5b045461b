//! What can go wrong with a database, by what the caller can do about it.

use tutti_common::sql;

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
        if sql::is_passing(&source) {
            Self::Unavailable(source)
        } else {
            Self::Internal(source)
        }
    }
}
