//! The figures of a run at one moment, for whatever shows it.

use crate::database::pool::manager::DatabaseManager;
use crate::database::pool::state::DatabaseState;
use crate::pipeline::account::counts::Counts;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::shutdown::{Shutdown, Stopping};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A run that goes on, as it can be looked at.
#[derive(Debug, Clone)]
pub(crate) struct LiveRun {
    /// When it began.
    pub begun: Instant,
    /// Its account.
    pub monitor: Arc<Monitor>,
    /// Whether it is about to end early.
    pub shutdown: Arc<Shutdown>,
    /// None in a dry run.
    pub manager: Option<DatabaseManager>,
    /// Bytes of all sources as they come, where each is known.
    pub bytes_total: Option<u64>,
}

/// What a run has come to by now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunSnapshot {
    /// How long it has gone on.
    pub elapsed: Duration,
    /// What became of the events.
    pub counts: Counts,
    /// Bytes read as they came, compressed or not.
    pub bytes_read: u64,
    /// How many there are, where that is known.
    pub bytes_total: Option<u64>,
    /// Bytes of text read.
    pub bytes_uncompressed: u64,
    /// Batches that are ready or being written.
    pub queue_depth: usize,
    /// Segments that other loads have taken, and that are all there is to wait for.
    pub segments_claimed_elsewhere: usize,
    /// How often something was tried again.
    pub retries: u64,
    /// None in a dry run.
    pub database: Option<DatabaseState>,
    /// Why it is about to end early, if it is.
    pub stopping: Option<Stopping>,
}

impl LiveRun {
    /// The figures at this moment.
    pub(crate) fn figures(&self) -> RunSnapshot {
        RunSnapshot {
            elapsed: self.begun.elapsed(),
            // Read before the bytes, so that no event is counted whose bytes are not.
            counts: self.monitor.counts(),
            bytes_read: self.monitor.bytes_read(),
            bytes_total: self.bytes_total,
            bytes_uncompressed: self.monitor.bytes_uncompressed(),
            queue_depth: self.monitor.queue_depth(),
            segments_claimed_elsewhere: self.monitor.segments_claimed_elsewhere(),
            retries: self.manager.as_ref().map_or(0, |manager| manager.figures().retries()),
            database: self.manager.as_ref().map(DatabaseManager::state),
            stopping: self.shutdown.stopping(),
        }
    }
}

impl RunSnapshot {
    /// Events of which it is known what became of them; in a dry run those that were read.
    pub(crate) fn events_done(&self) -> u64 {
        let undone = if self.database.is_some() { self.counts.unfinished() } else { 0 };
        self.counts.events - undone
    }

    /// Whether all is read, as far as it is known how much there is.
    pub(crate) fn is_all_read(&self) -> bool {
        self.bytes_total.is_some_and(|total| self.bytes_read >= total)
    }
}
