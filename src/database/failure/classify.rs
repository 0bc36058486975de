//! What an error of the database means for what is done next: one function decides, by SQLSTATE and type, never by
//! the words.

use crate::database::connect::cause::tls_fault;
use crate::database::failure::error::DatabaseError;
use crate::error_chain::cause_of;
use nix::errno::Errno;
use postgres::Error;
use std::io;

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
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
pub(crate) fn classify(error: &Error) -> ErrorClass {
    match error.code() {
        Some(state) => classify_sqlstate(state.code()),
        // It comes as an error of input and output, too.
        None if tls_fault(error).is_some() => ErrorClass::Fatal,
        None if cause_of::<io::Error>(error).is_some_and(is_out_of_files) => ErrorClass::Fatal,
        None if cause_of::<io::Error>(error).is_some_and(is_no_privilege) => ErrorClass::Fatal,
        None if error.is_closed() || cause_of::<io::Error>(error).is_some() => ErrorClass::Away,
        None => ErrorClass::Fatal,
    }
}

/// Whether the process, or the system, has no room for another file or socket.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    [Errno::EMFILE, Errno::ENFILE].iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// Whether the system denies this user the server's socket. A local firewall's refusal has another number.
fn is_no_privilege(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EACCES as i32)
}

/// Sorts a SQLSTATE, by the classes of <https://www.postgresql.org/docs/current/errcodes-appendix.html>; each of them is
/// named here.
fn classify_sqlstate(code: &str) -> ErrorClass {
    use ErrorClass::{Away, Data, Fatal, Transient};
    match code {
        // Disk full, too many connections; shut down, crashed, starting up, idle session; a standby, or read-only;
        // the server's own files.
        "53100" | "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "58000" | "58030" => Away,
        // Serialization failure, outcome of the statement unknown, deadlock; lock not available, object in use; idle in
        // transaction, or too long in it; cancelled; what the server did not expect, such as a catalog that changed
        // meanwhile, or of Citus a node that was lost.
        "40001" | "40003" | "40P01" | "55P03" | "55006" | "25P03" | "25P04" | "57014" | "XX000" => Transient,
        // The database was dropped.
        "57P04" => Fatal,
        _ => match code.get(..2) {
            // Connection.
            Some("08") => Away,
            // Memory and other limits of the server's; an operator; a snapshot too old; a transaction rolled back.
            Some("53" | "57" | "72" | "40") => Transient,
            // A value; a constraint; a view's check; a limit, such as an index row's size. And what a function of a trigger
            // raises: conditions that are no errors, an action, a CASE or a subquery that does not fit, what it does with the
            // transaction, what it returns, an external routine, PL/pgSQL's own.
            Some(
                "22" | "23" | "44" | "54" | "00" | "01" | "02" | "03" | "09" | "0F" | "0Z" | "10" | "20"
                | "21" | "27" | "2D" | "2F" | "38" | "39" | "P0",
            ) => Data,
            // Features; a transaction or a role that can't be begun, named or granted; the state of a transaction, of
            // a statement, a cursor or a savepoint; the login; dependent objects; names of databases and schemas; privileges,
            // names and syntax; the state of an object; the system, configuration, foreign data, corruption: nothing to be
            // gained by another try.
            Some(
                "0A" | "0B" | "0L" | "0P" | "24" | "25" | "26" | "28" | "2B" | "34" | "3B" | "3D" | "3F"
                | "42" | "55" | "58" | "F0" | "HV" | "XX",
            ) => Fatal,
            // PostgreSQL has no such class: a function of the user's has raised it.
            Some(_) if code.len() == 5 => Data,
            _ => Fatal,
        },
    }
}

impl DatabaseError {
    /// What can be done about it. A row is at fault in a statement alone that moves rows.
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            DatabaseError::Rows { source, .. } => classify(source),
            DatabaseError::Postgres(error) if pools_statements(error) => ErrorClass::Fatal,
            DatabaseError::Postgres(error) => without_rows(classify(error)),
            // The server does not take the login's options, or has functions that are called by a login.
            DatabaseError::Connect { error, .. } => match (classify(error), self.sqlstate()) {
                // A statement_timeout of the role's that a session's first statements are too long for.
                (ErrorClass::Data, _) | (_, Some("57014")) => ErrorClass::Fatal,
                (class, _) => class,
            },
            DatabaseError::Io(_)
            | DatabaseError::NoAnswer(_)
            | DatabaseError::Unmet(_)
            | DatabaseError::Standby(_)
            | DatabaseError::Unreplicated => ErrorClass::Away,
            DatabaseError::Stalled { .. } => ErrorClass::Transient,
            DatabaseError::Dropped => ErrorClass::Data,
            DatabaseError::Unsupported(_)
            | DatabaseError::TimeoutTooShort(_)
            | DatabaseError::StatementPooling(_)
            | DatabaseError::ReadOnlyRole(_)
            | DatabaseError::OutOfFiles(_)
            | DatabaseError::LedgerDrops
            | DatabaseError::Aborted
            | DatabaseError::NoneFree(_)
            | DatabaseError::Thread(_) => ErrorClass::Fatal,
            DatabaseError::Told(error) => match cause_of::<DatabaseError>(error) {
                Some(error) => error.class(),
                None => cause_of(error).map_or(ErrorClass::Fatal, |error| without_rows(classify(error))),
            },
        }
    }

    /// Whether it means that a connection was lost, or none could be had.
    pub(crate) fn is_loss(&self) -> bool {
        let is_refusal = |state: &str| matches!(state, "53100" | "25006" | "58000" | "58030");
        let is_standby = matches!(self, DatabaseError::Standby(_) | DatabaseError::Unreplicated);
        self.class() == ErrorClass::Away && !is_standby && !self.sqlstate().is_some_and(is_refusal)
    }
}

/// Whether a PgBouncer refuses transactions, as it does in statement mode. It has one SQLSTATE for all that it says, and does
/// not translate its words.
fn pools_statements(error: &Error) -> bool {
    let says = |error: &postgres::error::DbError| {
        error.code().code() == "08P01" && error.message().contains("statement pooling")
    };
    error.as_db_error().is_some_and(says)
}

/// Whoever forbids a statement that has no row in it may allow it the next time.
fn without_rows(class: ErrorClass) -> ErrorClass {
    match class {
        ErrorClass::Data => ErrorClass::Transient,
        class => class,
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
            &["40001", "40P01", "55P03", "55006", "57014", "25P03", "25P04", "53200", "53400", "XX000"],
            ErrorClass::Transient,
        );
        check(
            &[
                "22003", "22P02", "22P05", "23502", "23505", "23514", "54000", "44000", "P0001", "P0002",
                "P0004", "KK001", "02000", "20000", "2F005", "38000", "ZZZZZ",
            ],
            ErrorClass::Data,
        );
        check(
            &[
                "28000", "28P01", "3D000", "3F000", "42501", "42P01", "0A000", "55000", "57P04", "F0001",
                "XX001", "",
            ],
            ErrorClass::Fatal,
        );
    }
}
