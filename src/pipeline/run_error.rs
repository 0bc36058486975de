//! The failure that ends a run early.

use crate::database::store::{FailureKind, StoreError};
use crate::pipeline::rejects::file::RejectFileError;

/// A failure after which nothing more can be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database failed because of the event or the events at this place.
    #[error("{place}")]
    Event { place: String, source: StoreError },
    #[error(transparent)]
    RejectFile(#[from] RejectFileError),
    /// The program itself failed, for example to start a thread.
    #[error(transparent)]
    Program(#[from] anyhow::Error),
}

impl RunError {
    /// Whether the database failed, and the same load can succeed later without a change.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Store(error) | Self::Event { source: error, .. } => error.kind() == FailureKind::Passing,
            Self::RejectFile(_) | Self::Program(_) => false,
        }
    }
}
