//! Errors of database calls, before their classification.

use crate::database::connect::fault::ConnectFault;
use crate::database::connect::server_version::Unsupported;
use crate::database::store::StoreError;
use crate::error_chain::{cause_of, of_connection};
use crate::panics::NO_THREAD;
use postgres::Error;
use postgres::error::SqlState;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::time::Duration;

/// An error of a connection, of a statement, or of the data sent to it.
///
/// The text of an error of the server or the system is only in the causes, so print it with
/// [`in_full`](crate::error_chain::in_full).
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// A statement that moves no rows of events: a lookup, DDL, or the rows of the ledger.
    #[error("{}", headline(.0))]
    Postgres(#[source] Error),
    /// A statement that moves rows of events, or the COMMIT of a transaction that moved some.
    #[error("{}", headline(source))]
    Rows {
        /// The event at which COPY failed, if the server names its line.
        event: Option<usize>,
        source: Error,
    },
    /// A failed connection. `fault` states the cause, so `error` is not a source.
    #[error("{fault}")]
    Connect { fault: ConnectFault, error: Error },
    /// No server matches `target_session_attrs`.
    #[error("{0}")]
    Unmet(ConnectFault),
    /// The server is not PostgreSQL, or is too old.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A connection that broke while data was sent. The cause has the text.
    #[error("")]
    Io(#[source] io::Error),
    /// The server accepts connections but does not answer, or the network drops all packets.
    #[error(
        "the database did not answer within {} s\nhint: check host, port and firewalls; behind a pooler, raise its pool \
         size, or lower DATABASE_POOL_MAX and KILLS_WORKER_CONCURRENCY", .0.as_secs_f64()
    )]
    NoAnswer(Duration),
    /// A statement without progress, which was cancelled or abandoned.
    #[error("no progress for {:.1} s{}", idle.as_secs_f64(), waiting_for(held_by.as_ref()))]
    Stalled {
        idle: Duration,
        /// The holder of the lock that it waited for, if that is known.
        held_by: Option<String>,
        /// The error that cancelling it caused. None if it was abandoned.
        source: Option<Error>,
    },
    /// Fewer rows were stored than were sent, without an error. Holds the ids of the events without a row that was sent, if
    /// they are known.
    #[error("a trigger or rule of the table dropped the event")]
    Dropped(Vec<i64>),
    /// Rows were stored, but are not in the tables now. Holds the ids of their events.
    #[error("a trigger or rule of the tables changed or removed rows of the event")]
    Altered(Vec<i64>),
    /// The search for the refused events of a batch took too long. The cause is the last refusal.
    #[error("{0}")]
    SearchEnded(SearchEnd, #[source] Option<Box<DatabaseError>>),
    /// Fewer rows of the ledger were stored than were sent.
    #[error(
        "a trigger or rule of kill_load_run or kill_load_segment drops the written rows\nhint: remove it"
    )]
    LedgerDrops,
    /// A time-out of the role or the database ends even the setup of a session.
    #[error(
        "the {name} of the role or the database is too short to set up a session\nhint: \
         raise it with ALTER ROLE or ALTER DATABASE … SET {name}", name = timeout_of(.0)
    )]
    TimeoutTooShort(#[source] Error),
    #[error(
        "the connection pooler is in statement mode, but a load needs transactions\nhint: \
         set pool_mode = transaction or session"
    )]
    StatementPooling(#[source] Error),
    /// A write failed, or would fail, because the role, the database or the options of the login are read-only by default.
    #[error(
        "default_transaction_read_only is on, so nothing can be written\nhint: use another role, run ALTER ROLE or ALTER \
         DATABASE … RESET default_transaction_read_only, or remove it from PGOPTIONS and from the options of the URL"
    )]
    ReadOnlyRole(#[source] Option<Error>),
    #[error(
        "the program is out of file descriptors\nhint: raise the limit with 'ulimit -n', or lower DATABASE_POOL_MAX"
    )]
    OutOfFiles(#[source] io::Error),
    /// A COMMIT waits for a standby that does not answer.
    #[error(
        "COMMIT has waited {:.0} s for a synchronous standby (wait event SyncRep)\nhint: start the standby, or remove it from \
         synchronous_standby_names", .0.as_secs_f64()
    )]
    Standby(Duration),
    /// The wait for a standby was cancelled. PostgreSQL reports this only in a warning.
    #[error(
        "the wait of a COMMIT for a synchronous standby was cancelled: the data is on the primary, and may be \
         missing on the standby"
    )]
    Unreplicated,
    /// The deadline of the caller is over.
    #[error("stop requested")]
    Aborted,
    /// All connections of the pool stayed in use.
    #[error(transparent)]
    NoneFree(StoreError),
    /// A thread could not be started.
    #[error("{}", NO_THREAD)]
    NoThread(#[source] io::Error),
    /// A thread panicked, or a library could not start one.
    #[error("{0}")]
    Thread(String),
    /// The description of another error by the operation.
    #[error(transparent)]
    Described(#[from] StoreError),
}

/// The state of a search for refused events that reached its time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SearchEnd {
    pub limit: Duration,
    /// The events that the database refused so far.
    pub refused: usize,
    /// The events that it refused or accepted so far, at most `events`.
    pub checked: usize,
    /// All events of the segment.
    pub events: usize,
    /// The size of the segment's text, in bytes.
    pub text_bytes: usize,
}

