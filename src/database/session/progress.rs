//! The progress of a call: what the thread that supervises it looks at.

use crate::database::pool::metrics::PoolMetrics;
use crate::database::session::backend::{Build, BuildLooks};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When a call last got on.
#[derive(Debug)]
pub(crate) struct CallProgress {
    /// Where its steps are timed.
    pub(crate) figures: PoolMetrics,
    begun: Instant,
    /// Milliseconds after `begun`.
    last: AtomicU64,
    /// Whether a statement may take long, as it moves what is in a table. Its backend has to be at work.
    pub(crate) is_long: AtomicBool,
    /// Whether it builds an index, whose progress can be seen.
    is_build: AtomicBool,
    /// What was seen of an index that the call builds, or waits for.
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

    /// Says that the call got on.
    pub(crate) fn tick(&self) {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    /// Says that a statement may take long from now on, for as long as its backend is at work.
    pub(crate) fn takes_long(&self) {
        self.tick();
        self.is_long.store(true, Ordering::Relaxed);
    }

    /// Says that an index is built from now on, for as long as its build makes progress.
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

    /// Whether a build has made progress since it was last looked at.
    pub(crate) fn has_built(&self, build: Build) -> bool {
        self.builds.lock().unwrap_or_else(PoisonError::into_inner).has_progress(build)
    }
}
