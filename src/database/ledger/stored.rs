//! The segments that a run has reported as stored. At its end, the run checks that the server still has them.
//!
//! The last commits can be lost in a failover to a standby that had not received them. They can also be lost in a crash
//! of a server that does not wait for its disk. Another session can truncate or delete rows of the events, of the ledger, or
//! both.

use crate::database::options::OnConflict;
use crate::database::store::{Batch, SegmentHash, Written};
use crate::layout::rows::TABLES_MAX;
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

/// The most segments kept, of about 160 bytes each. Only the latest matter: a failure does not lose old commits.
const KEPT_MAX: usize = 100_000;

/// The most events from each end of a segment that are examined for rows in a table.
const EXAMINED_MAX: usize = 16;

/// The counted outcomes of segments and their events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StoredCounts {
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

    /// The number of segments, with the noun.
    pub(crate) fn segments_text(&self) -> String {
        if self.segments == 1 { "1 segment".to_owned() } else { format!("{} segments", self.segments) }
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
    pub(crate) sample: SegmentSample,
}

/// For each table of the layout, the ids of two events that must have a row there: the first and the last of the segment, in
/// the order of the ids. None if that is unknown, or no event has rows there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SegmentSample([Option<[i64; 2]>; TABLES_MAX]);

impl SegmentSample {
    /// Of a segment whose first and last event are known.
    fn of_events(ids: Option<[i64; 2]>) -> Self {
        let mut sample = Self::default();
        sample.0[0] = ids;
        sample
    }

    /// Of the events of a batch that the database did not refuse. `has_own_rows` is whether the stored rows of all events
    /// are those of the batch: an event that was stored before may be another version.
    fn of_batch(batch: &Batch, refused: &HashSet<i64>, has_own_rows: bool) -> Self {
        let id = |event: &usize| batch.rows.events()[*event].id;
        let mut sample = Self::default();
        for (table, ids) in sample.0.iter_mut().enumerate() {
            if table > 0 && !has_own_rows {
                break;
            }
            let stored = || batch.order.iter().filter(|&event| !refused.contains(&id(event)));
            let has_rows = |event: &&usize| table == 0 || !batch.rows.get(**event, table).is_empty();
            let first = stored().take(EXAMINED_MAX).find(has_rows);
            let last = stored().rev().take(EXAMINED_MAX).find(has_rows);
            *ids = first.zip(last).map(|(first, last)| [id(first), id(last)]);
        }
        sample
    }

    /// Whether no event is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    /// The ids of events that must have a row in a table.
    pub(crate) fn in_table(&self, table: usize) -> impl Iterator<Item = i64> {
        self.0[table].into_iter().flatten()
    }

    /// The ids of all events, with repetitions. They must have a row in the first table.
    pub(crate) fn events(&self) -> impl Iterator<Item = i64> {
        self.0.into_iter().flatten().flatten()
    }
}

impl ReportedSegment {
    /// A segment that an earlier load had stored. `ends` are the ids of its first and its last event, if they are stored.
    pub(crate) fn skipped(hash: SegmentHash, events: u64, ends: Option<[i64; 2]>) -> Self {
        let counts = StoredCounts::already_loaded(events);
        Self { hash, counts, expected: Expected::AnyRow, sample: SegmentSample::of_events(ends) }
    }

    /// A batch with this outcome.
    pub(crate) fn of(batch: &Batch, written: &Written, on_conflict: OnConflict) -> Self {
        let (expected, sample) = match written {
            Written::AlreadyLoaded(_) => (Expected::AnyRow, SegmentSample::default()),
            Written::Stored { inserted, updated, duplicate, refused } => {
                let id = |event: usize| batch.rows.events()[event].id;
                let refused: HashSet<i64> = refused.iter().map(|refused| id(refused.event)).collect();
                let has_own_rows = on_conflict == OnConflict::Update
                    || *inserted == batch.order.len() as u64
                    || updated + duplicate == 0;
                (Expected::OwnRow, SegmentSample::of_batch(batch, &refused, has_own_rows))
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
            stored.note(ReportedSegment::skipped(SegmentHash([number; 32]), number.into(), None));
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
            stored.note(ReportedSegment::skipped(SegmentHash(hash), 1, None));
        }
        let all = stored.all();
        assert_eq!((all.len(), all[0].hash.0[0]), (KEPT_MAX, 1));
    }
}
