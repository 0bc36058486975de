//! The gate: while the database is away all who want it wait here together, and one watchdog looks after it.
//!
//! Invariant: nobody waits longer than the settings allow since the database last did anything for anyone.

use super::classify::{DatabaseError, ErrorClass};
use super::patience::{Patience, Waited};
use super::retry::RetryPolicy;
use super::session::Opener;
use crate::causes::in_full;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A database that is back is noticed within this time.
const PROBE_DELAY_MAX: Duration = Duration::from_secs(5);

/// Whether the database is there.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    /// Wakes the watchdog.
    closings: Sender<()>,
    away_timeout: Duration,
}

#[derive(Debug)]
struct State {
    /// While it is away.
    closed: Option<Closed>,
    /// When it was last found away.
    closed_last: Option<Instant>,
    /// How often in a row the database was found away. Each makes the next wait longer.
    failures: u32,
    /// When something last succeeded.
    success: Instant,
    /// The cause that ends all waiting.
    fatal: Option<Arc<DatabaseError>>,
    /// Why it was last found away.
    cause: Option<Arc<DatabaseError>>,
}

#[derive(Debug)]
struct Closed {
    since: Instant,
    /// Dropped when the gate opens, which wakes all who wait.
    _opening: Sender<()>,
    opened: Receiver<()>,
}

/// Why a wait at the gate ended without the database.
#[derive(Debug, thiserror::Error)]
pub(super) enum GateError {
    #[error("told to stop")]
    GivenUp,
    #[error("the database stayed away for {} s", .0.as_secs())]
    AwayTooLong(Duration, #[source] Option<Arc<DatabaseError>>),
    #[error(transparent)]
    Fatal(Arc<DatabaseError>),
}

impl Gate {
    fn new(away_timeout: Duration, closings: Sender<()>) -> Self {
        let state = State {
            closed: None,
            closed_last: None,
            failures: 0,
            success: Instant::now(),
            fatal: None,
            cause: None,
        };
        Self { state: Mutex::new(state), closings, away_timeout }
    }

    /// Waits until the gate is open. `since` is when the caller first found the database away.
    pub(super) fn wait(&self, since: Option<Instant>, patience: &Patience) -> Result<(), GateError> {
        loop {
            let (opened, left) = {
                let state = self.lock();
                if let Some(fatal) = &state.fatal {
                    return Err(GateError::Fatal(Arc::clone(fatal)));
                }
                let since = since.or(state.closed.as_ref().map(|closed| closed.since));
                let away = since.map_or(Duration::ZERO, |since| since.max(state.success).elapsed());
                if away >= self.away_timeout {
                    return Err(GateError::AwayTooLong(away, state.cause.clone()));
                }
                let Some(closed) = &state.closed else { return Ok(()) };
                (closed.opened.clone(), self.away_timeout.saturating_sub(away))
            };
            if let Waited::GivenUp = patience.wait::<()>(&opened, left) {
                return Err(GateError::GivenUp);
            }
        }
    }

    /// Closes the gate: the database was found away.
    pub(super) fn close(&self, cause: DatabaseError) {
        let mut state = self.lock();
        if state.closed.is_none() {
            let (opening, opened) = bounded(0);
            state.closed = Some(Closed { since: Instant::now(), _opening: opening, opened });
            // The watchdog has one message at most to see; a second tells it nothing.
            let _ = self.closings.try_send(());
        }
        state.closed_last = Some(Instant::now());
        state.cause = Some(Arc::new(cause));
    }

    /// When the database was last found away.
    pub(super) fn closed_last(&self) -> Option<Instant> {
        self.lock().closed_last
    }

    /// Something succeeded.
    pub(super) fn succeeded(&self) {
        let mut state = self.lock();
        state.failures = 0;
        state.success = Instant::now();
        state.closed = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that looks for the database while it is away. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// Above the handle, so that the thread sees its end before it is waited for.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the watchdog of a new gate, which probes with connections of its own.
    pub(super) fn start(
        opener: Opener,
        delays: RetryPolicy,
        away_timeout: Duration,
    ) -> Result<(Arc<Gate>, Self), DatabaseError> {
        let (closings, closed) = bounded(1);
        let (alive, ended) = bounded(0);
        let gate = Arc::new(Gate::new(away_timeout, closings));
        let delays = RetryPolicy { delay_max: delays.delay_max.min(PROBE_DELAY_MAX), ..delays };
        let round = Round { gate: Arc::clone(&gate), opener, delays, patience: Patience::until_told(ended) };
        let watch = move || {
            while let Waited::Got(()) = round.patience.wait(&closed, Duration::MAX) {
                round.look_until_back();
            }
        };
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(watch)
            .map_err(|error| DatabaseError::Thread(error.to_string()))?;
        Ok((gate, Self { alive: Some(alive), thread: Some(thread) }))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it has been printed.
            let _ = thread.join();
        }
    }
}

struct Round {
    gate: Arc<Gate>,
    opener: Opener,
    delays: RetryPolicy,
    patience: Patience,
}

impl Round {
    /// Probes, with longer and longer waits in between, until the database answers or the watchdog is to end.
    fn look_until_back(&self) {
        loop {
            let (failures, away) = {
                let mut state = self.gate.lock();
                let Some(closed) = &state.closed else { return };
                let since = closed.since;
                state.failures = state.failures.saturating_add(1);
                (state.failures, since.elapsed())
            };
            // What passes at once, such as one backend that was terminated, costs no wait.
            let delay = match failures - 1 {
                0 => Duration::ZERO,
                earlier => self.delays.delay(earlier, fastrand::f64()),
            };
            self.tell(away, delay);
            if !self.patience.sleep(delay) {
                return;
            }
            match self.probe() {
                Ok(()) => {
                    let mut state = self.gate.lock();
                    if state
                        .closed
                        .take()
                        .is_some_and(|closed| closed.since.elapsed() > Duration::from_secs(1))
                    {
                        log::warn!("the database answers again");
                    }
                    return;
                }
                Err(DatabaseError::GivenUp) => return,
                Err(error) => self.note(error),
            }
        }
    }

    fn probe(&self) -> Result<(), DatabaseError> {
        // To connect, log in and set up the session is more than a `SELECT 1`.
        self.opener.open(&self.patience).map(drop)
    }

    fn note(&self, error: DatabaseError) {
        let error = Arc::new(error);
        let mut state = self.gate.lock();
        if error.class() == ErrorClass::Fatal {
            state.fatal = Some(Arc::clone(&error));
            state.closed = None;
        }
        state.cause = Some(error);
    }

    fn tell(&self, away: Duration, delay: Duration) {
        let cause = self.gate.lock().cause.clone();
        let cause = cause.map(|cause| in_full(&*cause)).unwrap_or_default();
        if delay.is_zero() {
            log::warn!("the database is away: {cause}");
        } else {
            let (away, delay) = (away.as_secs_f64(), delay.as_secs_f64());
            log::warn!("the database is away for {away:.0} s, trying again in {delay:.1} s: {cause}");
        }
    }
}
