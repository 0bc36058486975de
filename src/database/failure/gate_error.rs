//! Errors of calls that an outage prevents.

use crate::database::failure::error::DatabaseError;
use crate::database::failure::outage_kind::OutageKind;
use std::sync::Arc;
use std::time::Duration;

/// The end of a wait for the database without success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GateError {
    #[error("stop requested")]
    Aborted,
    #[error("the database was {} for {} s", kind(.1.as_ref()), .0.as_secs())]
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

fn kind(cause: Option<&Arc<DatabaseError>>) -> OutageKind {
    cause.map_or(OutageKind::Unreachable, |cause| OutageKind::of(cause))
}
