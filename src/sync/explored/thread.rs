//! Threads like those of the standard library. A panic ends its thread, not the exploration.

use crate::sync::explored::clock::WaitToken;
use crate::sync::explored::switch;
use shuttle::future::batch_semaphore::{BatchSemaphore, Fairness};
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Result;

/// Also true while another thread unwinds, as all share one thread of the system.
pub(crate) use std::thread::panicking;

thread_local! {
    /// The number of threads that were not joined, such as the reader.
    static DETACHED: Cell<usize> = const { Cell::new(0) };
    /// Waits for their end.
    static ENDING: RefCell<Option<Arc<WaitToken>>> = const { RefCell::new(None) };
}

/// Forgets the threads of the previous schedule.
pub(super) fn begin() {
    DETACHED.set(0);
    ENDING.take();
}

/// Waits until all detached threads have ended.
pub(crate) fn wait_for_all() {
    switch();
    while DETACHED.get() > 0 {
        let token = WaitToken::new();
        ENDING.set(Some(Arc::clone(&token)));
        token.wait();
    }
}

/// Counts a detached thread until its end.
struct DetachedThread;

impl DetachedThread {
    fn begin() -> Self {
        DETACHED.set(DETACHED.get() + 1);
        Self
    }
}

impl Drop for DetachedThread {
    fn drop(&mut self) {
        DETACHED.set(DETACHED.get() - 1);
        if let Some(token) = ENDING.take().filter(|token| token.choose(0)) {
            token.wake();
        }
    }
}

/// Starts a thread with a name.
#[derive(Default)]
pub(crate) struct Builder {
    name: String,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn name(self, name: String) -> Self {
        Self { name }
    }

    pub(crate) fn spawn(self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let detached = DetachedThread::begin();
        let builder = shuttle::thread::Builder::new().name(self.name);
        let thread = builder.spawn(move || {
            let _detached = detached;
            work();
        });
        thread.map(drop)
    }

    pub(crate) fn spawn_scoped<'scope, T: Send + 'scope>(
        self,
        scope: &Scope<'scope, '_>,
        work: impl FnOnce() -> T + Send + 'scope,
    ) -> io::Result<ScopedThread<T>> {
        let end = Arc::new(ThreadEnd {
            result: Mutex::new(None),
            has_ended: BatchSemaphore::new(0, Fairness::StrictlyFair),
        });
        let (panics, name, own_end) = (Arc::clone(&scope.panics), self.name, Arc::clone(&end));
        let thread = scope.threads.spawn(move || {
            shuttle::current::set_name_for_task(shuttle::current::me(), name);
            let result = catch_unwind(AssertUnwindSafe(work));
            panics.fetch_add(usize::from(result.is_err()), Ordering::Relaxed);
            *own_end.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            own_end.has_ended.release_no_scheduling_point(1);
        });
        let waited = Arc::clone(&end);
        scope.waits.borrow_mut().push(Box::new(move || {
            waited.wait();
            while !thread.is_finished() {
                shuttle::thread::yield_now();
            }
        }));
        Ok(ScopedThread { end, panics: Arc::clone(&scope.panics) })
    }
}

/// A scope that waits for its threads.
pub(crate) struct Scope<'scope, 'env> {
    threads: &'scope shuttle::thread::Scope<'scope, 'env>,
    /// Each waits for a thread.
    waits: RefCell<Vec<Box<dyn FnOnce() + 'scope>>>,
    /// The number of panics that nobody has joined.
    panics: Arc<AtomicUsize>,
}

/// The end of a scoped thread.
struct ThreadEnd<T> {
    result: Mutex<Option<Result<T>>>,
    /// Has one permit once the thread has ended.
    has_ended: BatchSemaphore,
}

impl<T> ThreadEnd<T> {
    fn wait(&self) {
        let _ = self.has_ended.acquire_blocking(1);
        self.has_ended.release_no_scheduling_point(1);
    }
}

pub(crate) struct ScopedThread<T> {
    end: Arc<ThreadEnd<T>>,
    panics: Arc<AtomicUsize>,
}

impl<T> ScopedThread<T> {
    /// Waits for the end of the thread. Returns an error if it has panicked.
    pub(crate) fn join(self) -> Result<T> {
        self.end.wait();
        let result = self.end.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        let result = result.expect("only one thread joins it");
        self.panics.fetch_sub(usize::from(result.is_err()), Ordering::Relaxed);
        result
    }
}

/// Runs `work` and waits for the threads that it has started. Panics if `work` or such a thread has panicked.
///
/// Shuttle's scope waits for its threads only if nothing panics and there is no scope in the scope, whose last thread wakes
/// the same waiting thread. So this waits for them before.
pub(crate) fn scope<'env, T>(work: impl for<'a, 'scope> FnOnce(&'a Scope<'scope, 'env>) -> T) -> T {
    let panics = Arc::new(AtomicUsize::new(0));
    let result = shuttle::thread::scope(|threads| {
        let scope = Scope { threads, waits: RefCell::default(), panics: Arc::clone(&panics) };
        let result = catch_unwind(AssertUnwindSafe(|| work(&scope)));
        scope.waits.into_inner().into_iter().for_each(|wait| wait());
        result
    });
    match result {
        Err(panic) => resume_unwind(panic),
        Ok(_) if panics.load(Ordering::Relaxed) > 0 => resume_unwind(Box::new("a scoped thread panicked")),
        Ok(result) => result,
    }
}
