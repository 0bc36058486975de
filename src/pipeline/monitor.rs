//! A run as it can be seen from outside while it goes on.

use super::activity::{Activities, Writer};
use super::files::FileSegments;
use super::order::InFlight;
use super::reasons::{Reasons, RejectKinds};
use super::tally::{Counts, Tally};
use crate::database::FileCounts;
use crate::database::store::SegmentHash;
use crate::input::ReadCounters;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

/// The account of a run, which others may look at while the run adds to it.
#[derive(Debug, Default)]
pub struct Monitor {
    pub(super) tally: Tally,
    pub(super) in_flight: InFlight,
    pub(super) reasons: Reasons,
    pub(super) activities: Activities,
    pub(super) awaited: Awaited,
    pub(super) files: FileSegments,
    /// Set once there is a reader.
    pub(super) read: OnceLock<Arc<ReadCounters>>,
}

impl Monitor {
    /// What became of the events so far.
    pub fn counts(&self) -> Counts {
        self.tally.counts()
    }

    /// Bytes read as they came, compressed or not.
    pub fn bytes_read(&self) -> u64 {
        self.read.get().map_or(0, |read| read.bytes_read())
    }

    /// Bytes of text read.
    pub fn bytes_uncompressed(&self) -> u64 {
        self.read.get().map_or(0, |read| read.bytes_uncompressed())
    }

    /// Counts a file that is not read, as it is unchanged since it was loaded.
    pub fn skip_file(&self, held: &FileCounts) {
        self.tally.skip_file(held);
    }

    /// The earlier runs whose reject files have what counts as rejected before.
    pub fn reported_by(&self) -> Vec<Uuid> {
        self.tally.reported_by()
    }

    /// The segments of a source that was read, in no order; none where they are not known.
    pub fn segments_of(&self, source: &str) -> Option<Vec<SegmentHash>> {
        self.files.of(source)
    }

    /// The kinds of rejects so far.
    pub fn reject_kinds(&self) -> RejectKinds {
        self.reasons.kinds()
    }

    /// What the writers are doing.
    pub fn writers(&self) -> Vec<Writer> {
        self.activities.writers()
    }

    /// Segments that other loads have taken and that are waited for; none while there is something else to do.
    pub fn segments_awaited(&self) -> usize {
        self.awaited.0.load(Ordering::Relaxed)
    }

    /// Batches that are ready or being written.
    pub fn batches_in_flight(&self) -> usize {
        self.in_flight.len()
    }
}

/// How many segments of other loads are waited for.
#[derive(Debug, Default)]
pub(super) struct Awaited(AtomicUsize);

impl Awaited {
    pub(super) fn set(&self, segments: usize) {
        self.0.store(segments, Ordering::Relaxed);
    }
}
