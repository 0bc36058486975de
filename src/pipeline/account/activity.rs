//! What each writer is doing, for whoever watches the run. It is noted a few times a segment.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What a writer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It waits for a segment that is ready.
    Waiting,
    /// It waits for another writer, whose earlier segment holds the same event.
    WaitingForTurn,
    /// It has a segment stored, trying again where that is needed.
    Writing,
    /// It has nothing more to do.
    Ended,
}

/// A writer at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriterActivity {
    /// What it does.
    pub activity: Activity,
    /// Since when.
    pub since: Instant,
    /// The number of the segment at hand, from 0.
    pub segment: Option<u64>,
    /// The events of that segment.
    pub events: u64,
}

/// The writers of a run.
#[derive(Debug, Default)]
pub(crate) struct Activities(Mutex<Vec<WriterActivity>>);

impl Activities {
    /// A writer begins.
    pub(crate) fn begin(&self) -> Own<'_> {
        let mut writers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writers.push(WriterActivity {
            activity: Activity::Waiting,
            since: Instant::now(),
            segment: None,
            events: 0,
        });
        Own { all: self, number: writers.len() - 1 }
    }

    pub(crate) fn writers(&self) -> Vec<WriterActivity> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A writer's own place; it has ended when this is dropped.
pub(crate) struct Own<'a> {
    all: &'a Activities,
    number: usize,
}

impl Own<'_> {
    /// It does this from now on, with that segment and its events.
    pub(crate) fn set_activity(&self, activity: Activity, segment: Option<(u64, u64)>) {
        let (segment, events) = segment.map_or((None, 0), |(number, events)| (Some(number), events));
        let mut writers = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        writers[self.number] = WriterActivity { activity, since: Instant::now(), segment, events };
    }
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        self.set_activity(Activity::Ended, None);
    }
}
