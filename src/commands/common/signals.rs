//! Stop requests: SIGINT, SIGTERM and SIGHUP. The first signal stops reading and starts the drain time for the events read.
//! A second signal at least 1 s later aborts. Earlier ones are the same request, because GNU `timeout` and terminals send
//! signals twice.
//!
//! Invariant: the threads here wait only for signals and the clock, and act before they log.

use crate::panics::{NO_THREAD, PanicWatch, Panics, inject};
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::report::terminal::screen::Screen;
use crate::sync::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use anyhow::Context as _;
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

/// The time after the drain timeout in which a load must abort and print its summary, before the process exits. Nothing
/// should take that long, except for example a hanging disk.
const END_MAX: Duration = Duration::from_mins(1);

fn stop_signals() -> Vec<i32> {
    // 'nohup' starts a program with SIGHUP ignored.
    if is_ignored(SIGHUP) { vec![SIGINT, SIGTERM] } else { vec![SIGINT, SIGTERM, SIGHUP] }
}

/// Whether this program was started with a signal ignored. If that is unknown, the signal counts as ignored.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The process-wide resources of a command that reads dumps.
#[derive(Debug)]
pub(crate) struct Process<'p> {
    /// Handles signals until the command installs its own listener.
    pub signals: &'p EarlySignals,
    pub panics: &'p Panics,
    /// The output of the log and the progress.
    pub screen: &'p Screen,
}

/// Handles signals before a [`Listener`] starts, and in commands without one: they end the program immediately.
#[derive(Debug)]
pub(crate) struct EarlySignals {
    end: Arc<AtomicBool>,
}

impl EarlySignals {
    /// Makes signals end the program. The system does that by default, but not for process 1, which a container's program
    /// is: the kernel drops unhandled signals of process 1.
    pub(crate) fn install() -> anyhow::Result<Self> {
        // With a handler, a file size limit (ulimit -f) becomes a write error, which is reported.
        register(SIGXFSZ, Arc::default()).context(INSTALL_FAILED)?;
        let early = Self { end: Arc::new(AtomicBool::new(true)) };
        if std::process::id() == 1 {
            for signal in stop_signals() {
                register_conditional_shutdown(signal, 128 + signal, Arc::clone(&early.end))
                    .context(INSTALL_FAILED)?;
            }
        }
        Ok(early)
    }
}

const INSTALL_FAILED: &str = "cannot install signal handlers";

/// Called before a signal ends the program during the preparation of a load.
pub(crate) type OnStop = Box<dyn FnOnce() + Send>;

/// How a command ends after a stop request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DrainPolicy {
    /// The time to finish the work in progress.
    timeout: Duration,
    /// The log line of a request.
    notice: &'static str,
    /// The log line after `timeout`, if work in progress is lost then.
    too_late: Option<&'static str>,
    /// The log line of a second request, after which there is no summary.
    aborted: &'static str,
}

impl DrainPolicy {
    /// A load stores the events that it has read, within `timeout`.
    pub(crate) fn of_load(timeout: Duration) -> Self {
        Self {
            timeout,
            notice: "stopping: writing the events read so far; another signal after 1 s aborts",
            too_late: Some("drain timeout exceeded: events not stored yet stay unfinished"),
            aborted: "aborted: all committed events stay stored; to resume, run the same command again",
        }
    }

    /// A deletion ends after the current transactions, within `timeout`.
    pub(crate) fn of_delete(timeout: Duration) -> Self {
        Self {
            timeout,
            notice: "stopping after the current batch; another signal after 1 s aborts",
            too_late: Some("drain timeout exceeded: the current batch is rolled back"),
            aborted: "aborted: the committed batches stay deleted; to delete the rest, run the same command again",
        }
    }

    /// A command that writes nothing loses nothing, so it needs no time.
    pub(crate) fn without_writes() -> Self {
        let notice = "stopping; another signal after 1 s aborts";
        Self { timeout: BLOCKED_MAX, notice, too_late: None, aborted: "aborted" }
    }
}

/// The phase in which a stop request arrives.
enum StopPhase {
    /// Nothing is read or stored: the program reports that and ends immediately.
    Preparing(OnStop),
    Running,
    Over,
}

/// Handles stop requests while it exists: during the preparation they end the program, and from [`begin`](Self::begin) on
/// they drain the run. After it is dropped they end the program immediately.
pub(crate) struct Listener {
    phase: Arc<Mutex<StopPhase>>,
    /// Dropped with the listener, so that the drain's clock stops.
    _alive: Sender<()>,
    _panics: PanicWatch,
}