impl SearchEnd {
    /// A smaller value of `KILLS_SEGMENT_BYTES`, in KiB, with which the search takes about half of its limit. None if the
    /// least valid value is too large.
    fn segment_kib(&self) -> Option<usize> {
        const KIB_MIN: usize = 4;
        let checked_bytes = self.text_bytes.saturating_mul(self.checked) / self.events.max(1);
        let kib = checked_bytes / 2 / 1024;
        (kib >= KIB_MIN).then(|| 1_usize << kib.ilog2())
    }
}

impl fmt::Display for SearchEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, refused, checked, events, .. } = self;
        write!(
            f,
            "the search for refused events in one segment reached its limit of {} s after {checked} of {events} events, \
             {refused} of them refused\nhint: correct the trigger or constraint that refuses them, or ",
            limit.as_secs()
        )?;
        match self.segment_kib() {
            Some(kib) => {
                write!(f, "set KILLS_SEGMENT_BYTES={kib}KiB, so that fewer events are in one segment")
            }
            None => f.write_str("run the load on a host closer to the database"),
        }
    }
}

/// The SQLSTATE at the end of a session by `transaction_timeout`, of PostgreSQL 17 and later.
pub(crate) const TRANSACTION_TIMEOUT: &str = "25P04";

/// The setting that ended a statement or the session.
fn timeout_of(error: &Error) -> &'static str {
    match error.code() {
        Some(code) if code.code() == TRANSACTION_TIMEOUT => "transaction_timeout",
        _ => "statement_timeout",
    }
}

/// A name that the search path does not find.
const UNDEFINED: [SqlState; 3] =
    [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION, SqlState::UNDEFINED_OBJECT];

/// Whether the error is of a statement in a function. Our own statements find their names in any search path.
fn is_of_function(error: &Error) -> bool {
    error.as_db_error().is_some_and(|error| error.where_().is_some())
}

/// What precedes the text of the cause.
fn headline(error: &Error) -> &'static str {
    match error.code() {
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            "\nhint: grant the role the privileges of a loader, which deploy/role.sql lists"
        }
        Some(code) if UNDEFINED.contains(code) && is_of_function(error) => {
            "\nhint: in the function of the trigger, write the schema before each name, or run ALTER \
             FUNCTION … SET search_path"
        }
        Some(_) => "",
        None if error.is_closed() || cause_of::<io::Error>(error).is_some() => "",
        None => "unexpected type in the response of the database",
    }
}

fn waiting_for(held_by: Option<&String>) -> String {
    held_by.map(|held_by| format!(", waiting for {held_by}")).unwrap_or_default()
}

impl From<Error> for DatabaseError {
    fn from(error: Error) -> Self {
        if pools_statements(&error) {
            DatabaseError::StatementPooling(error)
        } else {
            DatabaseError::Postgres(error)
        }
    }
}

/// Whether PgBouncer rejects transactions because it is in statement mode. It has one SQLSTATE for all its errors,
/// and does not translate their text.
pub(crate) fn pools_statements(error: &Error) -> bool {
    let says = |error: &postgres::error::DbError| {
        error.code().code() == "08P01" && error.message().contains("statement pooling")
    };
    error.as_db_error().is_some_and(says)
}

