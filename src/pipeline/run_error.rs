//! The failure that ends a run early.

use crate::database::store::StoreError;
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
