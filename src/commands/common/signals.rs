//! Stop requests: SIGINT, SIGTERM and SIGHUP. The first stops the reading and gives a time to store what was read. One that
//! comes at least a second later ends the program at once; until then it is the same request, as GNU `timeout` and terminals
//! send their signals twice.
//!
//! Invariant: the threads here wait for nothing but signals and the clock, and act before they log.

use crate::panics::{PanicWatch, Panics, inject};
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::report::terminal::screen::Screen;
use anyhow::Context as _;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag::{register, register_conditional_shutdown};
use signal_hook::iterator::{Handle, Signals};
use std::fs;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Signals within this time are one request.
const REPEAT_MAX: Duration = Duration::from_secs(1);

/// What a load may take after the time to drain is over, to give up and say so; it is ended then. Nothing should take that
/// long: this is for a disk that hangs, say.
const END_MAX: Duration = Duration::from_mins(1);

/// The signals that are a request to stop.
fn stop_signals() -> Vec<i32> {
    // 'nohup' has a program started that way.
    if is_ignored(SIGHUP) { vec![SIGINT, SIGTERM] } else { vec![SIGINT, SIGTERM, SIGHUP] }
}

/// Whether this program was started with a signal ignored. Where that can't be known it counts as ignored, and then stays as
/// it is.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Signals before a load listens for itself, and in commands that never do: they end the program at once.
#[derive(Debug)]
pub(crate) struct EarlySignals {
    end: Arc<AtomicBool>,
}

impl EarlySignals {
    /// Makes them end the program. Mostly the system does so by itself; but from process 1, which is what a container's
    /// program is, it keeps the signals that nobody handles.
    pub(crate) fn install() -> anyhow::Result<Self> {
        // A file that may not grow (ulimit -f) is then an error of the write, which is reported.
        register(SIGXFSZ, Arc::default()).context("signals can't be listened for")?;
        let early = Self { end: Arc::new(AtomicBool::new(true)) };
        if std::process::id() == 1 {
            for signal in stop_signals() {
                register_conditional_shutdown(signal, 128 + signal, Arc::clone(&early.end))
                    .context("signals can't be listened for")?;
            }
        }
        Ok(early)
    }
}

/// Called before a signal ends the program while a load is prepared.
pub(crate) type OnStop = Box<dyn FnOnce() + Send>;

/// What a stop request ends.
enum StopPhase {
    /// Nothing is read and nothing is stored: the program ends at once, after it has said so.
    Preparing(OnStop),
    Running,
    Over,
}

/// Makes stop requests end the preparation at once, and drain the run from its [`begin`](Self::begin) on, for as long as it
/// lives. After that they end the program at once.
pub(crate) struct Listener {
    phase: Arc<Mutex<StopPhase>>,
    /// Dropped with the listener, so that the drain's clock stops.
    _alive: Sender<()>,
    _panics: PanicWatch,
}

impl Listener {
    /// From here on a signal is a request to stop, and a panic ends the run in the same way. `stopped` reports a load that did
    /// not come to its beginning; without it, a request drains from the start.
    pub(crate) fn start(
        early: &EarlySignals,
        panics: &Panics,
        shutdown: &Arc<Shutdown>,
        drain_timeout: Duration,
        screen: Screen,
        stopped: Option<OnStop>,
    ) -> anyhow::Result<Self> {
        let signals = Signals::new(stop_signals()).context("signals can't be listened for")?;
        early.end.store(false, Ordering::SeqCst);
        let phase = Arc::new(Mutex::new(stopped.map_or(StopPhase::Running, StopPhase::Preparing)));
        let (request, requested) = bounded(1);
        let (alive, ended) = bounded(0);
        let (requests, ends, begin_drain) = (Arc::clone(shutdown), Arc::clone(&phase), request.clone());
        spawn("signals", move || listen(signals, &requests, &ends, &begin_drain, &screen))?;
        let drained = Arc::clone(shutdown);
        spawn("drain", move || drain(&requested, &ended, &drained, drain_timeout))?;
        let broken = Arc::clone(shutdown);
        let watch = panics.watch(move |message| {
            broken.stop(ShutdownReason::Panicked(message.to_owned()));
            let _ = request.try_send(Drain { code: 1 });
        });
        Ok(Self { phase, _alive: alive, _panics: watch })
    }

    /// From here on a stop request drains the run.
    pub(crate) fn begin(&self) {
        *lock(&self.phase) = StopPhase::Running;
    }

    /// From here on a stop request ends the program at once.
    pub(crate) fn end(&self) {
        *lock(&self.phase) = StopPhase::Over;
    }
}

fn lock(phase: &Mutex<StopPhase>) -> MutexGuard<'_, StopPhase> {
    phase.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).context("a thread can't be started")
}

/// The run is to end.
struct Drain {
    /// With which exit code, if it does not end by itself.
    code: i32,
}

fn listen(
    mut signals: Signals,
    shutdown: &Shutdown,
    phase: &Mutex<StopPhase>,
    begin: &Sender<Drain>,
    screen: &Screen,
) {
    let mut first: Option<Instant> = None;
    for signal in signals.forever() {
        inject("signals");
        let mut phase = lock(phase);
        if let StopPhase::Preparing(_) = *phase
            && let StopPhase::Preparing(stopped) = mem::replace(&mut *phase, StopPhase::Over)
        {
            // With the lock, so that the run does not begin meanwhile.
            stopped();
            screen.clear_at_once();
            std::process::exit(128 + signal);
        }
        let is_running = matches!(*phase, StopPhase::Running);
        drop(phase);
        match first {
            Some(first) if first.elapsed() < REPEAT_MAX => {}
            None if is_running => {
                first = Some(Instant::now());
                shutdown.stop(ShutdownReason::Signal(signal));
                // A panic may have begun it.
                let _ = begin.try_send(Drain { code: 128 + signal });
                // The log waits for nobody.
                log::warn!(
                    "stopping: what was read is being written; another signal, 1 s from now or later, ends this at once"
                );
            }
            _ => {
                screen.clear_at_once();
                // Whatever was being written is rolled back by the database when the connection closes.
                std::process::exit(128 + signal);
            }
        }
    }
}

/// Waits for the run to be stopped, and then for its end: it stops what still waits for the database once the time is over.
fn drain(requested: &Receiver<Drain>, ended: &Receiver<()>, shutdown: &Shutdown, timeout: Duration) {
    let Ok(Drain { code }) = requested.recv() else { return };
    inject("drain");
    let has_ended = |time| ended.recv_timeout(time) != Err(RecvTimeoutError::Timeout);
    if has_ended(timeout) {
        return;
    }
    shutdown.abort();
    log::warn!("the time to finish is over: what is not stored by now stays unfinished");
    if !has_ended(END_MAX) {
        log::error!("the program does not come to its end by itself, and is ended");
        log::logger().flush();
        std::process::exit(code);
    }
}

/// Says which signal is to end a command that has nothing to store.
pub(crate) struct Ends {
    pub(crate) signals: Receiver<i32>,
    handle: Handle,
}

/// Listens for as long as the result lives.
pub(crate) fn ends() -> anyhow::Result<Ends> {
    let mut arriving = Signals::new(stop_signals()).context("signals can't be listened for")?;
    let handle = arriving.handle();
    let (sender, signals) = bounded(1);
    spawn("signals", move || {
        for signal in arriving.forever() {
            if sender.try_send(signal).is_err() {
                std::process::exit(128 + signal);
            }
        }
    })?;
    Ok(Ends { signals, handle })
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.handle.close();
    }
}
