//! Inputs that are no dumps: one whose first 1,000 values are all rejected is abandoned, so that it fills no reject file.
//!
//! Invariant: what is decided depends on the order of the input alone, not on which thread is ready first.

use crate::database::store::LoadedSegment;
use crate::error_chain::in_full;
use crate::pipeline::claim::ClaimedBatch;
use crate::pipeline::source_segments::SourceError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many values, rejected from the first on, are enough.
const VALUES_MAX: usize = 1000;

/// What is known of the source that is being read.
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
    /// All values so far are rejected: so many.
    Open(usize),
    Sound,
    Abandoned,
}

impl Default for Verdict {
    fn default() -> Self {
        Self::Open(0)
    }
}

impl FirstValues {
    /// Judges a source by its next segment; without a batch the segment is loaded already, as `loaded` says, or by another load.
    /// What comes back is what is to be written: of a source that is abandoned the rejects of its first values alone.
    pub(crate) fn judge<'r>(
        &self,
        source: &Arc<str>,
        batch: Option<ClaimedBatch<'r>>,
        loaded: Option<&LoadedSegment>,
    ) -> Option<ClaimedBatch<'r>> {
        let mut state = self.lock();
        if state.source.as_ref() != Some(source) {
            state.source = Some(Arc::clone(source));
            state.verdict = Verdict::default();
        }
        let Verdict::Open(before) = state.verdict else {
            return batch.filter(|_| state.verdict == Verdict::Sound);
        };
        let Some(mut batch) = batch else {
            // So many rejects were allowed if an earlier load did not abandon the source for them.
            let rejected =
                before + loaded.map_or(0, |loaded| usize::try_from(loaded.rejected).unwrap_or(VALUES_MAX));
            let is_open = loaded.is_some_and(|loaded| loaded.stored() == 0) && rejected < VALUES_MAX;
            state.verdict = if is_open { Verdict::Open(rejected) } else { Verdict::Sound };
            return None;
        };
        let rejected = before + batch.prepared.first_rejects();
        if rejected >= VALUES_MAX {
            batch.prepared.limit_rejects((VALUES_MAX - before) as u64);
            batch.is_abandoned = true;
            let first = batch.prepared.first_reject();
            let reason = first.map_or_else(String::new, |reject| {
                let field = reject.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
                format!("{field}{}", reject.reason)
            });
            let error = SourceError::NoEvents { source_name: source.to_string(), values: VALUES_MAX, reason };
            log::error!("{}", in_full(&error));
            state.errors.push(error);
            state.abandoned.push(Arc::clone(source));
            state.verdict = Verdict::Abandoned;
        } else if batch.prepared.has_events() {
            state.verdict = Verdict::Sound;
        } else {
            state.verdict = Verdict::Open(rejected);
        }
        Some(batch)
    }

    /// Whether a source is abandoned: nothing more of it is parsed.
    pub(crate) fn is_abandoned(&self, source: &Arc<str>) -> bool {
        self.lock().abandoned.contains(source)
    }

    /// The errors of the sources that were abandoned.
    pub(crate) fn take_errors(&self) -> Vec<SourceError> {
        std::mem::take(&mut self.lock().errors)
    }

    fn lock(&self) -> MutexGuard<'_, FirstValuesState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
