//! The thread that looks each second how far the run has come.

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(1);

/// It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Sampler {
    /// Above the handle, so that the thread sees its end before it is waited for.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    pub(super) fn start(look: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (alive, ended) = bounded::<()>(0);
        let work = move || {
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                look();
            }
        };
        let thread = thread::Builder::new().name("status".to_owned()).spawn(work)?;
        Ok(Self { alive: Some(alive), thread: Some(thread) })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it has been printed.
            let _ = thread.join();
        }
    }
}
