//! The claim on a segment in the store.
//!
//! Invariant: a claim has one owner. Its drop releases it, also when a thread panics or the run is stopped.

use crate::database::store::{SegmentHash, Store};
use crate::pipeline::prepare::prepared::Prepared;
use crate::pipeline::source_segments::SourceError;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// The number of claims that a run holds.
#[derive(Debug, Default)]
pub(crate) struct ClaimCount(AtomicUsize);

impl ClaimCount {
    pub(crate) fn held(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// A segment claimed by this run, until this is dropped.
pub(crate) struct SegmentClaim<'r> {
    store: &'r dyn Store,
    hash: SegmentHash,
    count: &'r ClaimCount,
}

impl<'r> SegmentClaim<'r> {
    /// Takes ownership of a claim from [`Store::look`] or [`Store::look_again`].
    pub(crate) fn new(store: &'r dyn Store, hash: SegmentHash, count: &'r ClaimCount) -> Self {
        count.0.fetch_add(1, Ordering::AcqRel);
        Self { store, hash, count }
    }
}

impl Drop for SegmentClaim<'_> {
    fn drop(&mut self) {
        self.store.done(&self.hash);
        self.count.0.fetch_sub(1, Ordering::AcqRel);
    }
}

pub(crate) struct ClaimedBatch<'r> {
    pub(crate) prepared: Prepared,
    /// The error if its source is abandoned. Then only its rejects are written, and nothing is stored.
    pub(crate) abandoned: Option<SourceError>,
    /// Held for its drop. None in a dry run.
    pub(crate) _claim: Option<SegmentClaim<'r>>,
}
