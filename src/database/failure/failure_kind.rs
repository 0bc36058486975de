//! The kinds of the errors that can cause a store failure.

use crate::database::failure::classify::{ErrorClass, classify};
use crate::database::failure::error::DatabaseError;
use crate::database::failure::gate_error::GateError;
use crate::database::store::{FailureCause, FailureKind, StoreError};
use crate::error_chain::in_full;
use crate::layout::compare::MalformedRows;
use std::sync::Arc;

impl StoreError {
    /// The same failure with another message, if it is permanent: only permanent failures name commands. Not for
    /// errors that reach `in_public`, because the cause becomes text.
    #[must_use]
    pub(crate) fn map_message(self, map: impl FnOnce(&str) -> String) -> Self {
        if self.kind() == FailureKind::Permanent { Self::refused(map(&in_full(&self))) } else { self }
    }
}

impl FailureCause for DatabaseError {
    fn failure_kind(&self) -> FailureKind {
        match self {
            // It stands for the error in it, and has the same source.
            DatabaseError::Described(error) => error.kind(),
            DatabaseError::Aborted | DatabaseError::NoneFree(_) | DatabaseError::SearchEnded(..) => {
                FailureKind::Passing
            }
            DatabaseError::NoThread(_) | DatabaseError::Thread(_) | DatabaseError::OutOfFiles(_) => {
                FailureKind::Program
            }
            error => class_kind(error.class()),
        }
    }
}

impl FailureCause for GateError {
    fn failure_kind(&self) -> FailureKind {
        match self {
            GateError::Aborted | GateError::OutageTooLong(..) | GateError::SessionsEnded(..) => {
                FailureKind::Passing
            }
            GateError::Fatal(cause) => match cause.failure_kind() {
                FailureKind::Program => FailureKind::Program,
                FailureKind::Permanent | FailureKind::Passing => FailureKind::Permanent,
            },
        }
    }
}

impl FailureCause for postgres::Error {
    fn failure_kind(&self) -> FailureKind {
        class_kind(classify(self))
    }
}

impl FailureCause for Arc<DatabaseError> {
    fn failure_kind(&self) -> FailureKind {
        self.as_ref().failure_kind()
    }
}

impl FailureCause for MalformedRows {
    fn failure_kind(&self) -> FailureKind {
        FailureKind::Passing
    }
}

impl FailureCause for prometheus::Error {
    fn failure_kind(&self) -> FailureKind {
        FailureKind::Program
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
