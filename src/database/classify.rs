//! What an error of PostgreSQL means for what is to be done next: one function decides.

use postgres::Error;
use std::error::Error as _;
use std::io;

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// It may pass: try the same again, on another connection.
    Transient,
    /// A row is at fault: find it, reject it, go on with the rest.
    Data,
    /// Trying again would fail again.
    Fatal,
}

/// Sorts an error of a statement, of a commit or of a connection.
///
/// An error without a SQLSTATE is the client's: a closed connection and an error of input or output may pass;
/// what is left (a type that does not fit, a configuration) is a mistake that stays one.
pub fn classify(error: &Error) -> ErrorClass {
    match error.code() {
        Some(state) => classify_sqlstate(state.code()),
        None if error.is_closed() || has_io_error(error) => ErrorClass::Transient,
        None => ErrorClass::Fatal,
    }
}

/// Sorts a SQLSTATE, by the classes of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn classify_sqlstate(code: &str) -> ErrorClass {
    use ErrorClass::{Data, Fatal, Transient};
    match code {
        // Serialization failure, deadlock; lock not available, object in use; idle in transaction, cancelled;
        // shut down, crashed, starting up, idle session; a server that is a standby for now; its own files.
        "40001" | "40P01" | "55P03" | "55006" | "25P03" | "57014" | "57P01" | "57P02" | "57P03" | "57P05"
        | "25006" | "58000" | "58030" => Transient,
        // Raised by the user's own function.
        "P0001" => Data,
        _ => match code.get(..2).unwrap_or_default() {
            // Connection; resources (memory, disk, connections).
            "08" | "53" => Transient,
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
pub(super) fn copy_error(error: io::Error) -> WriteError {
    match error.downcast::<Error>() {
        Ok(error) => WriteError::Postgres(error),
        Err(error) => WriteError::Io(error),
    }
}

/// An error of a statement or of the bytes sent to it.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("the database refused")]
    Postgres(#[from] Error),
    #[error("the connection broke")]
    Io(#[source] io::Error),
    /// Fewer rows were stored than were sent, without an error.
    #[error("a trigger or rule of the table dropped the event")]
    Dropped,
}

impl WriteError {
    pub(super) fn class(&self) -> ErrorClass {
        match self {
            WriteError::Postgres(error) => classify(error),
            WriteError::Io(_) => ErrorClass::Transient,
            WriteError::Dropped => ErrorClass::Data,
        }
    }

    pub(super) fn sqlstate(&self) -> Option<&str> {
        match self {
            WriteError::Postgres(error) => error.code().map(postgres::error::SqlState::code),
            WriteError::Io(_) | WriteError::Dropped => None,
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
            &[
                "08006", "08P01", "40001", "40P01", "55P03", "55006", "53100", "53300", "57P01", "57P03",
                "57014", "25006", "25P03", "58030",
            ],
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
