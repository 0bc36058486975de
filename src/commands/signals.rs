//! SIGINT and SIGTERM: the first stops the reading and gives a time to store what was read, the second ends the
//! program at once.

use crate::pipeline::{Halt, HaltReason};
use crate::report::Screen;
use anyhow::Context as _;
use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;
use signal_hook::iterator::{Handle, Signals};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Signals before a load listens for itself, and in commands that never do: they end the program at once.
#[derive(Debug)]
pub struct EarlySignals {
    end: Arc<AtomicBool>,
}

impl EarlySignals {
    /// Makes them end the program. Mostly the system does so by itself; but from process 1, which is what a container's
    /// program is, it keeps the signals that nobody handles.
    pub fn heed() -> anyhow::Result<Self> {
        let early = Self { end: Arc::new(AtomicBool::new(true)) };
        if std::process::id() == 1 {
            for signal in [SIGINT, SIGTERM] {
                register_conditional_shutdown(signal, 128 + signal, Arc::clone(&early.end))
                    .context("signals can't be listened for")?;
            }
        }
        Ok(early)
    }
}

/// Listens for as long as it lives.
pub(super) struct Listener {
    handle: Handle,
}

impl Listener {
    /// From here on a signal is a wish to stop with everything in order.
    pub(super) fn start(
        early: &EarlySignals,
        halt: Arc<Halt>,
        drain_timeout: Duration,
        screen: Screen,
    ) -> anyhow::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals can't be listened for")?;
        early.end.store(false, Ordering::SeqCst);
        let handle = signals.handle();
        let listen = move || {
            let mut seen = false;
            for signal in signals.forever() {
                if seen {
                    screen.clear_at_once();
                    // Whatever was being written is rolled back by the database when the connection closes.
                    std::process::exit(128 + signal);
                }
                seen = true;
                log::warn!("stopping: what was read is being written; a second signal ends this at once");
                halt.stop(HaltReason::Signal(signal));
                give_up_after(Arc::clone(&halt), drain_timeout);
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

/// Stops what still waits for the database once the time is over.
fn give_up_after(halt: Arc<Halt>, drain_timeout: Duration) {
    let wait = move || {
        thread::sleep(drain_timeout);
        log::warn!("the time to finish is over: what is not stored by now stays unfinished");
        halt.give_up();
    };
    if thread::Builder::new().name("drain".to_owned()).spawn(wait).is_err() {
        log::warn!("no thread can be started to watch the time; a second signal ends this at once");
    }
}

/// Says which signal is to end a command that has nothing to store.
pub(super) struct Ends {
    pub(super) signals: Receiver<i32>,
    handle: Handle,
}

/// Listens for as long as the result lives.
pub(super) fn ends() -> anyhow::Result<Ends> {
    let mut arriving = Signals::new([SIGINT, SIGTERM]).context("signals can't be listened for")?;
    let handle = arriving.handle();
    let (sender, signals) = bounded(1);
    let listen = move || {
        for signal in arriving.forever() {
            if sender.try_send(signal).is_err() {
                std::process::exit(128 + signal);
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen).context("a thread can't be started")?;
    Ok(Ends { signals, handle })
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.handle.close();
    }
}
