//! The gate: while the database is away all who want it wait here together.
//!
//! Invariant: nobody waits longer than the settings allow since the database last did anything for anyone.

use crate::database::failure::classify::ErrorClass;
use crate::database::failure::error::DatabaseError;
use crate::database::failure::gate_error::GateError;
use crate::database::pool::outages::{OutageLog, Outages};
use crate::database::session::deadline::{Deadline, Waited};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A trouble that was shorter is not told to be over.
const BLINK_MAX: Duration = Duration::from_secs(1);

/// Whether the database is there.
#[derive(Debug)]
pub(crate) struct AvailabilityGate {
    state: Mutex<GateState>,
    /// Wakes the watchdog.
    closings: Sender<()>,
    away_timeout: Duration,
}

#[derive(Debug)]
struct GateState {
    /// While it is away.
    closed: Option<GateOutage>,
    /// When it was last found away.
    closed_last: Option<Instant>,
    /// How often in a row the database was found away. Each makes the next wait longer.
    failures: u32,
    /// When the watchdog looks for it next.
    next_probe: Option<Instant>,
    /// When something last succeeded.
    success: Instant,
    /// A cause that time won't mend, and when it was seen: it ends the waiting of who found the database away before.
    fatal: Option<(Instant, Arc<DatabaseError>)>,
    /// Why it was last found away, and when.
    cause: Option<(Instant, Arc<DatabaseError>)>,
    /// The last of them goes on until something succeeds, though the gate may open and close meanwhile.
    outages: OutageLog,
}

#[derive(Debug)]
struct GateOutage {
    /// Dropped when the gate opens, which wakes all who wait.
    _opening: Sender<()>,
    opened: Receiver<()>,
}

impl AvailabilityGate {
    /// A gate that is open, and what tells its watchdog that it closes.
    pub(crate) fn new(away_timeout: Duration) -> (Self, Receiver<()>) {
        let (closings, closed) = bounded(1);
        let state = GateState {
            closed: None,
            closed_last: None,
            failures: 0,
            next_probe: None,
            success: Instant::now(),
            fatal: None,
            cause: None,
            outages: OutageLog::default(),
        };
        (Self { state: Mutex::new(state), closings, away_timeout }, closed)
    }

    /// Waits until the gate is open. `since` is when the caller first found the database away.
    pub(crate) fn wait(&self, since: Option<Instant>, deadline: &Deadline) -> Result<(), GateError> {
        loop {
            let (opened, left) = {
                let state = self.lock();
                if let (Some((seen, fatal)), Some(since)) = (&state.fatal, since)
                    && *seen >= since
                {
                    return Err(GateError::Fatal(Arc::clone(fatal)));
                }
                let since = since.or(state.closed.as_ref().and(state.outages.since()));
                let away = since.map_or(Duration::ZERO, |since| since.max(state.success).elapsed());
                if away >= self.away_timeout {
                    let cause = state.cause.as_ref().map(|(_, cause)| Arc::clone(cause));
                    return Err(GateError::OutageTooLong(away, cause));
                }
                let Some(closed) = &state.closed else { return Ok(()) };
                (closed.opened.clone(), self.away_timeout.saturating_sub(away))
            };
            if let Waited::Aborted = deadline.wait::<()>(&opened, left) {
                return Err(GateError::Aborted);
            }
        }
    }

    /// Closes the gate: the database was found away.
    pub(crate) fn close(&self, cause: DatabaseError) {
        let mut state = self.lock();
        if state.closed.is_none() {
            let (opening, opened) = bounded(0);
            state.closed = Some(GateOutage { _opening: opening, opened });
            state.outages.begin(&cause);
            // The watchdog has one message at most to see; a second tells it nothing.
            let _ = self.closings.try_send(());
        }
        state.closed_last = Some(Instant::now());
        state.cause = Some((Instant::now(), Arc::new(cause)));
    }

    /// When the database was last found away.
    pub(crate) fn closed_last(&self) -> Option<Instant> {
        self.lock().closed_last
    }

    /// Something succeeded.
    pub(crate) fn succeeded(&self) {
        let mut state = self.lock();
        state.failures = 0;
        state.success = Instant::now();
        state.closed = None;
        let is_over = state.outages.end(BLINK_MAX);
        drop(state);
        // Without the lock, which others wait for.
        if is_over {
            log::warn!("the database does as it is asked again");
        }
    }

    /// When and why the database was last found away.
    pub(crate) fn cause(&self) -> Option<(Instant, Arc<DatabaseError>)> {
        self.lock().cause.clone()
    }

    /// When the database was away.
    pub(crate) fn outages(&self) -> Outages {
        let state = self.lock();
        state.outages.outages(state.closed.is_some())
    }

    /// For how long nothing has succeeded.
    pub(crate) fn idle(&self) -> Duration {
        self.lock().success.elapsed()
    }

    /// Nobody waits longer than this while nothing succeeds.
    pub(crate) fn away_timeout(&self) -> Duration {
        self.away_timeout
    }

    /// For how long it has been closed, and how often in a row the database was found away, this time counted.
    /// None: it is open.
    pub(crate) fn count_failure(&self) -> Option<(Duration, u32)> {
        let mut state = self.lock();
        let away = state.closed.as_ref().and(state.outages.since())?.elapsed();
        state.failures = state.failures.saturating_add(1);
        Some((away, state.failures))
    }

    /// Notes when the database is looked for next.
    pub(crate) fn probe_at(&self, time: Instant) {
        self.lock().next_probe = Some(time);
    }

    /// For how long the database has been away, and how long until it is looked for again, unless that goes on right
    /// now. None: it is there.
    pub(crate) fn away(&self) -> Option<(Duration, Option<Duration>)> {
        let state = self.lock();
        let away = state.closed.as_ref().and(state.outages.since())?.elapsed();
        Some((away, state.next_probe.and_then(|next| next.checked_duration_since(Instant::now()))))
    }

    /// Opens the gate, as the database answers. A next closing counts as the same trouble, until something succeeds.
    pub(crate) fn open(&self) {
        self.lock().closed = None;
    }

    /// Notes why a probe failed. What time won't mend ends all waiting.
    pub(crate) fn note(&self, error: DatabaseError) {
        let error = Arc::new(error);
        let mut state = self.lock();
        if error.class() == ErrorClass::Fatal {
            state.fatal = Some((Instant::now(), Arc::clone(&error)));
            state.closed = None;
        }
        state.cause = Some((Instant::now(), error));
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
