//! SIGINT and SIGTERM: the first stops the reading, the second ends the program at once.

use crate::pipeline::{Halt, HaltReason};
use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::sync::Arc;
use std::thread;

/// Listens for as long as it lives.
pub(super) struct Listener {
    handle: Handle,
}

impl Listener {
    pub(super) fn start(halt: Arc<Halt>) -> anyhow::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals can't be listened for")?;
        let handle = signals.handle();
        let listen = move || {
            let mut seen = false;
            for signal in signals.forever() {
                if seen {
                    // Whatever was being written is rolled back by the database when the connection closes.
                    std::process::exit(128 + signal);
                }
                seen = true;
                log::warn!("stopping: what was read is being written; a second signal ends this at once");
                halt.stop(HaltReason::Signal(signal));
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)
            .context("a thread can't be started")?;
        Ok(Self { handle })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.close();
    }
}
