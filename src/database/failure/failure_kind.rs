//! The cause of a database failure, which decides whether another run can help.

use crate::database::failure::classify::{ErrorClass, classify};
use crate::database::failure::error::DatabaseError;
use crate::database::failure::gate_error::GateError;
use crate::database::store::StoreError;
use crate::error_chain::in_full;
use std::error::Error;

/// The kind of cause of a store failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// An outage, or an error that persisted through all retries. It may pass.
    Passing,
    /// The database refuses for a permanent reason: login, privileges, names, incompatible tables.
    Permanent,
    /// The program itself: a limit of its process, such as threads or open files, or a panic.
    Program,
}

impl StoreError {
    /// The kind of the failure. Of several causes, the outermost one decides.
    pub fn kind(&self) -> FailureKind {
        let mut next: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = next {
            if let Some(kind) = decide(error) {
                return kind;
            }
            next = error.source();
        }
        FailureKind::Passing
    }

    /// The same failure with another message, if it is permanent: only permanent failures name commands. Not for
    /// errors that reach `in_public`, because the cause becomes text.
    #[must_use]
    pub(crate) fn map_message(self, map: impl FnOnce(&str) -> String) -> Self {
        if self.kind() == FailureKind::Permanent { Self::refused(map(&in_full(&self))) } else { self }
    }
}

/// None if the next cause decides.
fn decide(error: &(dyn Error + 'static)) -> Option<FailureKind> {
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return error.is_marked_refused().then_some(FailureKind::Permanent);
    }
    if let Some(error) = error.downcast_ref::<GateError>() {
        return Some(match error {
            GateError::Aborted | GateError::OutageTooLong(..) => FailureKind::Passing,
            GateError::Fatal(cause) => match kind(cause) {
                FailureKind::Program => FailureKind::Program,
                FailureKind::Permanent | FailureKind::Passing => FailureKind::Permanent,
            },
        });
    }
    if let Some(error) = error.downcast_ref::<DatabaseError>() {
        return Some(kind(error));
    }
    error.downcast_ref::<postgres::Error>().map(|error| class_kind(classify(error)))
}

fn kind(error: &DatabaseError) -> FailureKind {
    match error {
        // It stands for the error in it, and has the same source.
        DatabaseError::Described(error) => error.kind(),
        DatabaseError::Aborted | DatabaseError::NoneFree(_) => FailureKind::Passing,
        DatabaseError::Thread(_) | DatabaseError::OutOfFiles(_) => FailureKind::Program,
        error => class_kind(error.class()),
    }
}

fn class_kind(class: ErrorClass) -> FailureKind {
    if class == ErrorClass::Fatal { FailureKind::Permanent } else { FailureKind::Passing }
}

#[cfg(test)]
mod tests {
    use super::FailureKind::{Passing, Permanent, Program};
    use super::*;
    use std::io;
    use std::time::Duration;

    #[test]
    fn kinds_of_failures() {
        let away = || DatabaseError::Io(io::ErrorKind::ConnectionReset.into());
        let no_thread = || DatabaseError::Thread("none".to_owned());
        let no_files = || DatabaseError::OutOfFiles(io::Error::from_raw_os_error(24));
        for (error, expected) in [
            (StoreError::plain("something"), Passing),
            (StoreError::refused("the tables do not fit"), Permanent),
            (StoreError::aborted("stop requested"), Passing),
            (StoreError::new("looking failed", away()), Passing),
            (
                StoreError::new("looking failed", DatabaseError::Described(StoreError::refused("no table"))),
                Permanent,
            ),
            (StoreError::new("looking failed", GateError::OutageTooLong(Duration::ZERO, None)), Passing),
            (StoreError::new("looking failed", GateError::Fatal(away().into())), Permanent),
            (StoreError::new("looking failed", GateError::Fatal(no_thread().into())), Program),
            (StoreError::new("looking failed", no_thread()), Program),
            (StoreError::new("looking failed", no_files()), Program),
        ] {
            assert_eq!(error.kind(), expected, "{error:?}");
        }
    }
}
