//! The current activity of each writer, for status displays. It is updated a few times per segment.

use crate::sync::{Mutex, lock};
use std::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Waits for a prepared segment.
    Waiting,
    /// Waits for another writer whose earlier segment contains the same event.
    WaitingForTurn,
    /// Stores a segment, including retries.
    Writing,
    /// Writes the rejects of a segment into the reject file, including the wait for its lock.
    WritingRejects,
    Ended,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct WriterActivity {
    pub activity: Activity,
    /// The start of the activity.
    pub since: Instant,
    /// The number of the current segment, counted from 0.
    pub segment: Option<u64>,
    /// The number of events in that segment.
    pub events: u64,
}

/// The states of all writers of a run.
#[derive(Debug, Default)]
pub(crate) struct Activities(Mutex<Vec<WriterActivity>>);

impl Activities {
    /// Adds a writer.
    pub(crate) fn begin(&self) -> ActivityHandle<'_> {
        let mut writers = lock(&self.0);
        writers.push(WriterActivity {
            activity: Activity::Waiting,
            since: Instant::now(),
            segment: None,
            events: 0,
        });
        ActivityHandle { all: self, number: writers.len() - 1 }
    }

    pub(crate) fn writers(&self) -> Vec<WriterActivity> {
        lock(&self.0).clone()
    }
}

/// Updates the activity of one writer. Its drop sets [`Activity::Ended`].
pub(crate) struct ActivityHandle<'a> {
    all: &'a Activities,
    number: usize,
}

impl ActivityHandle<'_> {
    /// Sets the activity, with the number and the event count of its segment.
    pub(crate) fn set_activity(&self, activity: Activity, segment: Option<(u64, u64)>) {
        let (segment, events) = segment.map_or((None, 0), |(number, events)| (Some(number), events));
        let mut writers = lock(&self.all.0);
        writers[self.number] = WriterActivity { activity, since: Instant::now(), segment, events };
    }
}

impl Drop for ActivityHandle<'_> {
    fn drop(&mut self) {
        self.set_activity(Activity::Ended, None);
    }
}
