//! The segments that a run has reported as stored. At its end, the run checks that the server still has them.
//!
//! The last commits can be lost in a failover to a standby that had not received them. They can also be lost in a crash
//! of a server that does not wait for its disk. Another session can truncate or delete the events, and the ledger's rows
//! stay.

use crate::database::store::{Batch, SegmentHash, Written};
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

/// The most segments kept, of about 100 bytes each. Only the latest matter: a failure does not lose old commits.
const KEPT_MAX: usize = 100_000;

/// The counted outcomes of segments and their events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StoredCounts {
    /// Segments.
    pub segments: u64,
    /// New events.
    pub inserted: u64,
    /// Rewritten events.
    pub updated: u64,
    /// Events stored before, and repetitions within the segment.
    pub duplicate: u64,
    /// Events of segments that an earlier load had stored.
    pub already_loaded: u64,
}

impl StoredCounts {
    /// The counts of a written segment.
    pub(crate) fn of(written: &Written) -> Self {
        match *written {
            Written::Stored { inserted, updated, duplicate, .. } => {
                Self { segments: 1, inserted, updated, duplicate, already_loaded: 0 }
            }
            Written::AlreadyLoaded(loaded) => Self::already_loaded(loaded.stored()),
        }
    }

    /// The counts of a skipped segment.
    pub(crate) fn already_loaded(events: u64) -> Self {
        Self { segments: 1, already_loaded: events, ..Self::default() }
    }

    /// All events.
    pub(crate) fn events(&self) -> u64 {
        self.inserted + self.updated + self.duplicate + self.already_loaded
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.segments += other.segments;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.duplicate += other.duplicate;
        self.already_loaded += other.already_loaded;
    }
}

/// What the ledger must have of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// A row of any run.
    AnyRow,
    /// The row of this run, or of a later one. An older row is the state before this run's lost transaction.
    OwnRow,
}

/// A segment that the run has reported as stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReportedSegment {
    pub(crate) hash: SegmentHash,
    pub(crate) counts: StoredCounts,
    pub(crate) expected: Expected,
    /// The ids of two events that this run has stored or found in the tables; none if an earlier load has.
    pub(crate) sample: Option<[i64; 2]>,
}

impl ReportedSegment {
    /// A segment that an earlier load had stored.
    pub(crate) fn skipped(hash: SegmentHash, events: u64) -> Self {
        Self { hash, counts: StoredCounts::already_loaded(events), expected: Expected::AnyRow, sample: None }
    }

    /// A batch with this outcome. Its sample is its first and its last event in the order of the ids.
    pub(crate) fn of(batch: &Batch, written: &Written) -> Self {
        let (expected, sample) = match written {
            Written::AlreadyLoaded(_) => (Expected::AnyRow, None),
            Written::Stored { refused, .. } => {
                let id = |event: usize| batch.rows.events()[event].id;
                let refused: HashSet<i64> = refused.iter().map(|refused| id(refused.event)).collect();
                let ids = batch.order.iter().map(|event| id(*event));
                let mut stored = ids.filter(|id| !refused.contains(id));
                let first = stored.next();
                (Expected::OwnRow, first.map(|first| [first, stored.next_back().unwrap_or(first)]))
            }
        };
        Self { hash: batch.hash, counts: StoredCounts::of(written), expected, sample }
    }
}

#[derive(Debug, Default)]
pub(crate) struct StoredSegments(Mutex<VecDeque<ReportedSegment>>);

impl StoredSegments {
    pub(crate) fn note(&self, segment: ReportedSegment) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(segment);
    }

    /// The segments, with repetitions.
    pub(crate) fn all(&self) -> Vec<ReportedSegment> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Removes the segments that do not satisfy `exists`, and returns their counts.
    pub(crate) fn take_missing(&self, exists: impl Fn(&ReportedSegment) -> bool) -> StoredCounts {
        let mut missing = StoredCounts::default();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|segment| {
            let is_kept = exists(segment);
            if !is_kept {
                missing.add(segment.counts);
            }
            is_kept
        });
        missing
    }
}

/// The server that segments were written to, identified by its start time. It distinguishes rows lost with a server from
/// deleted rows.
#[derive(Debug)]
pub(crate) struct WrittenTo {
    noted: Mutex<Start>,
    /// The server at the start of the run, which counts if no segment was written.
    first: i64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Start {
    #[default]
    Unknown,
    /// In microseconds since 1970.
    At(i64),
    /// The server was replaced or restarted in the meantime.
    Several,
}

impl WrittenTo {
    /// Creates it with the start time of the server at the start of the run.
    pub(crate) fn new(first: i64) -> Self {
        Self { noted: Mutex::default(), first }
    }

    /// Records that a segment was written to the server with this start time.
    pub(crate) fn note(&self, start: i64) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = match *noted {
            Start::Unknown => Start::At(start),
            Start::At(before) if before == start => Start::At(start),
            Start::At(_) | Start::Several => Start::Several,
        };
    }

    /// Whether all segments were written to, or found on, the server with this start time.
    pub(crate) fn was(&self, start: i64) -> bool {
        match *self.noted.lock().unwrap_or_else(PoisonError::into_inner) {
            Start::Unknown => self.first == start,
            Start::At(noted) => noted == start,
            Start::Several => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_segments_are_counted_once() {
        let stored = StoredSegments::default();
        for number in 0..10_u8 {
            stored.note(ReportedSegment::skipped(SegmentHash([number; 32]), number.into()));
        }
        let missing = stored.take_missing(|segment| segment.hash.0[0] < 8);
        assert_eq!((missing.segments, missing.already_loaded, missing.events()), (2, 17, 17));
        assert_eq!(stored.all().len(), 8);
        assert_eq!(stored.take_missing(|_| true), StoredCounts::default());
    }

    #[test]
    fn a_changed_server_is_detected() {
        let server = WrittenTo::new(4);
        assert!(server.was(4) && !server.was(5), "no segment was written yet");
        server.note(5);
        server.note(5);
        assert!(server.was(5) && !server.was(6));
        server.note(6);
        server.note(6);
        assert!(!server.was(5) && !server.was(6));
    }

    #[test]
    fn the_latest_segments_are_kept() {
        let stored = StoredSegments::default();
        for number in 0..=u32::try_from(KEPT_MAX).expect("a count") {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&number.to_le_bytes());
            stored.note(ReportedSegment::skipped(SegmentHash(hash), 1));
        }
        let all = stored.all();
        assert_eq!((all.len(), all[0].hash.0[0]), (KEPT_MAX, 1));
    }
}
