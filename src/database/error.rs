//! The error of a call of the database, before it is decided what is done about it.

use super::connect::Advice;
use super::engine::Unsupported;
use super::store::StoreError;
use postgres::Error;
use std::io;
use std::time::Duration;

/// An error of a connection, of a statement or of the bytes sent to it.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
    /// A statement that moves no rows of events: a look-up, DDL, the ledger's own rows.
    #[error("{}", refused_or_broke(.0))]
    Postgres(#[from] Error),
    /// A statement that moves rows of events, or the COMMIT of a transaction that moved some.
    #[error("{}", refused_or_broke(source))]
    Rows {
        /// The event that COPY was at, where the server names its line.
        event: Option<usize>,
        source: Error,
    },
    #[error("{}", advised(advice.as_ref()))]
    Connect {
        /// What it means, where the error does not say it all.
        advice: Option<Advice>,
        source: Error,
    },
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

fn refused_or_broke(error: &Error) -> &'static str {
    if error.code().is_some() { "the database refused" } else { "the connection broke" }
}

fn advised(advice: Option<&Advice>) -> String {
    advice.map_or_else(|| "no connection could be had".to_owned(), ToString::to_string)
}

fn told(held_by: Option<&String>) -> String {
    held_by.map(|held_by| format!(", waiting for {held_by}")).unwrap_or_default()
}

impl DatabaseError {
    /// The SQLSTATE; none where the server did not send the error.
    pub(super) fn sqlstate(&self) -> Option<&str> {
        match self {
            DatabaseError::Postgres(error)
            | DatabaseError::Rows { source: error, .. }
            | DatabaseError::Connect { source: error, .. } => {
                error.code().map(postgres::error::SqlState::code)
            }
            _ => None,
        }
    }

    /// The error of a statement that moves rows of events.
    pub(super) fn of_rows(source: Error) -> Self {
        DatabaseError::Rows { event: None, source }
    }

    /// The event that is the cause, where that is known.
    pub(super) fn event(&self) -> Option<usize> {
        match self {
            DatabaseError::Rows { event, .. } => *event,
            _ => None,
        }
    }
}

/// The error of a write into a COPY: the client wraps the server's error in one of input and output.
pub(super) fn copy_error(error: io::Error) -> DatabaseError {
    match error.downcast::<Error>() {
        Ok(error) => DatabaseError::of_rows(error),
        Err(error) => DatabaseError::Io(error),
    }
}

/// The line that a COPY was at when the server refused it, counted from 1. The words are the server's in whatever language, the
/// number is the first one after the table's name.
pub(super) fn copy_line(error: &Error, target: &str) -> Option<usize> {
    let context = error.as_db_error()?.where_()?;
    // The COPY is the outermost: functions of triggers come before it.
    context.lines().rev().filter(|line| line.contains("COPY")).find_map(|line| line_of(line, target))
}

fn line_of(context: &str, target: &str) -> Option<usize> {
    let (_, rest) = context.split_once(target)?;
    let digits = rest.find(|character: char| character.is_ascii_digit())?;
    let rest = &rest[digits..];
    rest[..rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_copy() {
        for (context, table, line) in [
            ("COPY kill_event, line 17, column fame", "kill_event", Some(17)),
            ("COPY kill_event, line 3", "kill_event", Some(3)),
            ("COPY kill_event, Zeile 12, Spalte fame", "kill_event", Some(12)),
            ("COPY KillEvent, line 12: \"4\"", "KillEvent", Some(12)),
            ("COPY kill_event", "kill_event", None),
        ] {
            assert_eq!(line_of(context, table), line, "{context}");
        }
    }
}
