//! A snapshot of a run's counts, for the terminal and the status page.

use crate::database::pool::manager::DatabaseManager;
use crate::database::pool::state::DatabaseState;
use crate::input::decode::raw::CurrentSource;
use crate::pipeline::account::counts::Counts;
use crate::pipeline::account::monitor::{Findings, Monitor};
use crate::pipeline::shutdown::{Shutdown, Stopping};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A handle to a running load.
#[derive(Debug, Clone)]
pub(crate) struct LiveRun {
    pub begun: Instant,
    pub monitor: Arc<Monitor>,
    /// Reports whether the run is stopping early.
    pub shutdown: Arc<Shutdown>,
    /// None in a dry run.
    pub manager: Option<DatabaseManager>,
    /// The size of all sources in bytes, compressed or not; none if one is unknown.
    pub bytes_total: Option<u64>,
    pub task: RunTask,
}

/// What a run does with the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum RunTask {
    /// Stores them, or only counts them without a database.
    #[default]
    Load,
    /// Compares them with the database.
    Verify,
    /// Deletes them, or the events before a time.
    Delete,
}

/// The state of a run at one time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RunSnapshot {
    pub elapsed: Duration,
    pub counts: Counts,
    /// Bytes read, compressed or not.
    pub bytes_read: u64,
    /// The size of the sources to read, if it is known. Unchanged files are not read.
    pub bytes_total: Option<u64>,
    /// Bytes of text read.
    pub bytes_uncompressed: u64,
    /// Batches that are ready or being written.
    pub queue_depth: usize,
    /// Segments claimed by other loads; 0 while this load has other work.
    pub segments_claimed_elsewhere: usize,
    pub retries: u64,
    pub task: RunTask,
    /// Missing events of a verification.
    pub missing: u64,
    /// Different events of a verification.
    pub different: u64,
    /// Deleted events of a deletion.
    pub deleted: u64,
    /// The source that is being read; none before the first.
    pub source: Option<CurrentSource>,
    /// Whether a writer waits for the reject file.
    pub awaits_reject_file: bool,
    /// None in a dry run.
    pub database: Option<DatabaseState>,
    /// Why the run is stopping early, if it is.
    pub stopping: Option<Stopping>,
}

impl LiveRun {
    pub(crate) fn figures(&self) -> RunSnapshot {
        let Findings { missing, different, deleted } = &self.monitor.findings;
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        RunSnapshot {
            elapsed: self.begun.elapsed(),
            // Read before the bytes, so that the bytes of every counted event are included.
            counts: self.monitor.counts(),
            bytes_read: self.monitor.bytes_read(),
            bytes_total: self.bytes_total.map(|total| total.saturating_sub(self.monitor.bytes_skipped())),
            bytes_uncompressed: self.monitor.bytes_uncompressed(),
            queue_depth: self.monitor.queue_depth(),
            segments_claimed_elsewhere: self.monitor.segments_claimed_elsewhere(),
            retries: self.manager.as_ref().map_or(0, |manager| manager.figures().retries()),
            task: self.task,
            missing: count(missing),
            different: count(different),
            deleted: count(deleted),
            source: self.monitor.source(),
            awaits_reject_file: self.monitor.awaits_reject_file(),
            database: self.manager.as_ref().map(DatabaseManager::state),
            stopping: self.shutdown.stopping(),
        }
    }
}

impl RunSnapshot {
    /// Events with a known outcome; without outcomes, the events read, and those that a deletion without dumps deleted.
    pub(crate) fn events_done(&self) -> u64 {
        match self.task {
            RunTask::Load if self.database.is_some() => self.counts.events - self.counts.unfinished(),
            RunTask::Delete => self.counts.events.max(self.deleted),
            RunTask::Load | RunTask::Verify => self.counts.events,
        }
    }

    /// The part of the bytes read whose events are done, for estimates: reading is ahead of the database.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    pub(crate) fn bytes_done(&self) -> u64 {
        match (self.events_done(), self.counts.events) {
            (done, events) if done < events => (self.bytes_read as f64 * done as f64 / events as f64) as u64,
            (_, 0) => 0,
            _ => self.bytes_read,
        }
    }

    /// Whether the whole input is read; false if its size is unknown.
    pub(crate) fn is_all_read(&self) -> bool {
        self.bytes_total.is_some_and(|total| self.bytes_read >= total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::store::FileCounts;

    #[test]
    fn unchanged_files_are_not_part_of_the_total() {
        let live = LiveRun {
            begun: Instant::now(),
            monitor: Arc::default(),
            shutdown: Arc::default(),
            manager: None,
            bytes_total: Some(1000),
            task: RunTask::Load,
        };
        assert_eq!(live.figures().bytes_total, Some(1000));
        let file =
            FileCounts { bytes: 600, lines: 5, events: 5, segments: 1, rejected: 0, reported_by: vec![] };
        live.monitor.skip_file(&file);
        assert_eq!(live.figures().bytes_total, Some(400));
    }
}
