//! The outcomes of the attempts to write a batch, for later attempts.

use crate::database::failure::classify::ErrorClass;
use crate::database::failure::error::DatabaseError;
use crate::database::ledger::segments::Attempt;
use crate::database::store::Refused;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// The attempt that last reached its COMMIT, and the events that the database refused in it.
///
/// Attempts are recorded while the segment's ledger row is locked. So of several attempts, some of them abandoned, the
/// last one recorded is the one that commits.
#[derive(Debug)]
pub(crate) struct Refusals {
    committing: Mutex<(Vec<Refused>, Option<Attempt>)>,
    /// The number of attempts that failed because a function of the user raised a transient error.
    raised: AtomicU32,
    /// The number of attempts after which such an error is the fault of an event.
    attempts_max: u32,
}

impl Refusals {
    /// Of a batch that is written in at most `attempts_max` attempts, at least 1.
    pub(crate) fn new(attempts_max: u32) -> Self {
        Self { committing: Mutex::default(), raised: AtomicU32::new(0), attempts_max }
    }

    pub(super) fn record(&self, refused: &[Refused], tried: Attempt) {
        *self.committing.lock().unwrap_or_else(PoisonError::into_inner) = (refused.to_vec(), Some(tried));
    }

    pub(super) fn last(&self) -> Vec<Refused> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    pub(crate) fn tried(&self) -> Option<Attempt> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Records that an attempt failed.
    pub(super) fn note_failure(&self, error: &DatabaseError) {
        if is_transient_by_function(error) {
            self.raised.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a row may be the cause of the error. A function of the user may raise a transient error because a retry helps,
    /// so only the last attempt looks for its row.
    pub(super) fn is_of_row(&self, error: &DatabaseError) -> bool {
        let is_last = self.raised.load(Ordering::Relaxed).saturating_add(1) >= self.attempts_max;
        error.class() == ErrorClass::Data
            || error.may_be_of_row()
            || is_last && is_transient_by_function(error)
    }
}

fn is_transient_by_function(error: &DatabaseError) -> bool {
    error.class() == ErrorClass::Transient && error.is_raised()
}
