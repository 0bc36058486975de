//! The progress of a call, for the thread that supervises it.

use crate::database::active_calls::CallClock;
use crate::database::metrics::PoolMetrics;
use crate::database::session::backend::{Build, BuildLooks};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The time of the last progress of a call, and the expected kinds of progress.
#[derive(Debug)]
pub(crate) struct CallProgress {
    /// The histograms for the durations of its steps.
    pub(crate) figures: PoolMetrics,
    /// The time of its last progress, also for displays.
    pub(crate) clock: Arc<CallClock>,
    /// Whether it builds an index, whose progress is visible.
    is_build: AtomicBool,
    /// The observed progress of an index that the call builds or waits for.
    builds: Mutex<BuildLooks>,
}

impl CallProgress {
    pub(crate) fn new(figures: PoolMetrics) -> Self {
        Self { figures, clock: Arc::default(), is_build: AtomicBool::new(false), builds: Mutex::default() }
    }

    /// Records progress.
    pub(crate) fn tick(&self) {
        self.clock.tick();
    }

    /// Allows the following statement to take long, as long as its backend is active.
    pub(crate) fn takes_long(&self) {
        self.tick();
        self.clock.takes_long();
    }

    /// Whether a statement may take long because it moves the contents of a table. Its backend has to be active.
    pub(crate) fn is_long(&self) -> bool {
        self.clock.is_long()
    }

    /// Allows the following index build to take long, as long as it makes progress.
    pub(crate) fn builds_an_index(&self) {
        self.takes_long();
        self.is_build.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_build(&self) -> bool {
        self.is_build.load(Ordering::Relaxed)
    }

    pub(crate) fn idle(&self) -> Duration {
        self.clock.idle()
    }

    /// Whether a build has made progress since the last look at it.
    pub(crate) fn has_built(&self, build: Build) -> bool {
        self.builds.lock().unwrap_or_else(PoisonError::into_inner).has_progress(build)
    }
}
