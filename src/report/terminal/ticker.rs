//! A thread that calls a function at an interval until it is dropped.

use crate::panics::inject;
use crate::sync::channel::{RecvTimeoutError, Sender, bounded};
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The handle of the thread. Dropping it ends the thread and waits for it.
#[derive(Debug)]
pub(crate) struct Ticker {
    /// Declared before the handle, so that a drop signals the end before it joins.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Calls `act` after each `interval`, for the first time after the first interval.
    pub(crate) fn start(
        name: &str,
        interval: Duration,
        mut act: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let (alive, ended) = bounded::<()>(0);
        let point = name.to_owned();
        let work = move || {
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                inject(&point);
                act();
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { alive: Some(alive), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // The hook has already logged a panic.
            let _ = thread.join();
        }
    }
}
