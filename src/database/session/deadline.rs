//! For how long a caller waits for the database.

use crossbeam_channel::{Receiver, after, at, never, select_biased};
use std::time::{Duration, Instant};

/// For how long a caller waits: until it is told to give up, or until a time.
#[derive(Debug, Clone)]
pub struct Deadline {
    /// Disconnected once it is over.
    aborted: Receiver<()>,
    until: Option<Instant>,
}

impl Deadline {
    /// For as long as the settings let the database be away.
    pub fn unbounded() -> Self {
        Self { aborted: never(), until: None }
    }

    /// Until `aborted` is disconnected, or a message comes.
    pub fn until_cancelled(aborted: Receiver<()>) -> Self {
        Self { aborted, until: None }
    }

    /// For this long from now.
    pub fn at_most(time: Duration) -> Self {
        Self { aborted: never(), until: Instant::now().checked_add(time) }
    }

    /// The same, but no longer than `time` from now.
    pub(crate) fn at_most_for(&self, time: Duration) -> Self {
        let until = Instant::now().checked_add(time);
        let until = self.until.map_or(until, |own| until.map_or(Some(own), |until| Some(own.min(until))));
        Self { aborted: self.aborted.clone(), until }
    }

    /// Waits for `receiver`, for at most `time`. Of several things that have come the first in this order counts.
    pub(crate) fn wait<T>(&self, receiver: &Receiver<T>, time: Duration) -> Waited<T> {
        let until = self.until.map_or_else(never, at);
        select_biased! {
            recv(receiver) -> message => message.map_or(Waited::Ended, Waited::Got),
            recv(self.aborted) -> _ => Waited::Aborted,
            recv(until) -> _ => Waited::Aborted,
            recv(after(time)) -> _ => Waited::TimeOver,
        }
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        !self.sleep(Duration::ZERO)
    }

    /// Waits for `time`; false if the caller's patience is over before.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        matches!(self.wait::<()>(&never(), time), Waited::TimeOver)
    }
}

/// What ended a wait.
#[derive(Debug)]
pub(crate) enum Waited<T> {
    /// What was waited for.
    Got(T),
    /// Nobody is left who could send it.
    Ended,
    /// The caller's patience is over.
    Aborted,
    /// The time is over.
    TimeOver,
}
