//! The order of batches: they go to the writers as the input has them, and of two that hold the same event
//! the earlier one is committed first.
//!
//! So the first of several versions of an event is the one that is stored, however the threads run, and
//! writers of one run never wait for each other inside of the database.
//!
//! Invariant: the earliest batch that is being written waits for no other.

use super::prepare::Prepared;
use crossbeam_channel::Sender;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Puts batches, which are prepared in any order, back into that of the input.
pub(super) struct Sequencer<'r> {
    early: Mutex<Early>,
    batches: Sender<Prepared>,
    in_flight: &'r InFlight,
}

/// Batches that were ready before their turn. There are at most as many as there are buffers.
#[derive(Default)]
struct Early {
    next: u64,
    /// None for a segment that needs no writing.
    ready: BTreeMap<u64, Option<Prepared>>,
}

impl<'r> Sequencer<'r> {
    pub(super) fn new(batches: Sender<Prepared>, in_flight: &'r InFlight) -> Self {
        Self { early: Mutex::default(), batches, in_flight }
    }

    /// Passes on the batch of segment `number`, or notes that it has none, and whatever was waiting for that.
    ///
    /// It blocks while the queue is full, and so do all others who call it: the order asks for no less.
    pub(super) fn submit(&self, number: u64, batch: Option<Prepared>) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        early.ready.insert(number, batch);
        loop {
            let next = early.next;
            let Some(batch) = early.ready.remove(&next) else { return };
            early.next += 1;
            if let Some(batch) = batch {
                self.in_flight.enter(&batch);
                // All writers have gone only if each has panicked, and then the run has been stopped.
                let _ = self.batches.send(batch);
            }
        }
    }
}

/// The ids of the batches that are queued or being written.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    ids: Mutex<BTreeMap<u64, Vec<i64>>>,
    left: Condvar,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn enter(&self, batch: &Prepared) {
        self.lock().insert(batch.segment.number, batch.sorted_ids());
    }

    /// Waits until no earlier batch holds an event of batch `number`; the turn ends when it is dropped.
    pub(super) fn turn(&self, number: u64) -> Turn<'_> {
        let mut ids = self.lock();
        while let Some(own) = ids.get(&number)
            && ids.range(..number).any(|(_, earlier)| share_an_id(earlier, own))
        {
            ids = self.left.wait(ids).unwrap_or_else(PoisonError::into_inner);
        }
        Turn { in_flight: self, number }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<i64>>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`InFlight::turn`].
pub(super) struct Turn<'f> {
    in_flight: &'f InFlight,
    number: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.in_flight.lock().remove(&self.number);
        self.in_flight.left.notify_all();
    }
}

/// Whether two ascending lists have a number in common.
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
