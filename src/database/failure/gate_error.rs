//! Errors of calls that an outage prevents.

use crate::database::failure::error::DatabaseError;
use std::sync::Arc;
use std::time::Duration;

/// The end of a wait for the database without success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GateError {
    #[error("stop requested")]
    Aborted,
    #[error("the database was unreachable for {} s", .0.as_secs())]
    OutageTooLong(Duration, #[source] Option<Arc<DatabaseError>>),
    #[error(transparent)]
    Fatal(Arc<DatabaseError>),
}
