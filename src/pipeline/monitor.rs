//! A run as it can be seen from outside while it goes on.

use super::order::InFlight;
use super::reasons::{Reasons, TopReasons};
use super::tally::{Counts, Tally};
use crate::input::ReadCounters;
use std::sync::{Arc, OnceLock};

/// The account of a run, which others may look at while the run adds to it.
#[derive(Debug, Default)]
pub struct Monitor {
    pub(super) tally: Tally,
    pub(super) reasons: Reasons,
    pub(super) in_flight: InFlight,
    /// Set once there is a reader.
    pub(super) read: OnceLock<Arc<ReadCounters>>,
}

impl Monitor {
    /// What became of the events so far.
    pub fn counts(&self) -> Counts {
        self.tally.counts()
    }

    /// The `count` most frequent reasons for which events were rejected so far.
    pub fn top_reasons(&self, count: usize) -> TopReasons {
        self.reasons.top(count)
    }

    /// Bytes read as they came, compressed or not.
    pub fn bytes_read(&self) -> u64 {
        self.read.get().map_or(0, |read| read.bytes_read())
    }

    /// Bytes of text read.
    pub fn bytes_uncompressed(&self) -> u64 {
        self.read.get().map_or(0, |read| read.bytes_uncompressed())
    }

    /// Batches that are ready or being written.
    pub fn batches_in_flight(&self) -> usize {
        self.in_flight.len()
    }
}
