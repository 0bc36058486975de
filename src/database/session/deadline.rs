//! Limits for the wait of a caller for the database.

use crate::sync::channel::{Receiver, after, at, never, select_biased};
use std::time::{Duration, Instant};

/// The limit of a wait: a cancellation, a time, or neither.
#[derive(Debug, Clone)]
pub struct Deadline {
    /// Disconnected by the cancellation.
    aborted: Receiver<()>,
    /// Disconnected by a request that ends waits for an unreachable database, but no call.
    outages_over: Receiver<()>,
    until: Option<Instant>,
}

impl Deadline {
    /// No limit other than the outage time-out of the settings.
    pub fn unbounded() -> Self {
        Self { aborted: never(), outages_over: never(), until: None }
    }

    /// Until `aborted` is disconnected or receives a message.
    pub fn until_cancelled(aborted: Receiver<()>) -> Self {
        Self { aborted, outages_over: never(), until: None }
    }

    /// For this long from now.
    pub fn at_most(time: Duration) -> Self {
        Self { aborted: never(), outages_over: never(), until: Instant::now().checked_add(time) }
    }

    /// The same limit. Once `stopped` is disconnected, an outage ends the wait at once, but calls continue.
    pub(crate) fn without_outages_after(self, stopped: Receiver<()>) -> Self {
        Self { outages_over: stopped, ..self }
    }

    /// The same limit, but at most `time` from now.
    pub(crate) fn at_most_for(&self, time: Duration) -> Self {
        let until = Instant::now().checked_add(time);
        let until = self.until.map_or(until, |own| until.map_or(Some(own), |until| Some(own.min(until))));
        Self { until, ..self.clone() }
    }

    /// Waits for `receiver`, for at most `time`. If several events have occurred, the first in this order counts.
    pub(crate) fn wait<T>(&self, receiver: &Receiver<T>, time: Duration) -> Waited<T> {
        self.wait_unless(receiver, time, &never())
    }

    /// The same during an outage, which `receiver` ends.
    pub(crate) fn wait_during_outage<T>(&self, receiver: &Receiver<T>, time: Duration) -> Waited<T> {
        self.wait_unless(receiver, time, &self.outages_over)
    }

    fn wait_unless<T>(&self, receiver: &Receiver<T>, time: Duration, over: &Receiver<()>) -> Waited<T> {
        let until = self.until.map_or_else(never, at);
        select_biased! {
            recv(receiver) -> message => message.map_or(Waited::Ended, Waited::Got),
            recv(self.aborted) -> _ => Waited::Aborted,
            recv(over) -> _ => Waited::Aborted,
            recv(until) -> _ => Waited::Aborted,
            recv(after(time)) -> _ => Waited::TimeOver,
        }
    }

    /// Whether the deadline is over.
    pub(crate) fn is_over(&self) -> bool {
        !self.sleep(Duration::ZERO)
    }

    /// Waits for `time`. Returns false if the deadline ends before.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        matches!(self.wait::<()>(&never(), time), Waited::TimeOver)
    }
}

/// The end of a wait.
#[derive(Debug)]
pub(crate) enum Waited<T> {
    /// The expected message.
    Got(T),
    /// All senders are gone.
    Ended,
    /// The deadline is over.
    Aborted,
    TimeOver,
}