impl DatabaseError {
    /// Whether each host of the database would cause the same error.
    pub(crate) fn is_named(&self) -> bool {
        matches!(
            self,
            DatabaseError::Unsupported(_)
                | DatabaseError::TimeoutTooShort(_)
                | DatabaseError::StatementPooling(_)
                | DatabaseError::ReadOnlyRole(_)
                | DatabaseError::OutOfFiles(_)
        )
    }

    /// Whether the server, the process or the machine has no capacity for another session.
    pub(crate) fn is_out_of_capacity(&self) -> bool {
        matches!(self, DatabaseError::OutOfFiles(_) | DatabaseError::NoThread(_) | DatabaseError::Thread(_))
            || self.sqlstate() == Some("53300")
    }

    /// The SQLSTATE; none if the server did not send the error.
    pub(crate) fn sqlstate(&self) -> Option<&str> {
        match self {
            DatabaseError::Postgres(error)
            | DatabaseError::Rows { source: error, .. }
            | DatabaseError::Connect { error, .. }
            | DatabaseError::TimeoutTooShort(error)
            | DatabaseError::StatementPooling(error)
            | DatabaseError::ReadOnlyRole(Some(error)) => error.code().map(SqlState::code),
            DatabaseError::Described(error) => cause_of::<DatabaseError>(error)?.sqlstate(),
            _ => None,
        }
    }

    /// An error of a statement that moves rows of events.
    pub(crate) fn of_rows(source: Error) -> Self {
        DatabaseError::Rows { event: None, source }
    }

    /// The ids of the events of which a row was dropped or altered, if they are known.
    pub(crate) fn dropped(&self) -> HashSet<i64> {
        match self {
            DatabaseError::Dropped(ids) | DatabaseError::Altered(ids) => ids.iter().copied().collect(),
            _ => HashSet::new(),
        }
    }

    /// The event that caused the error, if that is known.
    pub(crate) fn event(&self) -> Option<usize> {
        match self {
            DatabaseError::Rows { event, .. } => *event,
            _ => None,
        }
    }
}

/// Converts the error of a write into a COPY. The client wraps the error of the server in an I/O error.
pub(crate) fn copy_error(error: io::Error) -> DatabaseError {
    match error.downcast::<Error>() {
        Ok(error) => DatabaseError::of_rows(error),
        Err(error) => DatabaseError::Io(of_connection(error)),
    }
}

/// The line at which the server refused a COPY, counted from 1. The server translates the text, so this takes the
/// first number after the name of the table.
pub(crate) fn copy_line(error: &Error, target: &str) -> Option<usize> {
    let context = error.as_db_error()?.where_()?;
    // The COPY is the outermost context. Functions of triggers precede it.
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
    use crate::database::failure::public::in_public;
    use crate::error_chain::in_full;
    use nix::errno::Errno;

    /// At 10 ms per round trip, a search checks about 390 events of 150 bytes.
    #[test]
    fn the_hint_of_an_ended_search_helps_and_differs_from_the_present_setting() {
        let end = |checked: usize, events: usize| SearchEnd {
            limit: Duration::from_secs(30),
            refused: checked / 2,
            checked,
            events,
            text_bytes: events * 150,
        };
        for (checked, events, kib) in [
            (390, 55_000, Some(16)),
            (390, 1_000, Some(16)),
            (200, 436, Some(8)),
            (20, 27, None),
            (0, 0, None),
        ] {
            assert_eq!(end(checked, events).segment_kib(), kib, "{checked} of {events}");
        }
        let text = end(390, 1_000).to_string();
        assert!(text.contains("limit of 30 s after 390 of 1000 events, 195 of them refused\n"), "{text}");
        assert!(
            text.ends_with("set KILLS_SEGMENT_BYTES=16KiB, so that fewer events are in one segment"),
            "{text}"
        );
        assert!(!end(20, 27).to_string().contains("KILLS_SEGMENT_BYTES"));
    }

    #[test]
    fn a_lost_connection_has_one_text_and_no_prefix() {
        for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::UnexpectedEof] {
            let error = StoreError::new("reading rows failed", copy_error(kind.into()));
            let text = "reading rows failed: the server closed the connection";
            assert_eq!((in_full(&error), in_public(&error)), (text.to_owned(), text.to_owned()));
        }
        let reset = copy_error(Errno::ECONNRESET.into());
        assert_eq!(in_full(&reset), "Connection reset by peer");
    }

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
