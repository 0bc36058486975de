//! The outcome of an attempt to write a batch, for a later attempt that finds it committed.

use crate::database::ledger::segments::Attempt;
use crate::database::store::Refused;
use std::sync::{Mutex, PoisonError};

/// The attempt that last reached its COMMIT, and the events that the database refused in it.
///
/// Attempts are recorded while the segment's ledger row is locked. So of several attempts, some of them abandoned, the
/// last one recorded is the one that commits.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<(Vec<Refused>, Option<Attempt>)>);

impl Refusals {
    pub(super) fn record(&self, refused: &[Refused], tried: Attempt) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (refused.to_vec(), Some(tried));
    }

    pub(super) fn last(&self) -> Vec<Refused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    pub(crate) fn tried(&self) -> Option<Attempt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
