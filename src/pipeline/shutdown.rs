//! The shutdown state of a run: whether it must stop reading, and why.

use crate::pipeline::run_error::RunError;
use crate::sync::channel::{Receiver, Sender, bounded};
use crate::sync::{Mutex, lock, thread};

/// The reason why a run stopped before the end of its input.
#[derive(Debug)]
pub(crate) enum ShutdownReason {
    /// A signal, with its number. Events already read are stored.
    Signal(i32),
    /// More rejects than allowed. Events already read are stored.
    RejectLimit,
    /// The reject file would exceed this number of bytes. Events already read are stored.
    RejectBytes(u64),
    /// The database or the reject file failed. Nothing more can be stored.
    Failed(RunError),
    /// A thread panicked, with this message. Events already read are stored as far as possible.
    Panicked(String),
}

impl ShutdownReason {
    /// Returns the rank. The first reason of the highest rank is kept.
    fn rank(&self) -> u8 {
        match self {
            ShutdownReason::Signal(_) | ShutdownReason::RejectLimit | ShutdownReason::RejectBytes(_) => 0,
            ShutdownReason::Failed(_) => 1,
            ShutdownReason::Panicked(_) => 2,
        }
    }
}

/// The kind of a [`ShutdownReason`], for observers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopping {
    Signal,
    RejectLimit,
    Failure,
}

/// Stops a run. The first reason is kept, but a failure overrides a stop request, and a panic overrides both.
#[derive(Debug)]
pub(crate) struct Shutdown {
    reason: Mutex<Option<ShutdownReason>>,
    /// Dropped to disconnect `stopped`.
    drain: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
    /// Dropped to disconnect `aborted`.
    abort: Mutex<Option<Sender<()>>>,
    aborted: Receiver<()>,
}

impl Default for Shutdown {
    fn default() -> Self {
        let (drain, stopped) = bounded(0);
        let (abort, aborted) = bounded(0);
        Self {
            reason: Mutex::new(None),
            drain: Mutex::new(Some(drain)),
            stopped,
            abort: Mutex::new(Some(abort)),
            aborted,
        }
    }
}

impl Shutdown {
    pub(crate) fn stop(&self, reason: ShutdownReason) {
        let mut current = lock(&self.reason);
        if current.as_ref().is_none_or(|current| current.rank() < reason.rank()) {
            *current = Some(reason);
        }
        let has_failed = matches!(*current, Some(ShutdownReason::Failed(_)));
        drop(current);
        drop(lock(&self.drain).take());
        if has_failed {
            // Other threads may be waiting for the database or for a lock, for minutes.
            self.abort();
        }
    }

    /// Returns a channel that is disconnected when the run must stop.
    pub(crate) fn stopped(&self) -> Receiver<()> {
        self.stopped.clone()
    }

    /// Ends all waits for the database. Events not stored by now remain unfinished.
    pub(crate) fn abort(&self) {
        drop(lock(&self.abort).take());
    }

    /// Returns a channel that is disconnected when waits for the database must end.
    pub(crate) fn aborted(&self) -> Receiver<()> {
        self.aborted.clone()
    }

    /// Returns whether storing has failed for good.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(*lock(&self.reason), Some(ShutdownReason::Failed(_)))
    }

    /// Returns the kind of the reason if the run is about to end early.
    pub(crate) fn stopping(&self) -> Option<Stopping> {
        lock(&self.reason).as_ref().map(|reason| match reason {
            ShutdownReason::Signal(_) => Stopping::Signal,
            ShutdownReason::RejectLimit | ShutdownReason::RejectBytes(_) => Stopping::RejectLimit,
            ShutdownReason::Failed(_) | ShutdownReason::Panicked(_) => Stopping::Failure,
        })
    }

    /// Takes the reason why the run stopped, if it did. Later calls return none.
    pub(crate) fn take_reason(&self) -> Option<ShutdownReason> {
        lock(&self.reason).take()
    }

    /// Takes the reason if it is a panic, also one since the reason of the run was taken.
    pub(crate) fn take_panic(&self) -> Option<ShutdownReason> {
        lock(&self.reason).take_if(|reason| matches!(reason, ShutdownReason::Panicked(_)))
    }

    /// Returns a guard that stops the run if its thread panics, so that nothing waits for that thread.
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
        if thread::panicking() {
            self.shutdown.stop(ShutdownReason::Panicked(format!(
                "a {} thread panicked: run the same command again, and report this error if it recurs",
                self.thread
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_of_the_highest_rank_is_kept() {
        let failed = || ShutdownReason::Failed(anyhow::anyhow!("broken").into());
        let panicked = || ShutdownReason::Panicked("panicked".to_owned());
        let check = |reasons: Vec<ShutdownReason>, expected: &str, aborts: bool| {
            let shutdown = Shutdown::default();
            let aborted = shutdown.aborted();
            for reason in reasons {
                shutdown.stop(reason);
            }
            assert!(shutdown.stopped().try_recv().is_err_and(|error| error.is_disconnected()));
            let has_aborted = aborted.try_recv().is_err_and(|error| error.is_disconnected());
            assert_eq!(has_aborted, aborts, "{expected}");
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

    #[test]
    fn a_panic_after_the_run_is_found_and_a_signal_stays() {
        let shutdown = Shutdown::default();
        assert!(shutdown.take_reason().is_none());
        shutdown.stop(ShutdownReason::Signal(15));
        assert!(shutdown.take_panic().is_none());
        assert_eq!(shutdown.stopping(), Some(Stopping::Signal));
        shutdown.stop(ShutdownReason::Panicked("panicked".to_owned()));
        assert!(matches!(shutdown.take_panic(), Some(ShutdownReason::Panicked(_))));
        assert!(shutdown.take_panic().is_none());
    }
}
