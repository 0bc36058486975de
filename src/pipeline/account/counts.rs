//! Counts the event outcomes of a run.

use crate::database::store::{FileCounts, LoadedSegment};
use crate::sync::{Mutex, lock};
use std::collections::BTreeSet;
use std::str::FromStr;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Lines, including blank ones.
    pub lines: u64,
    /// Events. Malformed JSON counts as one.
    pub events: u64,
    /// Events that this run added to the database.
    pub inserted: u64,
    /// Stored events that were replaced because they differed.
    pub updated: u64,
    /// Events that were already stored, or repeated in the input.
    pub duplicate: u64,
    /// Events of segments that are in the ledger.
    pub already_loaded: u64,
    /// Events in a reject file.
    pub rejected: u64,
    /// Rejected events that are in the reject file of an earlier run.
    pub rejected_before: u64,
    /// Segments read.
    pub segments: u64,
    /// Segments that are in the ledger.
    pub segments_skipped: u64,
    /// Files that were not read because they are unchanged since their load.
    pub files_skipped: u64,
}

impl Counts {
    /// Returns the number of rejects first reported by this run.
    pub fn rejected_new(&self) -> u64 {
        self.rejected.saturating_sub(self.rejected_before)
    }

    /// Counts events that were loaded before, `rejected` of which were rejected.
    fn add_loaded(&mut self, events: u64, rejected: u64) {
        let rejected = rejected.min(events);
        self.already_loaded += events - rejected;
        self.rejected += rejected;
        self.rejected_before += rejected;
    }

    /// Returns the number of events that were read but have no outcome, because the run ended before.
    pub fn unfinished(&self) -> u64 {
        let finished = self.inserted + self.updated + self.duplicate + self.already_loaded + self.rejected;
        self.events.saturating_sub(finished)
    }
}

/// The maximum number of rejects. Rejects that an earlier run reported do not count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RejectLimit {
    /// A number of events.
    Number(u64),
    /// A percentage of all events, checked after at least 1,000 events and at the end.
    Percent(f64),
}

/// The minimum number of events for a meaningful percentage.
const PERCENT_EVENTS_MIN: u64 = 1000;

impl RejectLimit {
    /// Returns whether the counts so far exceed the limit.
    pub fn is_exceeded_so_far(self, counts: &Counts) -> bool {
        match self {
            RejectLimit::Percent(_) if counts.events < PERCENT_EVENTS_MIN => false,
            RejectLimit::Number(_) | RejectLimit::Percent(_) => self.is_exceeded_at_end(counts),
        }
    }

    /// Returns whether the final counts exceed the limit.
    pub fn is_exceeded_at_end(self, counts: &Counts) -> bool {
        match self {
            RejectLimit::Number(limit) => counts.rejected_new() > limit,
            #[expect(
                clippy::cast_precision_loss,
                reason = "a percentage of more than 2^53 events may be rounded"
            )]
            RejectLimit::Percent(limit) => {
                counts.rejected_new() as f64 * 100.0 > counts.events as f64 * limit
            }
        }
    }
}

impl FromStr for RejectLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || "expected a number of events such as 100, or a percentage such as 0.5%".to_owned();
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.trim().parse().map_err(|_| expected())?;
                if (0.0..=100.0).contains(&percent) { Ok(Self::Percent(percent)) } else { Err(expected()) }
            }
            None => text.parse().map(Self::Number).map_err(|_| expected()),
        }
    }
}

/// The maximum number of earlier runs kept, in order to name their reject files.
const REPORTED_BY_MAX: usize = 1000;

/// Counts shared by several threads.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
    reported_by: Mutex<BTreeSet<Uuid>>,
}

impl Tally {
    pub(crate) fn add(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut lock(&self.counts));
    }

    pub(crate) fn counts(&self) -> Counts {
        *lock(&self.counts)
    }

    /// Counts a segment that is in the ledger and was not parsed.
    pub(crate) fn skip(&self, held: &LoadedSegment) {
        self.add(|counts| {
            counts.lines += held.counts.lines;
            counts.events += held.counts.events;
            counts.segments += 1;
        });
        self.add_loaded(held);
    }

    /// Counts a segment as already loaded. Its lines and events must have been counted before.
    pub(crate) fn add_loaded(&self, held: &LoadedSegment) {
        self.add(|counts| {
            counts.segments_skipped += 1;
            counts.add_loaded(held.counts.events, held.rejected);
        });
        if held.rejected > 0 {
            self.note_reports(&[held.run]);
        }
    }

    /// Counts a file that is unchanged since its load.
    pub(crate) fn skip_file(&self, held: &FileCounts) {
        self.add(|counts| {
            counts.lines += held.lines;
            counts.events += held.events;
            counts.segments += held.segments;
            counts.segments_skipped += held.segments;
            counts.files_skipped += 1;
            counts.add_loaded(held.events, held.rejected);
        });
        self.note_reports(&held.reported_by);
    }

    /// Returns the earlier runs whose reject files contain the events in `rejected_before`.
    pub(crate) fn reported_by(&self) -> Vec<Uuid> {
        lock(&self.reported_by).iter().copied().collect()
    }

    fn note_reports(&self, runs: &[Uuid]) {
        let mut reported_by = lock(&self.reported_by);
        let room = REPORTED_BY_MAX.saturating_sub(reported_by.len());
        reported_by.extend(runs.iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let check = |limit: &str, rejected, events, so_far, at_end| {
            let limit: RejectLimit = limit.parse().unwrap();
            let counts = Counts { events, rejected, ..Counts::default() };
            assert_eq!(limit.is_exceeded_so_far(&counts), so_far, "{limit:?} {rejected} of {events}, so far");
            assert_eq!(
                limit.is_exceeded_at_end(&counts),
                at_end,
                "{limit:?} {rejected} of {events}, at the end"
            );
        };
        check("0", 0, 10, false, false);
        check("0", 1, 10, true, true);
        check("10%", 10, 100, false, false);
        check("10%", 11, 100, false, true);
        check("10%", 100, 1000, false, false);
        check("10%", 101, 1000, true, true);
        for wrong in ["", "-1", "x", "101%", "-1%", "NaN%", "%"] {
            assert!(wrong.parse::<RejectLimit>().is_err(), "{wrong}");
        }
    }
}
