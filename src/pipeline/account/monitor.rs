//! The state of a running load, for observers.

use crate::database::store::{FileCounts, SegmentHash};
use crate::input::decode::raw::{CurrentSource, ReadCounters};
use crate::pipeline::account::activity::{Activities, Activity, WriterActivity};
use crate::pipeline::account::counts::{Counts, Tally};
use crate::pipeline::files::FileSegments;
use crate::pipeline::rejects::kinds::{Reasons, RejectKinds};
use crate::pipeline::reorder::InFlight;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use uuid::Uuid;

/// The account of a run. Other threads may read it during the run.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    pub(crate) tally: Tally,
    pub(crate) in_flight: InFlight,
    pub(crate) reasons: Reasons,
    pub(crate) activities: Activities,
    pub(crate) awaited: Awaited,
    pub(crate) files: FileSegments,
    pub(crate) findings: Findings,
    /// The size of the unchanged files.
    bytes_skipped: AtomicU64,
    is_settled: AtomicBool,
    /// Set when the reader starts.
    pub(crate) read: OnceLock<Arc<ReadCounters>>,
}

impl Monitor {
    pub(crate) fn counts(&self) -> Counts {
        self.tally.counts()
    }

    /// The source that is being read; none before the first.
    pub(crate) fn source(&self) -> Option<CurrentSource> {
        self.read.get().and_then(|read| read.current())
    }

    /// Returns the number of raw bytes read, compressed or not.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.get().map_or(0, |read| read.bytes_read())
    }

    /// Returns the number of bytes of uncompressed text.
    pub(crate) fn bytes_uncompressed(&self) -> u64 {
        self.read.get().map_or(0, |read| read.bytes_uncompressed())
    }

    /// Counts a file that is not read because it is unchanged since its load.
    pub(crate) fn skip_file(&self, held: &FileCounts) {
        self.bytes_skipped.fetch_add(held.bytes, Ordering::Relaxed);
        self.tally.skip_file(held);
    }

    /// Returns the total size of the files that are not read because they are unchanged since their load.
    pub(crate) fn bytes_skipped(&self) -> u64 {
        self.bytes_skipped.load(Ordering::Relaxed)
    }

    /// Records that the run reads and writes no more segments. Only its end is left.
    pub(crate) fn settle(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
    }

    /// Returns whether the run reads and writes no more segments.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Relaxed)
    }

    /// Returns the earlier runs whose reject files contain the events in `rejected_before`.
    pub(crate) fn reported_by(&self) -> Vec<Uuid> {
        self.tally.reported_by()
    }

    /// Returns the segments of a source in arbitrary order, or none if they are unknown.
    pub(crate) fn segments_of(&self, source: &str) -> Option<Vec<SegmentHash>> {
        self.files.of(source)
    }

    pub(crate) fn reject_kinds(&self) -> RejectKinds {
        self.reasons.kinds()
    }

    pub(crate) fn writers(&self) -> Vec<WriterActivity> {
        self.activities.writers()
    }

    /// Whether a writer has been waiting for the reject file for more than a second.
    pub(crate) fn awaits_reject_file(&self) -> bool {
        let waits = |writer: &WriterActivity| {
            writer.activity == Activity::WritingRejects && writer.since.elapsed() > Duration::from_secs(1)
        };
        self.writers().iter().any(waits)
    }

    /// Returns the number of segments claimed by other loads that the run waits for. 0 while there is other work.
    pub(crate) fn segments_claimed_elsewhere(&self) -> usize {
        self.awaited.0.load(Ordering::Relaxed)
    }

    /// Returns the number of batches that are queued or being written.
    pub(crate) fn queue_depth(&self) -> usize {
        self.in_flight.len()
    }
}

/// Counts of a verification or a deletion, for displays.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) missing: AtomicU64,
    pub(crate) different: AtomicU64,
    pub(crate) deleted: AtomicU64,
}

impl Findings {
    /// Adds to the counts, one after the other.
    pub(crate) fn add(&self, missing: u64, different: u64, deleted: u64) {
        self.missing.fetch_add(missing, Ordering::Relaxed);
        self.different.fetch_add(different, Ordering::Relaxed);
        self.deleted.fetch_add(deleted, Ordering::Relaxed);
    }
}

/// The number of segments claimed by other loads that the run waits for.
#[derive(Debug, Default)]
pub(crate) struct Awaited(AtomicUsize);

impl Awaited {
    pub(crate) fn set(&self, segments: usize) {
        self.0.store(segments, Ordering::Relaxed);
    }
}
