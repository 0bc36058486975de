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

    /// The time of the last answer, if there was one.
    fn answered(&self) -> Option<Instant> {
        let last = self.last.load(Ordering::Relaxed);
        (last > 0).then(|| self.begun + Duration::from_millis(last))
    }

    /// Allows the following statement to take long.
    pub(crate) fn takes_long(&self) {
        self.is_long.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_long(&self) -> bool {
        self.is_long.load(Ordering::Relaxed)
    }
}

/// A call that begins this long after the end of an unanswered one does not continue its wait.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The calls in progress. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ActiveCalls(Arc<Mutex<Waits>>);

#[derive(Debug, Default)]
struct Waits {
    clocks: Vec<Arc<CallClock>>,
    /// The beginning of the first call without an answer since. A call that is repeated, and a new one beside it, do not
    /// change it.
    since: Option<Instant>,
    /// The last answer to a call that has ended.
    answered: Option<Instant>,
    /// The last end of a call.
    ended: Option<Instant>,
}

impl Waits {
    fn last_answer(&self) -> Option<Instant> {
        self.clocks.iter().filter_map(|clock| clock.answered()).chain(self.answered).max()
    }
}

impl ActiveCalls {
    /// Adds a call until the result is dropped.
    pub(crate) fn begin(&self, clock: Arc<CallClock>) -> ActiveCall<'_> {
        let mut waits = self.lock();
        let is_new = waits.clocks.is_empty() && waits.ended.is_none_or(|ended| ended.elapsed() > PAUSE_MAX);
        if is_new || waits.since.is_none() {
            waits.since = Some(clock.begun);
        }
        waits.clocks.push(Arc::clone(&clock));
        drop(waits);
        ActiveCall { all: self, clock }
    }

    /// The time in which no call had an answer. None without a call, or if a call is expected to take long.
    pub(crate) fn unanswered(&self) -> Option<Duration> {
        let waits = self.lock();
        if waits.clocks.is_empty() || waits.clocks.iter().any(|clock| clock.is_long()) {
            return None;
        }
        waits.since.max(waits.last_answer()).map(|since| since.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
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
        let mut waits = self.all.lock();
        waits.answered = waits.last_answer();
        waits.ended = Some(Instant::now());
        waits.clocks.retain(|clock| !Arc::ptr_eq(clock, &self.clock));
        if waits.clocks.is_empty() && waits.answered > waits.since {
            waits.since = None;
        }
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
        assert_eq!(seconds(&calls), Some(30), "a new call is no answer");
        other.tick();
        assert_eq!(seconds(&calls), Some(0), "one of two calls has an answer");
        drop(second);
        assert_eq!(seconds(&calls), Some(0));
        let building = waiting(40);
        building.takes_long();
        let third = calls.begin(building);
        assert_eq!(seconds(&calls), None, "it may take long");
        drop((blocked, third));
        assert_eq!(seconds(&calls), None);
    }

    #[test]
    fn a_repeated_call_continues_the_wait() {
        let calls = ActiveCalls::default();
        drop(calls.begin(waiting(30)));
        let again = calls.begin(waiting(1));
        assert_eq!(seconds(&calls), Some(30));
        again.clock.tick();
        drop(again);
        let next = calls.begin(waiting(0));
        assert_eq!(seconds(&calls), Some(0));
        drop(next);
    }
}
