//! The decision to abandon an input.

use crate::database::store::SegmentHash;
use crate::error_chain::in_full;
use crate::pipeline::source_segments::SourceError;

/// An input is abandoned if this number of values at its start are all rejected.
pub(crate) const VALUES_MAX: usize = 1000;

/// An abandoned input.
#[derive(Debug)]
pub(crate) struct Abandonment {
    pub(crate) error: SourceError,
    /// The ledger entries of its rejects.
    pub(crate) entries: Vec<SegmentHash>,
}

impl Abandonment {
    /// Logs that the input is abandoned, and returns its error. Only warns if an earlier load has reported it.
    pub(crate) fn report(self, is_reported: bool) -> Option<SourceError> {
        if is_reported {
            let source = self.error.source_name();
            log::warn!(
                "{source} is skipped: an earlier load has reported its first {VALUES_MAX} values as rejected"
            );
            None
        } else {
            log::error!("{}", in_full(&self.error));
            Some(self.error)
        }
    }
}
