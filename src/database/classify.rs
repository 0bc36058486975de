//! What an error of PostgreSQL means for what is to be done next: one function decides.

use super::connect::{Advice, tls_fault};
use super::store::StoreError;
use postgres::Error;
use std::error::Error as _;
use std::io;
use std::time::Duration;

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The database is away: gone, starting, full, read-only. Wait until it is back, and try the same again.
    Away,
    /// The database is there, and refuses for a reason that may pass: try the same again, a few times.
    Transient,
    /// A row is at fault: find it, reject it, go on with the rest.
    Data,
    /// Trying again would fail again.
    Fatal,
}

/// Sorts an error of a statement, of a commit or of a connection.
///
/// An error without a SQLSTATE is the client's: a closed connection and an error of input or output mean that the
/// database is away; what is left (a type that does not fit, a configuration) is a mistake that stays one.
pub fn classify(error: &Error) -> ErrorClass {
    match error.code() {
        Some(state) => classify_sqlstate(state.code()),
        // It comes as an error of input and output, too.
        None if tls_fault(error).is_some() => ErrorClass::Fatal,
        None if error.is_closed() || has_io_error(error) => ErrorClass::Away,
        None => ErrorClass::Fatal,
    }
}

/// Sorts a SQLSTATE, by the classes of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn classify_sqlstate(code: &str) -> ErrorClass {
    use ErrorClass::{Away, Data, Fatal, Transient};
    match code {
        // Disk full, too many connections; shut down, crashed, starting up, idle session; a standby, or read-only;
        // the server's own files.
        "53100" | "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "58000" | "58030" => Away,
        // Serialization failure, deadlock; lock not available, object in use; idle in transaction; cancelled.
        "40001" | "40P01" | "55P03" | "55006" | "25P03" | "25P04" | "57014" => Transient,
        // Raised by the user's own function.
        "P0001" => Data,
        _ => match code.get(..2).unwrap_or_default() {
            // Connection.
            "08" => Away,
            // Memory and other limits of the server's.
            "53" => Transient,
            // A value; a constraint; a view's check; a limit, such as an index row's size.
            "22" | "23" | "44" | "54" => Data,
            // Rights, names, syntax, features, corruption, configuration: nothing to be gained by another try.
            _ => Fatal,
        },
    }
}

fn has_io_error(error: &Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.is::<io::Error>() {
            return true;
        }
        source = cause.source();
    }
    false
}

/// The error of a write into a COPY: the client wraps the server's error in one of input and output.
pub(super) fn copy_error(error: io::Error) -> DatabaseError {
    match error.downcast::<Error>() {
        Ok(error) => DatabaseError::Postgres(error),
        Err(error) => DatabaseError::Io(error),
    }
}

/// An error of a connection, of a statement or of the bytes sent to it.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
    #[error("{}", if .0.code().is_some() { "the database refused" } else { "the connection broke" })]
    Postgres(#[from] Error),
    #[error("{}", advised(advice.as_ref()))]
    Connect {
        /// What it means, where the error does not say it all.
        advice: Option<Advice>,
        source: Error,
    },
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

fn advised(advice: Option<&Advice>) -> String {
    advice.map_or_else(|| "no connection could be had".to_owned(), ToString::to_string)
}

fn told(held_by: Option<&String>) -> String {
    held_by.map(|held_by| format!(", waiting for {held_by}")).unwrap_or_default()
}

impl DatabaseError {
    pub(super) fn class(&self) -> ErrorClass {
        match self {
            DatabaseError::Postgres(error) | DatabaseError::Connect { source: error, .. } => classify(error),
            DatabaseError::Io(_) | DatabaseError::NoAnswer(_) => ErrorClass::Away,
            DatabaseError::Stalled { .. } => ErrorClass::Transient,
            DatabaseError::Dropped => ErrorClass::Data,
            DatabaseError::GivenUp | DatabaseError::NoneFree(_) | DatabaseError::Thread(_) => {
                ErrorClass::Fatal
            }
            DatabaseError::Told(error) => error.postgres_error().map_or(ErrorClass::Fatal, classify),
        }
    }

    /// Whether it means that a connection was lost, or none could be had.
    pub(super) fn is_loss(&self) -> bool {
        let is_refusal = |state: &str| matches!(state, "53100" | "25006" | "58000" | "58030");
        self.class() == ErrorClass::Away && !self.sqlstate().is_some_and(is_refusal)
    }

    pub(super) fn sqlstate(&self) -> Option<&str> {
        match self {
            DatabaseError::Postgres(error) | DatabaseError::Connect { source: error, .. } => {
                error.code().map(postgres::error::SqlState::code)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates() {
        let check = |codes: &[&str], expected| {
            for code in codes {
                assert_eq!(classify_sqlstate(code), expected, "{code}");
            }
        };
        check(
            &["08006", "08P01", "53100", "53300", "57P01", "57P02", "57P03", "57P05", "25006", "58030"],
            ErrorClass::Away,
        );
        check(
            &["40001", "40P01", "55P03", "55006", "57014", "25P03", "25P04", "53200", "53400"],
            ErrorClass::Transient,
        );
        check(
            &["22003", "22P02", "22P05", "23502", "23505", "23514", "54000", "44000", "P0001"],
            ErrorClass::Data,
        );
        check(
            &["28000", "28P01", "3D000", "3F000", "42501", "42P01", "0A000", "F0001", "XX001", ""],
            ErrorClass::Fatal,
        );
    }
}
