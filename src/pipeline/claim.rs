//! What a segment holds on its way through a run: its claim in the store.
//!
//! Invariant: a claim has one owner, and its drop gives it back, also when a thread panics or the run is stopped.

use crate::database::store::{SegmentHash, Store};
use crate::pipeline::prepare::prepared::Prepared;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many claims of a run are held.
#[derive(Debug, Default)]
pub(crate) struct ClaimCount(AtomicUsize);

impl ClaimCount {
    pub(crate) fn held(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// A segment that the store has said is ours, until this is dropped.
pub(crate) struct SegmentClaim<'r> {
    store: &'r dyn Store,
    hash: SegmentHash,
    count: &'r ClaimCount,
}

impl<'r> SegmentClaim<'r> {
    /// Takes over what [`Store::look`] or [`Store::look_again`] has given.
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

/// A batch with the claim on its segment; none in a dry run.
pub(crate) struct ClaimedBatch<'r> {
    pub(crate) prepared: Prepared,
    /// Whether its source is abandoned: its rejects are named, and nothing is stored.
    pub(crate) is_abandoned: bool,
    /// Held for its drop.
    pub(crate) _claim: Option<SegmentClaim<'r>>,
}
