//! For how long a caller waits for the database.

use crossbeam_channel::{Receiver, after, at, never, select_biased};
use std::time::{Duration, Instant};

/// For how long a caller waits: until it is told to give up, or until a time.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Disconnected once it is over.
    given_up: Receiver<()>,
    until: Option<Instant>,
}

impl Patience {
    /// For as long as the settings let the database be away.
    pub fn endless() -> Self {
        Self { given_up: never(), until: None }
    }

    /// Until `given_up` is disconnected, or a message comes.
    pub fn until_told(given_up: Receiver<()>) -> Self {
        Self { given_up, until: None }
    }

    /// For this long from now.
    pub fn at_most(time: Duration) -> Self {
        Self { given_up: never(), until: Instant::now().checked_add(time) }
    }

    /// The same, but no longer than `time` from now.
    pub(crate) fn at_most_for(&self, time: Duration) -> Self {
        let until = Instant::now().checked_add(time);
        let until = self.until.map_or(until, |own| until.map_or(Some(own), |until| Some(own.min(until))));
        Self { given_up: self.given_up.clone(), until }
    }

    /// Waits for `receiver`, for at most `time`. Of several things that have come the first in this order counts.
    pub(crate) fn wait<T>(&self, receiver: &Receiver<T>, time: Duration) -> Waited<T> {
        let until = self.until.map_or_else(never, at);
        select_biased! {
            recv(receiver) -> message => message.map_or(Waited::Ended, Waited::Got),
            recv(self.given_up) -> _ => Waited::GivenUp,
            recv(until) -> _ => Waited::GivenUp,
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
    GivenUp,
    /// The time is over.
    TimeOver,
}
