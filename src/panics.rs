//! Handles panics: logs each one, remembers it for the exit code, and stops the current run.
//!
//! Invariant: a panic of any thread ends the program with exit code 1, after the in-flight work has finished.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

thread_local! {
    /// Whether a panic of this thread is caught by [`contained`].
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };
}

#[derive(Debug, Clone)]
pub(crate) struct Panics(Arc<PanicState>);

type PanicAction = Box<dyn Fn(&str) + Send>;

#[derive(Default)]
struct PanicState {
    happened: AtomicBool,
    /// The message of the first panic.
    first: OnceLock<String>,
    /// Stops the current run.
    act: Mutex<Option<PanicAction>>,
}

impl Panics {
    /// Installs the panic hook. The hook of the standard library would block on standard error.
    pub(crate) fn install() -> Self {
        let shared = Arc::<PanicState>::default();
        let own = Arc::clone(&shared);
        std::panic::set_hook(Box::new(move |info| own.note(info)));
        Self(shared)
    }

    /// Whether a thread has panicked.
    pub(crate) fn happened(&self) -> bool {
        self.0.happened.load(Ordering::Acquire)
    }

    /// Calls `act` with the message of each panic, on the panicking thread, until the result is dropped. If a panic has
    /// already happened, calls it immediately.
    pub(crate) fn watch(&self, act: impl Fn(&str) + Send + 'static) -> PanicWatch {
        let mut current = self.0.lock();
        if let Some(message) = self.0.first.get() {
            act(message);
        }
        *current = Some(Box::new(act));
        drop(current);
        PanicWatch(Arc::clone(&self.0))
    }
}

/// See [`Panics::watch`].
pub(crate) struct PanicWatch(Arc<PanicState>);

impl Drop for PanicWatch {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

impl PanicState {
    fn note(&self, info: &PanicHookInfo<'_>) {
        if IS_CONTAINED.get() {
            return;
        }
        let thread = thread::current();
        let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
        let message = format!(
            "internal error: thread '{}' panicked{}: {}; run the same command again, and report this error if it \
             recurs",
            thread.name().unwrap_or("unnamed"),
            place.unwrap_or_default(),
            text_of(info.payload())
        );
        self.happened.store(true, Ordering::Release);
        let _ = self.first.set(message.clone());
        // Act first, because logging can block.
        if let Some(act) = &*self.lock() {
            act(&message);
        }
        log::error!("{message}");
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            log::error!("{backtrace}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<PanicAction>> {
        self.act.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for PanicState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Panics").field("happened", &self.happened).finish_non_exhaustive()
    }
}

/// The error of a thread that the system did not start.
pub(crate) const NO_THREAD: &str = "cannot start a thread\nhint: raise the limit of processes with 'ulimit -u', or lower KILLS_PARSE_THREADS";

/// Runs `work`, which may panic because of the machine: some libraries panic if they cannot start a thread or open a file.
/// The error is the panic's message. It is not logged and does not affect the exit code.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let was_contained = IS_CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_CONTAINED.set(was_contained);
    result.map_err(|payload| match text_of(&*payload) {
        // The library panics with the error of the system if it cannot start a thread.
        text if text.contains("code: 11,") => NO_THREAD.to_owned(),
        text => text.to_owned(),
    })
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Panics on request, for tests. Release builds contain an empty function.
///
/// # Panics
///
/// If the environment variable `AEGIS_KILLS_PANIC` names `point`.
#[cfg(debug_assertions)]
pub(crate) fn inject(point: &str) {
    assert!(std::env::var_os("AEGIS_KILLS_PANIC").is_none_or(|wanted| wanted != point), "injected");
}

/// Does nothing in release builds.
#[cfg(not(debug_assertions))]
#[inline]
pub(crate) fn inject(_point: &str) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contained_panic_is_an_error() {
        assert_eq!(contained(|| 1), Ok(1));
        assert_eq!(contained(|| panic!("no more {}", "threads")), Err::<(), _>("no more threads".to_owned()));
        assert!(!IS_CONTAINED.get());
    }
}
