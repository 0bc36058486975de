//! Restores the order of batches. They go to the writers in input order. If two batches contain the same event, the
//! earlier one commits first.
//!
//! Therefore the first of several versions of an event is stored, independent of thread timing, and the writers of a run
//! never wait for each other inside the database.
//!
//! Invariant: the earliest batch that is being written waits for no other.
//!
//! Invariant: each number has one [`SequenceSlot`], whose drop lets the next number proceed. No wait for a number is
//! endless.

use crate::database::store::LoadedSegment;
use crate::pipeline::claim::ClaimedBatch;
use crate::pipeline::prepare::first_values::FirstValues;
use crate::sync::channel::Sender;
use crate::sync::{Condvar, Mutex, lock};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

/// Passes on batches, which are prepared in any order, in the order of the input.
pub(crate) struct Sequencer<'r> {
    early: Mutex<EarlyBatches<'r>>,
    batches: Sender<QueuedBatch<'r>>,
    in_flight: &'r InFlight,
    /// None if `--max-rejects` is given.
    first_values: Option<&'r FirstValues>,
}

/// Batches that were ready before their turn, at most as many as there are buffers.
#[derive(Default)]
struct EarlyBatches<'r> {
    next: u64,
    ready: BTreeMap<u64, Ready<'r>>,
}

/// The result of preparing a segment.
struct Ready<'r> {
    /// None for a reread segment.
    source: Option<Arc<str>>,
    /// None if there is nothing to write.
    batch: Option<ClaimedBatch<'r>>,
    /// The segment, and the result of an earlier load.
    loaded: Option<LoadedSegment>,
}

/// A batch on its way to a writer.
pub(crate) struct QueuedBatch<'r> {
    pub(crate) batch: ClaimedBatch<'r>,
    pub(crate) entry: InFlightEntry<'r>,
}

/// The place of a segment in the order. Its drop passes on the batch, if any, and lets the next number proceed.
pub(crate) struct SequenceSlot<'q, 'r> {
    sequencer: &'q Sequencer<'r>,
    number: u64,
    source: Option<Arc<str>>,
    batch: Option<ClaimedBatch<'r>>,
    loaded: Option<LoadedSegment>,
}

impl<'r> Sequencer<'r> {
    pub(crate) fn new(
        batches: Sender<QueuedBatch<'r>>,
        in_flight: &'r InFlight,
        first_values: Option<&'r FirstValues>,
    ) -> Self {
        Self { early: Mutex::default(), batches, in_flight, first_values }
    }

    /// Returns the slot of segment `number`. Each number from 0 on has exactly one. A reread segment has no `source`.
    pub(crate) fn slot(&self, number: u64, source: Option<Arc<str>>) -> SequenceSlot<'_, 'r> {
        SequenceSlot { sequencer: self, number, source, batch: None, loaded: None }
    }

    /// Records the result of segment `number`, then passes on all batches that are due.
    ///
    /// Blocks while the queue is full. To keep the order, all other callers block as well.
    fn submit(&self, number: u64, ready: Ready<'r>) {
        let mut early = lock(&self.early);
        early.ready.insert(number, ready);
        loop {
            let next = early.next;
            let Some(Ready { source, batch, loaded }) = early.ready.remove(&next) else { return };
            early.next += 1;
            let batch = match (self.first_values, source) {
                (Some(first_values), Some(source)) => first_values.judge(&source, batch, loaded.as_ref()),
                _ => batch,
            };
            if let Some(batch) = batch {
                let entry = self.in_flight.enter(batch.prepared.segment.number, batch.prepared.sorted_ids());
                // Sending fails only if every writer panicked, and then the run was already stopped.
                let _ = self.batches.send(QueuedBatch { batch, entry });
            }
        }
    }
}

impl<'r> SequenceSlot<'_, 'r> {
    /// Sets the segment's batch.
    pub(crate) fn fill(mut self, batch: ClaimedBatch<'r>) {
        self.batch = Some(batch);
    }

    /// Records that an earlier load has loaded the segment.
    pub(crate) fn pass(mut self, loaded: LoadedSegment) {
        self.loaded = Some(loaded);
    }
}

impl Drop for SequenceSlot<'_, '_> {
    fn drop(&mut self) {
        let ready =
            Ready { source: self.source.take(), batch: self.batch.take(), loaded: self.loaded.take() };
        self.sequencer.submit(self.number, ready);
    }
}

/// The ids of the batches that are queued or being written.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    ids: Mutex<BTreeMap<u64, Vec<i64>>>,
    left: Condvar,
}

impl InFlight {
    pub(crate) fn len(&self) -> usize {
        lock(&self.ids).len()
    }

    fn enter(&self, number: u64, ids: Vec<i64>) -> InFlightEntry<'_> {
        lock(&self.ids).insert(number, ids);
        InFlightEntry { in_flight: self, number }
    }
}

/// A batch that is queued or being written, until this is dropped.
pub(crate) struct InFlightEntry<'f> {
    in_flight: &'f InFlight,
    number: u64,
}

impl InFlightEntry<'_> {
    /// Waits until no earlier batch contains an event of this one. Each earlier batch has a writer with a bounded wait.
    pub(crate) fn wait_for_turn(&self) {
        let mut ids = lock(&self.in_flight.ids);
        while let Some(own) = ids.get(&self.number)
            && ids.range(..self.number).any(|(_, earlier)| share_an_id(earlier, own))
        {
            ids = self.in_flight.left.wait(ids).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for InFlightEntry<'_> {
    fn drop(&mut self) {
        lock(&self.in_flight.ids).remove(&self.number);
        self.in_flight.left.notify_all();
    }
}

/// Returns whether two ascending lists have a common number.
fn share_an_id(a: &[i64], b: &[i64]) -> bool {
    let (Some(a_last), Some(b_last)) = (a.last(), b.last()) else { return false };
    if a[0] > *b_last || b[0] > *a_last {
        return false;
    }
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        match x.cmp(y) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => drop(a.next()),
            std::cmp::Ordering::Greater => drop(b.next()),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_ids() {
        let check = |a: &[i64], b: &[i64], expected| {
            assert_eq!(share_an_id(a, b), expected, "{a:?} {b:?}");
            assert_eq!(share_an_id(b, a), expected, "{b:?} {a:?}");
        };
        check(&[], &[], false);
        check(&[], &[1], false);
        check(&[1, 3, 5], &[2, 4, 6], false);
        check(&[1, 3, 5], &[5, 6], true);
        check(&[1, 2], &[3, 4], false);
        check(&[1, 2, 9], &[9], true);
    }
}
