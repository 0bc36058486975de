//! Why a call is not made while the database is unreachable.

use crate::database::failure::error::DatabaseError;
use std::sync::Arc;
use std::time::Duration;

/// Why a wait at the gate ended without the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GateError {
    #[error("told to stop")]
    Aborted,
    #[error("the database stayed away for {} s", .0.as_secs())]
    OutageTooLong(Duration, #[source] Option<Arc<DatabaseError>>),
    #[error(transparent)]
    Fatal(Arc<DatabaseError>),
}
