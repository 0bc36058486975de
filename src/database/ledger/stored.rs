//! The segments that a run has reported as stored. At its end the server is asked whether they are there.
//!
//! A server can be replaced by one that lacks what was committed last: a standby that was promoted and had not received it,
//! or the same one after a crash, if it was told not to wait for its disk.

use crate::database::store::{SegmentHash, Written};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// So many are kept, of some 50 bytes each. Of more the last ones are: those committed long before a failure are not lost by it.
const KEPT_MAX: usize = 100_000;

/// What became of the events of segments, as it was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StoredCounts {
    /// Segments.
    pub segments: u64,
    /// Events that were new.
    pub inserted: u64,
    /// Events that were rewritten.
    pub updated: u64,
    /// Events that were stored before, or stand in their segment more than once.
    pub duplicate: u64,
    /// Events of segments that an earlier load had stored.
    pub already_loaded: u64,
}

impl StoredCounts {
    /// Those of a segment that was written.
    pub(crate) fn of(written: &Written) -> Self {
        match *written {
            Written::Stored { inserted, updated, duplicate, .. } => {
                Self { segments: 1, inserted, updated, duplicate, already_loaded: 0 }
            }
            Written::AlreadyLoaded(loaded) => Self::already_loaded(loaded.stored()),
        }
    }

    /// Those of a segment that was skipped.
    pub(crate) fn already_loaded(events: u64) -> Self {
        Self { segments: 1, already_loaded: events, ..Self::default() }
    }

    /// All events.
    pub(crate) fn events(&self) -> u64 {
        self.inserted + self.updated + self.duplicate + self.already_loaded
    }

    fn add(&mut self, other: Self) {
        self.segments += other.segments;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.duplicate += other.duplicate;
        self.already_loaded += other.already_loaded;
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct StoredSegments(Mutex<VecDeque<(SegmentHash, StoredCounts)>>);

impl StoredSegments {
    pub(crate) fn note(&self, hash: SegmentHash, counts: StoredCounts) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((hash, counts));
    }

    /// The segments, each once for each time that it was noted.
    pub(crate) fn hashes(&self) -> Vec<SegmentHash> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(hash, _)| *hash).collect()
    }

    /// What was counted of the segments that `is_there` does not hold for; they are forgotten.
    pub(crate) fn take_missing(&self, is_there: impl Fn(&SegmentHash) -> bool) -> StoredCounts {
        let mut missing = StoredCounts::default();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(hash, counts)| {
            let stays = is_there(hash);
            if !stays {
                missing.add(*counts);
            }
            stays
        });
        missing
    }
}

/// The server that segments were written to, by the time when it was started. It tells rows that were lost with a server
/// from rows that were deleted.
#[derive(Debug, Default)]
pub(crate) struct WrittenTo(Mutex<Start>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Start {
    #[default]
    Unknown,
    /// In microseconds since 1970.
    At(i64),
    /// It was replaced, or restarted, in the meantime.
    Several,
}

impl WrittenTo {
    /// Notes that a segment was written to the server that was started then.
    pub(crate) fn note(&self, start: i64) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = match *noted {
            Start::Unknown => Start::At(start),
            Start::At(before) if before == start => Start::At(start),
            Start::At(_) | Start::Several => Start::Several,
        };
    }

    /// Whether it was this one all the time.
    pub(crate) fn was(&self, start: i64) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) == Start::At(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_counted_once() {
        let stored = StoredSegments::default();
        for number in 0..10_u8 {
            stored.note(SegmentHash([number; 32]), StoredCounts::already_loaded(number.into()));
        }
        let missing = stored.take_missing(|hash| hash.0[0] < 8);
        assert_eq!((missing.segments, missing.already_loaded, missing.events()), (2, 17, 17));
        assert_eq!(stored.hashes().len(), 8);
        assert_eq!(stored.take_missing(|_| true), StoredCounts::default());
    }

    #[test]
    fn one_server_all_the_time() {
        let server = WrittenTo::default();
        assert!(!server.was(5), "nothing is known of it");
        server.note(5);
        server.note(5);
        assert!(server.was(5) && !server.was(6));
        server.note(6);
        server.note(6);
        assert!(!server.was(5) && !server.was(6));
    }

    #[test]
    fn the_last_ones_are_kept() {
        let stored = StoredSegments::default();
        for number in 0..=u32::try_from(KEPT_MAX).expect("a count") {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&number.to_le_bytes());
            stored.note(SegmentHash(hash), StoredCounts::default());
        }
        let hashes = stored.hashes();
        assert_eq!((hashes.len(), hashes[0].0[0]), (KEPT_MAX, 1));
    }
}
