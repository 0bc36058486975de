//! What a failure of the database is due to, and so whether another try can help.

use crate::database::failure::classify::{ErrorClass, classify};
use crate::database::failure::error::DatabaseError;
use crate::database::failure::gate_error::GateError;
use crate::database::store::StoreError;
use std::error::Error;

/// What a failure of a store is due to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// An outage, or what was tried in vain again and again: it may pass.
    Passing,
    /// The database refuses for a reason that does not pass by itself: the login, privileges, names, tables that do not fit.
    Permanent,
    /// The program itself: a limit of its process, such as threads or open files, or a panic.
    Program,
}

impl StoreError {
    /// What the failure is due to; of several causes the outermost one decides.
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
}

/// None where its cause decides.
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
        // It speaks for the error that it holds, and names that one's cause as its own.
        DatabaseError::Told(error) => error.kind(),
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
            (StoreError::aborted("told to stop"), Passing),
            (StoreError::new("looking failed", away()), Passing),
            (
                StoreError::new("looking failed", DatabaseError::Told(StoreError::refused("no table"))),
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
