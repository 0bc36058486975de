//! One place that says whether, and why, a run is to stop reading.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why a run stopped before the end of its input.
#[derive(Debug)]
pub(crate) enum ShutdownReason {
    /// A signal, by its number: what was read is to be stored.
    Signal(i32),
    /// More rejects than allowed: what was read is to be stored.
    RejectLimit,
    /// The rejects would take more than so many bytes: what was read is to be stored.
    RejectBytes(u64),
    /// The database or the reject file failed: nothing more can be stored.
    Failed(anyhow::Error),
    /// A thread panicked, with this message: what was read is to be stored as far as that goes.
    Panicked(String),
}

impl ShutdownReason {
    /// Of several reasons the one of the highest rank counts, and of one rank the first.
    fn rank(&self) -> u8 {
        match self {
            ShutdownReason::Signal(_) | ShutdownReason::RejectLimit | ShutdownReason::RejectBytes(_) => 0,
            ShutdownReason::Failed(_) => 1,
            ShutdownReason::Panicked(_) => 2,
        }
    }
}

/// A [`ShutdownReason`], seen from outside while the run comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// By a signal.
    Signal,
    /// By too many rejects.
    RejectLimit,
    /// By a failure.
    Failure,
}

/// Stops a run; the first reason counts, but a failure counts more than a wish to stop, and a panic more than both.
#[derive(Debug)]
pub(crate) struct Shutdown {
    reason: Mutex<Option<ShutdownReason>>,
    /// Dropped in order to wake whoever listens.
    alive: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
    /// Dropped in order to wake whoever waits for the database.
    patient: Mutex<Option<Sender<()>>>,
    aborted: Receiver<()>,
}

impl Default for Shutdown {
    fn default() -> Self {
        let (alive, stopped) = bounded(0);
        let (patient, aborted) = bounded(0);
        Self {
            reason: Mutex::new(None),
            alive: Mutex::new(Some(alive)),
            stopped,
            patient: Mutex::new(Some(patient)),
            aborted,
        }
    }
}

impl Shutdown {
    /// Stops the run.
    pub(crate) fn stop(&self, reason: ShutdownReason) {
        let mut current = lock(&self.reason);
        if current.as_ref().is_none_or(|current| current.rank() < reason.rank()) {
            *current = Some(reason);
        }
        let has_failed = matches!(*current, Some(ShutdownReason::Failed(_)));
        drop(current);
        drop(lock(&self.alive).take());
        if has_failed {
            // Others may wait for the database, or for a lock, for minutes.
            self.abort();
        }
    }

    /// A channel that is disconnected once the run is to stop.
    pub(crate) fn stopped(&self) -> Receiver<()> {
        self.stopped.clone()
    }

    /// Ends all waiting for the database: what is not stored by now stays unfinished.
    pub(crate) fn abort(&self) {
        drop(lock(&self.patient).take());
    }

    /// A channel that is disconnected once nobody is to wait for the database any more.
    pub(crate) fn aborted(&self) -> Receiver<()> {
        self.aborted.clone()
    }

    /// Whether nothing more can be stored.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(*lock(&self.reason), Some(ShutdownReason::Failed(_)))
    }

    /// Whether, and why, the run is about to end early.
    pub(crate) fn stopping(&self) -> Option<Stopping> {
        lock(&self.reason).as_ref().map(|reason| match reason {
            ShutdownReason::Signal(_) => Stopping::Signal,
            ShutdownReason::RejectLimit | ShutdownReason::RejectBytes(_) => Stopping::RejectLimit,
            ShutdownReason::Failed(_) | ShutdownReason::Panicked(_) => Stopping::Failure,
        })
    }

    /// Why the run stopped, if it did; it is told once.
    pub(crate) fn take_reason(&self) -> Option<ShutdownReason> {
        lock(&self.reason).take()
    }

    /// A guard that stops the run if the thread that holds it panics, so that no one waits for that thread.
    pub(crate) fn alarm(&self, thread: &'static str) -> Alarm<'_> {
        Alarm { shutdown: self, thread }
    }
}

/// See [`Shutdown::alarm`].
pub(crate) struct Alarm<'h> {
    shutdown: &'h Shutdown,
    thread: &'static str,
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shutdown.stop(ShutdownReason::Panicked(format!(
                "a {} thread panicked: run the same command again, and report it if that happens again",
                self.thread
            )));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in these is whole after every statement, so that a panic elsewhere spoils nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_of_the_highest_rank_counts() {
        let failed = || ShutdownReason::Failed(anyhow::anyhow!("broken"));
        let panicked = || ShutdownReason::Panicked("panicked".to_owned());
        let check = |reasons: Vec<ShutdownReason>, expected: &str, gives_up: bool| {
            let shutdown = Shutdown::default();
            let aborted = shutdown.aborted();
            for reason in reasons {
                shutdown.stop(reason);
            }
            assert!(shutdown.stopped().try_recv().is_err_and(|error| error.is_disconnected()));
            let has_given_up = aborted.try_recv().is_err_and(|error| error.is_disconnected());
            assert_eq!(has_given_up, gives_up, "{expected}");
            let name = match shutdown.take_reason() {
                Some(ShutdownReason::Signal(signal)) => format!("signal {signal}"),
                Some(ShutdownReason::RejectLimit | ShutdownReason::RejectBytes(_)) => "limit".to_owned(),
                Some(ShutdownReason::Failed(error)) => error.to_string(),
                Some(ShutdownReason::Panicked(message)) => message,
                None => "none".to_owned(),
            };
            assert_eq!(name, expected);
        };
        check(vec![ShutdownReason::Signal(15), ShutdownReason::RejectLimit], "signal 15", false);
        check(vec![ShutdownReason::Signal(15), failed(), ShutdownReason::Signal(2)], "broken", true);
        check(vec![ShutdownReason::RejectLimit, panicked(), failed()], "panicked", false);
        check(vec![failed(), panicked()], "panicked", true);
    }
}
