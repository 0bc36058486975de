//! Classifies database errors by SQLSTATE and type, never by their text. The class decides the next step.

use crate::database::connect::cause::tls_fault;
use crate::database::failure::error::DatabaseError;
use crate::error_chain::cause_of;
use nix::errno::Errno;
use postgres::Error;
use std::io;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// The database is unreachable: gone, starting, full or read-only. Wait until it is back, then retry.
    Away,
    /// The database is reachable, and refuses for a reason that may pass. Retry a few times.
    Transient,
    /// A row is at fault. Find it, reject it, and continue with the others.
    Data,
    /// A retry would fail again.
    Fatal,
}

/// Classifies an error of a statement, of a COMMIT or of a connection.
///
/// An error without a SQLSTATE is from the client. A closed connection or an I/O error means that the database is
/// unreachable. Any other, such as an unexpected type or a wrong configuration, is permanent.
pub(crate) fn classify(error: &Error) -> ErrorClass {
    match error.code() {
        Some(state) => classify_sqlstate(state.code()),
        // TLS faults are wrapped in I/O errors, so they are checked first.
        None if tls_fault(error).is_some() => ErrorClass::Fatal,
        None if cause_of::<io::Error>(error).is_some_and(is_out_of_files) => ErrorClass::Fatal,
        None if cause_of::<io::Error>(error).is_some_and(is_no_privilege) => ErrorClass::Fatal,
        None if error.is_closed() || cause_of::<io::Error>(error).is_some() => ErrorClass::Away,
        None => ErrorClass::Fatal,
    }
}

/// Whether the process or the system is out of file descriptors.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    [Errno::EMFILE, Errno::ENFILE].iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// Whether this user lacks access to the socket of the server. A local firewall causes another error number.
fn is_no_privilege(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EACCES as i32)
}

/// Classifies a SQLSTATE by <https://www.postgresql.org/docs/current/errcodes-appendix.html>. All classes of that
/// page are named here.
fn classify_sqlstate(code: &str) -> ErrorClass {
    use ErrorClass::{Away, Data, Fatal, Transient};
    match code {
        // Disk full, too many connections; shut down, crashed, starting up, idle session; a standby, or read-only;
        // errors of the files of the server.
        "53100" | "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "58000" | "58030" => Away,
        // Serialization failure, unknown outcome of a statement, deadlock; lock not available, object in use; idle or
        // too long in a transaction; cancelled; internal errors, such as a concurrently changed catalog or a lost
        // Citus node.
        "40001" | "40003" | "40P01" | "55P03" | "55006" | "25P03" | "25P04" | "57014" | "XX000" => Transient,
        // The database was dropped.
        "57P04" => Fatal,
        _ => match code.get(..2) {
            // Connection.
            Some("08") => Away,
            // Memory and other limits of the server; an operator; a snapshot too old; a transaction rolled back.
            Some("53" | "57" | "72" | "40") => Transient,
            // A value; a constraint; the check of a view; a limit, such as the size of an index row. Functions of
            // triggers raise the others: conditions that are no errors, an action, a CASE or a subquery that does not
            // fit, transaction control, the returned value, an external routine, PL/pgSQL.
            Some(
                "22" | "23" | "44" | "54" | "00" | "01" | "02" | "03" | "09" | "0F" | "0Z" | "10" | "20"
                | "21" | "27" | "2D" | "2F" | "38" | "39" | "P0",
            ) => Data,
            // Features; a transaction or a role that cannot be started, named or granted; the state of a transaction,
            // a statement, a cursor or a savepoint; the login; dependent objects; names of databases and schemas;
            // privileges, names and syntax; the state of an object; the system, configuration, foreign data,
            // corruption. A retry cannot help.
            Some(
                "0A" | "0B" | "0L" | "0P" | "24" | "25" | "26" | "28" | "2B" | "34" | "3B" | "3D" | "3F"
                | "42" | "55" | "58" | "F0" | "HV" | "XX",
            ) => Fatal,
            // PostgreSQL has no such class: a user's function raised it.
            Some(_) if code.len() == 5 => Data,
            _ => Fatal,
        },
    }
}

