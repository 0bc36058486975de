//! Locks that lose wake-ups on request, as a planted fault.

use crate::sync::MutexGuard;
use std::cell::Cell;
use std::sync::LockResult;
use std::time::Duration;

thread_local! {
    static LOSES_WAKEUPS: Cell<bool> = const { Cell::new(false) };
}

/// Plants a fault into all tests of this thread: waiting threads are not notified.
pub(crate) fn lose_wakeups() {
    LOSES_WAKEUPS.set(true);
}

/// A condition variable.
#[derive(Debug, Default)]
pub(crate) struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    /// Never times out: the tests whose time runs out use the standard library's.
    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, shuttle::sync::WaitTimeoutResult)> {
        self.0.wait_timeout_while(guard, time, condition)
    }

    pub(crate) fn notify_all(&self) {
        if !LOSES_WAKEUPS.get() {
            self.0.notify_all();
        }
    }
}
