//! The error of a call of the database, before it is decided what is done about it.

use crate::database::connect::fault::ConnectFault;
use crate::database::connect::server_version::Unsupported;
use crate::database::store::StoreError;
use crate::error_chain::cause_of;
use postgres::Error;
use std::io;
use std::time::Duration;

/// An error of a connection, of a statement or of the bytes sent to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// A statement that moves no rows of events: a look-up, DDL, the ledger's own rows.
    #[error("{}", headline(.0))]
    Postgres(#[from] Error),
    /// A statement that moves rows of events, or the COMMIT of a transaction that moved some.
    #[error("{}", headline(source))]
    Rows {
        /// The event that COPY was at, where the server names its line.
        event: Option<usize>,
        source: Error,
    },
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
    /// The same, of the rows of the ledger.
    #[error(
        "a trigger or rule of kill_load_run or kill_load_segment drops the rows that are written; remove it"
    )]
    LedgerDrops,
    /// The role or the database cancels even what sets up a session.
    #[error(
        "the statement_timeout of the role or the database is too short to set up a session; \
         raise it by ALTER ROLE or ALTER DATABASE … SET statement_timeout"
    )]
    TimeoutTooShort(#[source] Error),
    #[error(
        "the pooler before the database is in statement mode, and a load needs transactions; \
         set pool_mode = transaction or session"
    )]
    StatementPooling(#[source] Error),
    /// What was written was refused, as the role or the database is set so.
    #[error(
        "default_transaction_read_only is on for this role or database, so that nothing can be written; \
         use another role, or ALTER ROLE or ALTER DATABASE … RESET default_transaction_read_only"
    )]
    ReadOnlyRole(#[source] Error),
    #[error(
        "the program is out of file descriptors; raise the limit by 'ulimit -n', or lower DATABASE_POOL_MAX"
    )]
    OutOfFiles(#[source] io::Error),
    /// A COMMIT waits for a standby that does not answer.
    #[error(
        "COMMIT has waited {:.0} s for a synchronous standby (wait event SyncRep); start the standby, or remove it from \
         synchronous_standby_names", .0.as_secs_f64()
    )]
    Standby(Duration),
    /// Such a wait was cancelled, which PostgreSQL says in a warning alone.
    #[error(
        "the wait of a COMMIT for a synchronous standby was cancelled: the data is on the primary, and may be \
         missing on the standby"
    )]
    Unreplicated,
    /// What the caller allowed for waiting is over.
    #[error("told to stop")]
    Aborted,
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

fn headline(error: &Error) -> &'static str {
    match error.code() {
        Some(_) => "the database refused",
        None if error.is_closed() || cause_of::<io::Error>(error).is_some() => "the connection broke",
        None => "the database's answer is of another type than expected",
    }
}

fn told(held_by: Option<&String>) -> String {
    held_by.map(|held_by| format!(", waiting for {held_by}")).unwrap_or_default()
}

impl DatabaseError {
    /// Whether it names a cause that each host of a database would give.
    pub(crate) fn is_named(&self) -> bool {
        matches!(
            self,
            DatabaseError::Unsupported(_)
                | DatabaseError::TimeoutTooShort(_)
                | DatabaseError::StatementPooling(_)
                | DatabaseError::OutOfFiles(_)
        )
    }

    /// Whether the server, the process or its machine has no room for another session.
    pub(crate) fn is_want_of_room(&self) -> bool {
        matches!(self, DatabaseError::OutOfFiles(_) | DatabaseError::Thread(_))
            || self.sqlstate() == Some("53300")
    }

    /// The SQLSTATE; none where the server did not send the error.
    pub(crate) fn sqlstate(&self) -> Option<&str> {
        match self {
            DatabaseError::Postgres(error)
            | DatabaseError::Rows { source: error, .. }
            | DatabaseError::Connect { error, .. }
            | DatabaseError::TimeoutTooShort(error)
            | DatabaseError::StatementPooling(error)
            | DatabaseError::ReadOnlyRole(error) => error.code().map(postgres::error::SqlState::code),
            _ => None,
        }
    }

    /// The error of a statement that moves rows of events.
    pub(crate) fn of_rows(source: Error) -> Self {
        DatabaseError::Rows { event: None, source }
    }

    /// The event that is the cause, where that is known.
    pub(crate) fn event(&self) -> Option<usize> {
        match self {
            DatabaseError::Rows { event, .. } => *event,
            _ => None,
        }
    }
}

/// The error of a write into a COPY: the client wraps the server's error in one of input and output.
pub(crate) fn copy_error(error: io::Error) -> DatabaseError {
    match error.downcast::<Error>() {
        Ok(error) => DatabaseError::of_rows(error),
        Err(error) => DatabaseError::Io(error),
    }
}

/// The line that a COPY was at when the server refused it, counted from 1. The words are the server's in whatever language, the
/// number is the first one after the table's name.
pub(crate) fn copy_line(error: &Error, target: &str) -> Option<usize> {
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