impl DatabaseError {
    /// The handling of the error. Only a statement that moves rows can fail because of a row.
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            DatabaseError::Rows { source, .. } => classify(source),
            DatabaseError::Postgres(error) => without_rows(classify(error)),
            // The server rejects the options of the login, or a login trigger failed.
            DatabaseError::Connect { error, .. } => match (classify(error), self.sqlstate()) {
                // The statement_timeout of the role is too short for the first statements of a session.
                (ErrorClass::Data, _) | (_, Some("57014")) => ErrorClass::Fatal,
                (class, _) => class,
            },
            DatabaseError::Io(_)
            | DatabaseError::NoAnswer(_)
            | DatabaseError::Unmet(_)
            | DatabaseError::Standby(_)
            | DatabaseError::Unreplicated => ErrorClass::Away,
            DatabaseError::Stalled { .. } => ErrorClass::Transient,
            DatabaseError::Dropped(_) | DatabaseError::Altered(_) => ErrorClass::Data,
            DatabaseError::Unsupported(_)
            | DatabaseError::TimeoutTooShort(_)
            | DatabaseError::StatementPooling(_)
            | DatabaseError::ReadOnlyRole(_)
            | DatabaseError::OutOfFiles(_)
            | DatabaseError::LedgerDrops
            | DatabaseError::SearchEnded(..)
            | DatabaseError::Aborted
            | DatabaseError::NoneFree(_)
            | DatabaseError::NoThread(_)
            | DatabaseError::Thread(_) => ErrorClass::Fatal,
            DatabaseError::Described(error) => match cause_of::<DatabaseError>(error) {
                Some(error) => error.class(),
                None => cause_of(error).map_or(ErrorClass::Fatal, |error| without_rows(classify(error))),
            },
        }
    }

    /// Whether a function of the user may have caused the error for one row alone, although its SQLSTATE is that of a
    /// permanent error or of an outage: a missing object, privilege or feature in a branch of a trigger, or any by RAISE.
    pub(crate) fn may_be_of_row(&self) -> bool {
        let DatabaseError::Rows { source, .. } = self else { return false };
        let Some(error) = source.as_db_error() else { return false };
        // Errors of the statement itself have no context.
        let is_within = error.where_().is_some();
        let is_of_object = ["0A", "42", "55"].iter().any(|class| error.code().code().starts_with(class));
        match classify(source) {
            ErrorClass::Fatal => self.is_raised() || is_within && is_of_object,
            // Without RAISE, a statement in a function of the user has met the outage.
            ErrorClass::Away => self.is_raised(),
            ErrorClass::Data | ErrorClass::Transient => false,
        }
    }

    /// Whether RAISE in PL/pgSQL caused the error. The server names the function of its source, which it does not
    /// translate.
    pub(crate) fn is_raised(&self) -> bool {
        let DatabaseError::Rows { source, .. } = self else { return false };
        source.as_db_error().is_some_and(|error| error.routine() == Some("exec_stmt_raise"))
    }

    /// Whether the session of a statement that moves rows was lost.
    pub(crate) fn is_lost_write(&self) -> bool {
        matches!(self, DatabaseError::Rows { .. } | DatabaseError::Io(_)) && self.is_loss()
    }

    /// Whether a connection was lost or could not be opened.
    pub(crate) fn is_loss(&self) -> bool {
        let is_refusal = |state: &str| matches!(state, "53100" | "25006" | "58000" | "58030");
        let is_standby = matches!(self, DatabaseError::Standby(_) | DatabaseError::Unreplicated);
        self.class() == ErrorClass::Away
            && !is_standby
            && !self.is_raised()
            && !self.sqlstate().is_some_and(is_refusal)
    }
}

/// No row is at fault in a statement without rows, so its error may pass.
fn without_rows(class: ErrorClass) -> ErrorClass {
    match class {
        ErrorClass::Data => ErrorClass::Transient,
        class => class,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLSTATEs of each class, with the words that begin its row in docs/faults.md.
    const EXAMPLES: [(ErrorClass, &str, &[&str]); 4] = [
        (
            ErrorClass::Away,
            "outage",
            &[
                "08006", "08P01", "53100", "53300", "57P01", "57P02", "57P03", "57P05", "25006", "58000",
                "58030",
            ],
        ),
        (
            ErrorClass::Transient,
            "transient error",
            &[
                "40001", "40002", "40003", "40P01", "55P03", "55006", "57014", "57000", "25P03", "25P04",
                "53200", "53400", "72000", "XX000",
            ],
        ),
        (
            ErrorClass::Data,
            "rejected row",
            &[
                "22003", "22P02", "22P05", "23502", "23505", "23514", "54000", "44000", "P0001", "P0002",
                "P0004", "00000", "01000", "02000", "03000", "09000", "0F001", "0Z002", "10608", "20000",
                "21000", "27000", "2D000", "2F005", "38000", "39000",
            ],
        ),
        (
            ErrorClass::Fatal,
            "permanent error",
            &[
                "28000", "28P01", "3D000", "3F000", "42501", "42P01", "0A000", "55000", "57P04", "58P01",
                "F0001", "XX001",
            ],
        ),
    ];

    #[test]
    fn sqlstates() {
        for (class, _, codes) in EXAMPLES {
            for code in codes {
                assert_eq!(classify_sqlstate(code), class, "{code}");
            }
        }
        // Undefined classes, and no SQLSTATE.
        for (code, class) in
            [("KK001", ErrorClass::Data), ("ZZZZZ", ErrorClass::Data), ("", ErrorClass::Fatal)]
        {
            assert_eq!(classify_sqlstate(code), class, "{code:?}");
        }
    }

    /// The page lists single SQLSTATEs, and classes such as `22*`.
    #[test]
    fn the_page_on_faults_lists_the_sqlstates() {
        const PAGE: &str = include_str!("../../../docs/faults.md");
        for (class, condition, codes) in EXAMPLES {
            let row = PAGE.lines().find_map(|line| line.strip_prefix(&format!("| **{condition}**")));
            let cell = row.and_then(|row| row.split('|').next()).expect("a row of the class");
            let words = cell.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '*');
            let is_code = |word: &&str| {
                let code = word.trim_end_matches('*');
                let is_whole = (word.len(), code.len()) == (5, 5) || (word.len(), code.len()) == (3, 2);
                is_whole && !code.contains(|letter: char| letter.is_ascii_lowercase())
            };
            let listed: Vec<&str> = words.filter(is_code).collect();
            assert!(listed.len() > 5, "{condition}: {listed:?}");
            for word in &listed {
                assert_eq!(classify_sqlstate(&word.replace('*', "000")), class, "{word}");
            }
            for code in codes {
                let whole_class = format!("{}*", &code[..2]);
                let is_listed = listed.contains(code) || listed.contains(&whole_class.as_str());
                // The last row is for all others.
                assert!(is_listed || class == ErrorClass::Fatal, "{condition} lacks {code}");
            }
        }
    }
}
