//! The progress of a call, for the thread that supervises it.

use crate::database::metrics::PoolMetrics;
use crate::database::session::backend::{Build, BuildLooks};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time of the last progress of a call, and the expected kinds of progress.
#[derive(Debug)]
pub(crate) struct CallProgress {
    /// The histograms for the durations of its steps.
    pub(crate) figures: PoolMetrics,
    begun: Instant,
    /// Milliseconds after `begun`.
    last: AtomicU64,
    /// Whether a statement may take long because it moves the contents of a table. Its backend has to be active.
    pub(crate) is_long: AtomicBool,
    /// Whether it builds an index, whose progress is visible.
    is_build: AtomicBool,
    /// The observed progress of an index that the call builds or waits for.
    builds: Mutex<BuildLooks>,
}

impl CallProgress {
    pub(crate) fn new(figures: PoolMetrics) -> Self {
        Self {
            figures,
            begun: Instant::now(),
            last: AtomicU64::new(0),
            is_long: AtomicBool::new(false),
            is_build: AtomicBool::new(false),
            builds: Mutex::default(),
        }
    }

    /// Records progress.
    pub(crate) fn tick(&self) {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    /// Allows the following statement to take long, as long as its backend is active.
    pub(crate) fn takes_long(&self) {
        self.tick();
        self.is_long.store(true, Ordering::Relaxed);
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
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }

    /// Whether a build has made progress since the last look at it.
    pub(crate) fn has_built(&self, build: Build) -> bool {
        self.builds.lock().unwrap_or_else(PoisonError::into_inner).has_progress(build)
    }
}
