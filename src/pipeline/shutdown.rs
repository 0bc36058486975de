//! One place that says whether, and why, a run is to stop reading.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why a run stopped before the end of its input.
#[derive(Debug)]
pub(crate) enum HaltReason {
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

impl HaltReason {
    /// Of several reasons the one of the highest rank counts, and of one rank the first.
    fn rank(&self) -> u8 {
        match self {
            HaltReason::Signal(_) | HaltReason::RejectLimit | HaltReason::RejectBytes(_) => 0,
            HaltReason::Failed(_) => 1,
            HaltReason::Panicked(_) => 2,
        }
    }
}

/// A [`HaltReason`], seen from outside while the run comes to its end.
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
pub(crate) struct Halt {
    reason: Mutex<Option<HaltReason>>,
    /// Dropped in order to wake whoever listens.
    alive: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
    /// Dropped in order to wake whoever waits for the database.
    patient: Mutex<Option<Sender<()>>>,
    given_up: Receiver<()>,
}

impl Default for Halt {
    fn default() -> Self {
        let (alive, stopped) = bounded(0);
        let (patient, given_up) = bounded(0);
        Self {
            reason: Mutex::new(None),
            alive: Mutex::new(Some(alive)),
            stopped,
            patient: Mutex::new(Some(patient)),
            given_up,
        }
    }
}

impl Halt {
    /// Stops the run.
    pub(crate) fn stop(&self, reason: HaltReason) {
        let mut current = lock(&self.reason);
        if current.as_ref().is_none_or(|current| current.rank() < reason.rank()) {
            *current = Some(reason);
        }
        let has_failed = matches!(*current, Some(HaltReason::Failed(_)));
        drop(current);
        drop(lock(&self.alive).take());
        if has_failed {
            // Others may wait for the database, or for a lock, for minutes.
            self.give_up();
        }
    }

    /// A channel that is disconnected once the run is to stop.
    pub(crate) fn stopped(&self) -> Receiver<()> {
        self.stopped.clone()
    }

    /// Ends all waiting for the database: what is not stored by now stays unfinished.
    pub(crate) fn give_up(&self) {
        drop(lock(&self.patient).take());
    }

    /// A channel that is disconnected once nobody is to wait for the database any more.
    pub(crate) fn given_up(&self) -> Receiver<()> {
        self.given_up.clone()
    }

    /// Whether nothing more can be stored.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(*lock(&self.reason), Some(HaltReason::Failed(_)))
    }

    /// Whether, and why, the run is about to end early.
    pub(crate) fn stopping(&self) -> Option<Stopping> {
        lock(&self.reason).as_ref().map(|reason| match reason {
            HaltReason::Signal(_) => Stopping::Signal,
            HaltReason::RejectLimit | HaltReason::RejectBytes(_) => Stopping::RejectLimit,
            HaltReason::Failed(_) | HaltReason::Panicked(_) => Stopping::Failure,
        })
    }

    /// Why the run stopped, if it did; it is told once.
    pub(crate) fn take_reason(&self) -> Option<HaltReason> {
        lock(&self.reason).take()
    }

    /// A guard that stops the run if the thread that holds it panics, so that no one waits for that thread.
    pub(crate) fn alarm(&self, thread: &'static str) -> Alarm<'_> {
        Alarm { halt: self, thread }
    }
}

/// See [`Halt::alarm`].
pub(crate) struct Alarm<'h> {
    halt: &'h Halt,
    thread: &'static str,
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.halt.stop(HaltReason::Panicked(format!(
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
        let failed = || HaltReason::Failed(anyhow::anyhow!("broken"));
        let panicked = || HaltReason::Panicked("panicked".to_owned());
        let check = |reasons: Vec<HaltReason>, expected: &str, gives_up: bool| {
            let halt = Halt::default();
            let given_up = halt.given_up();
            for reason in reasons {
                halt.stop(reason);
            }
            assert!(halt.stopped().try_recv().is_err_and(|error| error.is_disconnected()));
            let has_given_up = given_up.try_recv().is_err_and(|error| error.is_disconnected());
            assert_eq!(has_given_up, gives_up, "{expected}");
            let name = match halt.take_reason() {
                Some(HaltReason::Signal(signal)) => format!("signal {signal}"),
                Some(HaltReason::RejectLimit | HaltReason::RejectBytes(_)) => "limit".to_owned(),
                Some(HaltReason::Failed(error)) => error.to_string(),
                Some(HaltReason::Panicked(message)) => message,
                None => "none".to_owned(),
            };
            assert_eq!(name, expected);
        };
        check(vec![HaltReason::Signal(15), HaltReason::RejectLimit], "signal 15", false);
        check(vec![HaltReason::Signal(15), failed(), HaltReason::Signal(2)], "broken", true);
        check(vec![HaltReason::RejectLimit, panicked(), failed()], "panicked", false);
        check(vec![failed(), panicked()], "panicked", true);
    }
}
