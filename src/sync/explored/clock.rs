//! Virtual time, and the wake-up of threads that wait for a channel or for time.

use crate::sync::explored::switch;
use shuttle::future::batch_semaphore::{BatchSemaphore, Fairness};
use shuttle::scheduler::TaskId;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A run that waits longer makes no progress. The longest wait of a test is a few seconds.
pub(crate) const TIME_MAX: Duration = Duration::from_mins(1);

/// A timer can be due although another thread can run, as if that thread took this long.
const EARLY_MAX: Duration = Duration::from_secs(1);

thread_local! {
    static TIME: RefCell<VirtualTime> = RefCell::default();
}

#[derive(Default)]
struct VirtualTime {
    now: Duration,
    timers: Vec<PendingTimer>,
    clock: Option<TaskId>,
    /// Whether no other thread could run when the clock was chosen.
    is_idle: bool,
}

struct PendingTimer {
    due: Duration,
    token: Arc<WaitToken>,
    operation: usize,
}

/// A thread that waits for the first of several operations to become possible.
pub(crate) struct WaitToken {
    event: BatchSemaphore,
    operation: Mutex<Option<usize>>,
}

impl WaitToken {
    pub(crate) fn new() -> Arc<Self> {
        let event = BatchSemaphore::new(0, Fairness::StrictlyFair);
        Arc::new(Self { event, operation: Mutex::new(None) })
    }

    /// Chooses the operation that wakes the thread. Returns false if another one was chosen before. [`Self::wake`] follows.
    pub(crate) fn choose(&self, operation: usize) -> bool {
        let mut chosen = self.operation.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = chosen.is_none();
        chosen.get_or_insert(operation);
        is_first
    }

    pub(crate) fn wake(&self) {
        // Others run at the next operation of this thread.
        self.event.release_no_scheduling_point(1);
    }

    /// Waits for the wake-up. Returns its operation.
    pub(crate) fn wait(&self) -> usize {
        let _ = self.event.acquire_blocking(1);
        let chosen = self.operation.lock().unwrap_or_else(PoisonError::into_inner);
        chosen.expect("only an operation wakes a thread")
    }
}

/// Forgets the previous schedule.
pub(super) fn reset() {
    TIME.take();
}

/// Starts the thread of the clock.
pub(super) fn start() {
    let thread = shuttle::thread::spawn(run);
    let id: usize = thread.thread().id().into();
    TIME.with_borrow_mut(|time| time.clock = Some(id.into()));
}

pub(super) fn is_clock(task: TaskId) -> bool {
    TIME.with_borrow(|time| time.clock == Some(task))
}

/// Whether the clock may run now. `is_idle` says that no other thread can.
pub(super) fn may_run(is_idle: bool) -> bool {
    TIME.with_borrow_mut(|time| {
        time.is_idle = is_idle;
        let early_max = time.now + EARLY_MAX;
        is_idle || time.timers.iter().any(|timer| timer.due <= early_max)
    })
}

pub(super) fn now() -> Duration {
    TIME.with_borrow(|time| time.now)
}

/// Wakes a thread at this time.
pub(super) fn register(due: Duration, token: &Arc<WaitToken>, operation: usize) {
    let timer = PendingTimer { due, token: Arc::clone(token), operation };
    TIME.with_borrow_mut(|time| time.timers.push(timer));
}

pub(super) fn deregister(token: &Arc<WaitToken>) {
    TIME.with_borrow_mut(|time| time.timers.retain(|timer| !Arc::ptr_eq(&timer.token, token)));
}

/// The thread of the clock: advances to the next timer each time that it runs.
fn run() {
    loop {
        match TIME.with_borrow_mut(VirtualTime::advance) {
            Some(token) => token.wake(),
            // Every other thread has ended or waits for ever. In this case shuttle reports a deadlock.
            None if TIME.with_borrow(|time| time.is_idle) => return,
            None => {}
        }
        switch();
    }
}

impl VirtualTime {
    /// Advances to the next timer, and returns the thread to wake.
    fn advance(&mut self) -> Option<Arc<WaitToken>> {
        loop {
            let next = (0..self.timers.len()).min_by_key(|&index| self.timers[index].due)?;
            let PendingTimer { due, token, operation } = self.timers.remove(next);
            self.now = self.now.max(due);
            assert!(self.now < TIME_MAX, "no progress: all threads wait, some with a time-out");
            if token.choose(operation) {
                return Some(token);
            }
        }
    }
}
