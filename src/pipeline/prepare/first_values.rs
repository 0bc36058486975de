//! Abandons an input whose first 1,000 values are all rejected, so that it does not fill the reject file.
//!
//! Invariant: the decision depends only on the order of the input, not on the timing of threads.

use crate::database::store::LoadedSegment;
use crate::pipeline::claim::ClaimedBatch;
use crate::pipeline::source_segments::SourceError;
use crate::sync::{Mutex, lock};
use std::sync::Arc;

/// An input is abandoned if this number of values at its start are all rejected.
const VALUES_MAX: usize = 1000;

/// The decisions about the sources of a run.
#[derive(Debug, Default)]
pub(crate) struct FirstValues(Mutex<FirstValuesState>);

#[derive(Debug, Default)]
struct FirstValuesState {
    source: Option<Arc<str>>,
    verdict: Verdict,
    errors: Vec<SourceError>,
    abandoned: Vec<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// All values so far are rejected. Holds their number.
    Open(usize),
    Accepted,
    Abandoned,
}

impl Default for Verdict {
    fn default() -> Self {
        Self::Open(0)
    }
}

impl FirstValues {
    /// Updates the verdict with the next segment of a source. Without a batch, the segment was loaded before as described by
    /// `loaded`, or is claimed by another load. Returns the batch to write: of an abandoned source only its first rejects.
    /// Its writer reports that it is abandoned.
    pub(crate) fn judge<'r>(
        &self,
        source: &Arc<str>,
        batch: Option<ClaimedBatch<'r>>,
        loaded: Option<&LoadedSegment>,
    ) -> Option<ClaimedBatch<'r>> {
        let mut state = lock(&self.0);
        if state.source.as_ref() != Some(source) {
            state.source = Some(Arc::clone(source));
            state.verdict = Verdict::default();
        }
        let Verdict::Open(before) = state.verdict else {
            return batch.filter(|_| state.verdict == Verdict::Accepted);
        };
        let Some(mut batch) = batch else {
            // If the earlier load did not abandon the source, these rejects were allowed.
            state.verdict = Verdict::Accepted;
            if let Some(loaded) = loaded.filter(|loaded| loaded.stored() == 0) {
                let rejected = before.saturating_add(usize::try_from(loaded.rejected).unwrap_or(VALUES_MAX));
                if rejected < VALUES_MAX {
                    state.verdict = Verdict::Open(rejected);
                }
            }
            return None;
        };
        let rejected = before + batch.prepared.first_rejects();
        if rejected >= VALUES_MAX {
            let first = batch.prepared.first_reject();
            let (reason, advice) = first.map(|reject| reject.cause.with_advice_apart()).unwrap_or_default();
            let source_name = source.to_string();
            let error = SourceError::NoEvents { source_name, values: VALUES_MAX, reason, advice };
            batch.prepared.abandon((VALUES_MAX - before) as u64);
            batch.abandoned = Some(error);
            state.abandoned.push(Arc::clone(source));
            state.verdict = Verdict::Abandoned;
        } else if batch.prepared.has_events() {
            state.verdict = Verdict::Accepted;
        } else {
            state.verdict = Verdict::Open(rejected);
        }
        Some(batch)
    }

    pub(crate) fn add_error(&self, error: SourceError) {
        lock(&self.0).errors.push(error);
    }

    /// Returns whether a source is abandoned. The rest of it is not parsed.
    pub(crate) fn is_abandoned(&self, source: &Arc<str>) -> bool {
        lock(&self.0).abandoned.contains(source)
    }

    pub(crate) fn take_errors(&self) -> Vec<SourceError> {
        std::mem::take(&mut lock(&self.0).errors)
    }
}
