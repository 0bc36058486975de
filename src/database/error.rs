//! The error of a call of the database, before it is decided what is done about it.

use super::connect::ConnectFault;
use super::engine::Unsupported;
use super::store::StoreError;
use postgres::Error;
use std::io;
use std::time::Duration;

/// An error of a connection, of a statement or of the bytes sent to it.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
    #[error("{}", if .0.code().is_some() { "the database refused" } else { "the connection broke" })]
    Postgres(#[from] Error),
    /// No connection was made. `fault` states the cause, so `error` is no source of it.
    #[error("{fault}")]
    Connect { fault: ConnectFault, error: Error },
    /// No server is of the kind that `target_session_attrs` asks for.
    #[error("{0}")]
    Unmet(ConnectFault),
    /// It is no PostgreSQL, or one that is too old.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    #[error("the connection broke")]
    Io(#[source] io::Error),
    /// A server that accepts connections and says nothing, or a network that swallows all.
    #[error("the database did not answer within {} s", .0.as_secs_f64())]
    NoAnswer(Duration),
    /// A statement did not get on, and was cancelled or left behind.
    #[error("no progress for {:.1} s{}", idle.as_secs_f64(), told(held_by.as_ref()))]
    Stalled {
        idle: Duration,
        /// What it waited for, where that could be seen.
        held_by: Option<String>,
        /// What came of cancelling it; none where it was left behind.
        source: Option<Error>,
    },
    /// Fewer rows were stored than were sent, without an error.
    #[error("a trigger or rule of the table dropped the event")]
    Dropped,
    /// What the caller allowed for waiting is over.
    #[error("told to stop")]
    GivenUp,
    /// All connections of the pool stayed in use.
    #[error(transparent)]
    NoneFree(StoreError),
    /// No thread can be started, or one panicked.
    #[error("a thread failed: {0}")]
    Thread(String),
    /// An operation's own words for one of the others.
    #[error(transparent)]
    Told(#[from] StoreError),
}

fn told(held_by: Option<&String>) -> String {
    held_by.map(|held_by| format!(", waiting for {held_by}")).unwrap_or_default()
}

impl DatabaseError {
    /// The SQLSTATE; none where the server did not send the error.
    pub(super) fn sqlstate(&self) -> Option<&str> {
        match self {
            DatabaseError::Postgres(error) | DatabaseError::Connect { error, .. } => {
                error.code().map(postgres::error::SqlState::code)
            }
            _ => None,
        }
    }
}

/// The error of a write into a COPY: the client wraps the server's error in one of input and output.
pub(super) fn copy_error(error: io::Error) -> DatabaseError {
    match error.downcast::<Error>() {
        Ok(error) => DatabaseError::Postgres(error),
        Err(error) => DatabaseError::Io(error),
    }
}
