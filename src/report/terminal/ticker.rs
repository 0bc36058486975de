//! A thread that does the same again and again, until it is dropped.

use crate::panics::inject;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The thread; a drop waits for its end.
#[derive(Debug)]
pub(crate) struct Ticker {
    /// Above the handle, so that the thread sees its end before it is waited for.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Calls `act` after each `interval`; the first time after the first one.
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
            // A panic of it has been logged.
            let _ = thread.join();
        }
    }
}
