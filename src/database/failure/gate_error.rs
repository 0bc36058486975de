//! Errors of calls that an outage prevents.

use crate::database::failure::error::DatabaseError;
use crate::database::failure::outage_kind::OutageKind;
use crate::database::store::StoreError;
use std::sync::Arc;
use std::time::Duration;

/// The end of a wait for the database without success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GateError {
    #[error("stop requested")]
    Aborted,
    #[error(
        "the database was {} for {:.0} s{}",
        kind(.1.as_ref()), .0.as_secs_f64(), kind(.1.as_ref()).remedy()
    )]
    OutageTooLong(Duration, #[source] Option<Arc<DatabaseError>>),
    /// The last attempts ended with their sessions, each of which was new. Holds their number and the last cause.
    #[error(
        "the server accepted a session for each of the last {0} attempts, and ended it during the write\nhint: see the log of \
         the server; a trigger of the tables may end the session or crash the server"
    )]
    SessionsEnded(u32, #[source] Arc<DatabaseError>),
    #[error(transparent)]
    Fatal(Arc<DatabaseError>),
}

impl GateError {
    /// The failure of the call `what`. The outage alone describes it, whichever call it ends.
    pub(crate) fn into_failure(self, what: &str) -> StoreError {
        let what = match &self {
            GateError::OutageTooLong(..) => self.to_string(),
            _ => format!("{what} failed"),
        };
        StoreError::new(what, self)
    }
}

fn kind(cause: Option<&Arc<DatabaseError>>) -> OutageKind {
    cause.map_or(OutageKind::Unreachable, |cause| OutageKind::of(cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_chain::in_full;
    use nix::errno::Errno;

    #[test]
    fn a_failure_states_each_cause_once() {
        let cause = || Arc::new(DatabaseError::Io(Errno::ECONNRESET.into()));
        for (error, text) in [
            (
                GateError::OutageTooLong(Duration::from_secs(12), Some(cause())),
                "the database was unreachable for 12 s: Connection reset by peer",
            ),
            (GateError::Fatal(cause()), "writing a segment failed: Connection reset by peer"),
        ] {
            assert_eq!(in_full(&error.into_failure("writing a segment")), text);
        }
    }
}