impl Listener {
    /// Starts to handle signals as stop requests; a panic stops the run in the same way. `stopped` reports a load that ends
    /// during its preparation. Without it, a request drains from the start.
    pub(crate) fn start(
        process: &Process<'_>,
        shutdown: &Arc<Shutdown>,
        policy: DrainPolicy,
        stopped: Option<OnStop>,
    ) -> anyhow::Result<Self> {
        let signals = Signals::new(stop_signals()).context(INSTALL_FAILED)?;
        process.signals.end.store(false, Ordering::SeqCst);
        let screen = process.screen.clone();
        let phase = Arc::new(Mutex::new(stopped.map_or(StopPhase::Running, StopPhase::Preparing)));
        let (request, requested) = bounded(1);
        let (alive, ended) = bounded(0);
        let (requests, ends, begin_drain) = (Arc::clone(shutdown), Arc::clone(&phase), request.clone());
        spawn("signals", move || {
            listen(signals, &requests, &ends, &begin_drain, (&screen, policy));
        })?;
        let drained = Arc::clone(shutdown);
        spawn("drain", move || drain(&requested, &ended, &drained, policy))?;
        let broken = Arc::clone(shutdown);
        let watch = process.panics.watch(move |message| {
            broken.stop(ShutdownReason::Panicked(message.to_owned()));
            let _ = request.try_send(1);
        });
        Ok(Self { phase, _alive: alive, _panics: watch })
    }

    /// Makes later stop requests drain the run.
    pub(crate) fn begin(&self) {
        *lock(&self.phase) = StopPhase::Running;
    }

    /// Makes later stop requests end the program immediately.
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
    spawned.map(drop).context(NO_THREAD)
}

/// Stops the run at the first signal. `begin` starts the drain and gets the exit code if the run does not end in time.
fn listen(
    mut signals: Signals,
    shutdown: &Shutdown,
    phase: &Mutex<StopPhase>,
    begin: &Sender<i32>,
    (screen, policy): (&Screen, DrainPolicy),
) {
    let mut first: Option<Instant> = None;
    for signal in signals.forever() {
        inject("signals");
        let mut phase = lock(phase);
        if let StopPhase::Preparing(_) = *phase
            && let StopPhase::Preparing(stopped) = mem::replace(&mut *phase, StopPhase::Over)
        {
            // The summary's reader may not read.
            exit_after(BLOCKED_MAX, signal);
            screen.clear_at_once();
            // The lock is held, so that the run cannot begin meanwhile.
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
                // A panic may have already started the drain.
                let _ = begin.try_send(128 + signal);
                // Logging does not block.
                log::warn!("{}", policy.notice);
            }
            _ => {
                if is_running {
                    log::warn!("{}", policy.aborted);
                }
                screen.clear_at_once();
                // The database rolls back open transactions when the connections close.
                std::process::exit(128 + signal);
            }
        }
    }
}

/// Waits for a stop request, then for the end of the run. After the drain timeout it aborts waits for the database.
fn drain(requested: &Receiver<i32>, ended: &Receiver<()>, shutdown: &Shutdown, policy: DrainPolicy) {
    let Ok(code) = requested.recv() else { return };
    inject("drain");
    let has_ended = |time| ended.recv_timeout(time) != Err(RecvTimeoutError::Timeout);
    if has_ended(policy.timeout) {
        return;
    }
    shutdown.abort();
    if let Some(too_late) = policy.too_late {
        log::warn!("{too_late}");
    }
    if !has_ended(END_MAX) {
        log::error!("the program did not end within 1 min after the drain timeout: aborted");
        log::logger().flush();
        std::process::exit(code);
    }
}

/// How long a command without data to store may take to end after a signal.
const BLOCKED_MAX: Duration = Duration::from_secs(2);

/// Ends the program after this time, or at once if that is not possible.
fn exit_after(time: Duration, signal: i32) {
    let exit = move || {
        thread::sleep(time);
        std::process::exit(128 + signal);
    };
    if spawn("blocked", exit).is_err() {
        std::process::exit(128 + signal);
    }
}

/// Receives the signal that ends a command without data to store.
pub(crate) struct Ends {
    pub(crate) signals: Receiver<i32>,
    handle: Handle,
}

/// Handles signals while the result exists.
pub(crate) fn ends() -> anyhow::Result<Ends> {
    let mut arriving = Signals::new(stop_signals()).context(INSTALL_FAILED)?;
    let handle = arriving.handle();
    let (sender, signals) = bounded(1);
    spawn("signals", move || {
        for signal in arriving.forever() {
            if sender.try_send(signal).is_err() {
                std::process::exit(128 + signal);
            }
            // The command may be blocked by a reader of its output.
            exit_after(BLOCKED_MAX, signal);
        }
    })?;
    Ok(Ends { signals, handle })
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.handle.close();
    }
}
