//! What became of the events of a run, counted.

use crate::database::store::{FileCounts, LoadedSegment};
use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Counts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Lines, blank ones too.
    pub lines: u64,
    /// Events; a line that is no JSON is one.
    pub events: u64,
    /// Events that are new in the database.
    pub inserted: u64,
    /// Events that were stored before, and were rewritten because they differed.
    pub updated: u64,
    /// Events that were stored before, or came more than once.
    pub duplicate: u64,
    /// Events of segments that the ledger holds.
    pub already_loaded: u64,
    /// Events that are in a reject file.
    pub rejected: u64,
    /// Those of them that are in the reject file of an earlier run.
    pub rejected_before: u64,
    /// Segments that were read.
    pub segments: u64,
    /// Segments that the ledger holds.
    pub segments_skipped: u64,
    /// Files that were not read, as they are unchanged since they were loaded.
    pub files_skipped: u64,
}

impl Counts {
    /// Events that this run is the first to report as rejected.
    pub fn rejected_new(&self) -> u64 {
        self.rejected.saturating_sub(self.rejected_before)
    }

    /// Counts events that were loaded before, with what was rejected of them.
    fn add_loaded(&mut self, events: u64, rejected: u64) {
        let rejected = rejected.min(events);
        self.already_loaded += events - rejected;
        self.rejected += rejected;
        self.rejected_before += rejected;
    }

    /// Events that were read, but of which nothing is known: the run ended before their turn came.
    pub fn unfinished(&self) -> u64 {
        let finished = self.inserted + self.updated + self.duplicate + self.already_loaded + self.rejected;
        self.events.saturating_sub(finished)
    }
}

/// How many rejects are too many. Those that an earlier run has reported do not count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RejectLimit {
    /// More than this number.
    Number(u64),
    /// More than this share of all events, in per cent; looked at once 1,000 events were read, and at the end.
    Percent(f64),
}

/// How many events must have been read before a share of them says something.
const PERCENT_EVENTS_MIN: u64 = 1000;

impl RejectLimit {
    /// Whether the limit is passed while the input goes on.
    pub fn is_passed_so_far(self, counts: &Counts) -> bool {
        match self {
            RejectLimit::Percent(_) if counts.events < PERCENT_EVENTS_MIN => false,
            RejectLimit::Number(_) | RejectLimit::Percent(_) => self.is_passed_at_end(counts),
        }
    }

    /// Whether the limit is passed by the counts of all the input.
    pub fn is_passed_at_end(self, counts: &Counts) -> bool {
        match self {
            RejectLimit::Number(limit) => counts.rejected_new() > limit,
            #[expect(
                clippy::cast_precision_loss,
                reason = "a share of more than 2^53 events needs no last digit"
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
        let wanted = || "a number of events such as 100, or a share such as 0.5%, is needed".to_owned();
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.trim().parse().map_err(|_| wanted())?;
                if (0.0..=100.0).contains(&percent) { Ok(Self::Percent(percent)) } else { Err(wanted()) }
            }
            None => text.parse().map(Self::Number).map_err(|_| wanted()),
        }
    }
}

/// So many earlier runs that have reported rejects are kept: their files are named.
const REPORTED_BY_MAX: usize = 1000;

/// Counts that several threads add to.
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

    /// Counts a segment that the ledger holds, and that was not parsed.
    pub(crate) fn skip(&self, held: &LoadedSegment) {
        self.add(|counts| {
            counts.lines += held.counts.lines;
            counts.events += held.counts.events;
            counts.segments += 1;
        });
        self.add_loaded(held);
    }

    /// Counts a segment whose lines and events are counted, and of which the ledger says that it was loaded before.
    pub(crate) fn add_loaded(&self, held: &LoadedSegment) {
        self.add(|counts| {
            counts.segments_skipped += 1;
            counts.add_loaded(held.counts.events, held.rejected);
        });
        if held.rejected > 0 {
            self.note_reports(&[held.run]);
        }
    }

    /// Counts a file that was loaded before and is unchanged.
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

    /// The earlier runs whose reject files have what counts as rejected before.
    pub(crate) fn reported_by(&self) -> Vec<Uuid> {
        lock(&self.reported_by).iter().copied().collect()
    }

    fn note_reports(&self, runs: &[Uuid]) {
        let mut reported_by = lock(&self.reported_by);
        let room = REPORTED_BY_MAX.saturating_sub(reported_by.len());
        reported_by.extend(runs.iter().take(room));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let check = |limit: &str, rejected, events, so_far, at_end| {
            let limit: RejectLimit = limit.parse().unwrap();
            let counts = Counts { events, rejected, ..Counts::default() };
            assert_eq!(limit.is_passed_so_far(&counts), so_far, "{limit:?} {rejected} of {events}, so far");
            assert_eq!(
                limit.is_passed_at_end(&counts),
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
