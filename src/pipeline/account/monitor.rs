//! A run as it can be seen from outside while it goes on.

use crate::database::store::{FileCounts, SegmentHash};
use crate::input::decode::raw::ReadCounters;
use crate::pipeline::account::activity::{Activities, WriterActivity};
use crate::pipeline::account::counts::{Counts, Tally};
use crate::pipeline::files::FileSegments;
use crate::pipeline::rejects::kinds::{Reasons, RejectKinds};
use crate::pipeline::reorder::InFlight;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

/// The account of a run, which others may look at while the run adds to it.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    pub(crate) tally: Tally,
    pub(crate) in_flight: InFlight,
    pub(crate) reasons: Reasons,
    pub(crate) activities: Activities,
    pub(crate) awaited: Awaited,
    pub(crate) files: FileSegments,
    /// Set once there is a reader.
    pub(crate) read: OnceLock<Arc<ReadCounters>>,
}

impl Monitor {
    /// What became of the events so far.
    pub(crate) fn counts(&self) -> Counts {
        self.tally.counts()
    }

    /// Bytes read as they came, compressed or not.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.get().map_or(0, |read| read.bytes_read())
    }

    /// Bytes of text read.
    pub(crate) fn bytes_uncompressed(&self) -> u64 {
        self.read.get().map_or(0, |read| read.bytes_uncompressed())
    }

    /// Counts a file that is not read, as it is unchanged since it was loaded.
    pub(crate) fn skip_file(&self, held: &FileCounts) {
        self.tally.skip_file(held);
    }

    /// The earlier runs whose reject files have what counts as rejected before.
    pub(crate) fn reported_by(&self) -> Vec<Uuid> {
        self.tally.reported_by()
    }

    /// The segments of a source that was read, in no order; none where they are not known.
    pub(crate) fn segments_of(&self, source: &str) -> Option<Vec<SegmentHash>> {
        self.files.of(source)
    }

    /// The kinds of rejects so far.
    pub(crate) fn reject_kinds(&self) -> RejectKinds {
        self.reasons.kinds()
    }

    /// What the writers are doing.
    pub(crate) fn writers(&self) -> Vec<WriterActivity> {
        self.activities.writers()
    }

    /// Segments that other loads have taken and that are waited for; none while there is something else to do.
    pub(crate) fn segments_claimed_elsewhere(&self) -> usize {
        self.awaited.0.load(Ordering::Relaxed)
    }

    /// Batches that are ready or being written.
    pub(crate) fn queue_depth(&self) -> usize {
        self.in_flight.len()
    }
}

/// How many segments of other loads are waited for.
#[derive(Debug, Default)]
pub(crate) struct Awaited(AtomicUsize);

impl Awaited {
    pub(crate) fn set(&self, segments: usize) {
        self.0.store(segments, Ordering::Relaxed);
    }
}
