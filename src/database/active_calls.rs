//! The calls that wait for an answer of the database, for displays.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time of the last answer to one call.
#[derive(Debug)]
pub(crate) struct CallClock {
    begun: Instant,
    /// Milliseconds after `begun`.
    last: AtomicU64,
    /// Whether a statement may take long because it moves the contents of a table.
    is_long: AtomicBool,
}

impl Default for CallClock {
    fn default() -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0), is_long: AtomicBool::new(false) }
    }
}

impl CallClock {
    /// Records an answer.
    pub(crate) fn tick(&self) {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    /// The time since the last answer.
    pub(crate) fn idle(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }

    /// Allows the following statement to take long.
    pub(crate) fn takes_long(&self) {
        self.is_long.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_long(&self) -> bool {
        self.is_long.load(Ordering::Relaxed)
    }
}

/// The calls in progress. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ActiveCalls(Arc<Mutex<Vec<Arc<CallClock>>>>);

impl ActiveCalls {
    /// Adds a call until the result is dropped.
    pub(crate) fn begin(&self, clock: Arc<CallClock>) -> ActiveCall<'_> {
        self.lock().push(Arc::clone(&clock));
        ActiveCall { all: self, clock }
    }

    /// The time in which no call had an answer. None without a call, or if a call is expected to take long.
    pub(crate) fn unanswered(&self) -> Option<Duration> {
        let calls = self.lock();
        if calls.iter().any(|clock| clock.is_long()) {
            return None;
        }
        calls.iter().map(|clock| clock.idle()).min()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<CallClock>>> {
        // The list is consistent after every statement, so a poisoned lock is safe.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`ActiveCalls::begin`].
#[derive(Debug)]
pub(crate) struct ActiveCall<'c> {
    all: &'c ActiveCalls,
    clock: Arc<CallClock>,
}

impl Drop for ActiveCall<'_> {
    fn drop(&mut self) {
        self.all.lock().retain(|clock| !Arc::ptr_eq(clock, &self.clock));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call whose last answer was this many seconds ago.
    fn waiting(seconds: u64) -> Arc<CallClock> {
        let begun = Instant::now().checked_sub(Duration::from_secs(seconds)).expect("a time");
        Arc::new(CallClock { begun, ..CallClock::default() })
    }

    fn seconds(calls: &ActiveCalls) -> Option<u64> {
        calls.unanswered().map(|time| time.as_secs())
    }

    #[test]
    fn the_last_answer_to_any_call_counts() {
        let calls = ActiveCalls::default();
        assert_eq!(seconds(&calls), None, "no call");
        let blocked = calls.begin(waiting(30));
        assert_eq!(seconds(&calls), Some(30));
        let other = waiting(20);
        let second = calls.begin(Arc::clone(&other));
        assert_eq!(seconds(&calls), Some(20));
        other.tick();
        assert_eq!(seconds(&calls), Some(0), "one of two calls has an answer");
        drop(second);
        assert_eq!(seconds(&calls), Some(30));
        let building = waiting(40);
        building.takes_long();
        let third = calls.begin(building);
        assert_eq!(seconds(&calls), None, "it may take long");
        drop((blocked, third));
        assert_eq!(seconds(&calls), None);
    }
}
