//! Database calls that cannot hang. A call without progress is cancelled, then its backend is terminated, then its
//! connection is abandoned.
//!
//! Invariant: an abandoned call is harmless. Its transaction holds the ledger row of the segment, or will find that a
//! retry has written the row.

use crate::database::failure::error::DatabaseError;
use crate::database::metrics::PoolMetrics;
use crate::database::pool::gate::AvailabilityGate;
use crate::database::session::backend::{Doing, look};
use crate::database::session::client::Client;
use crate::database::session::deadline::{Deadline, Waited};
use crate::database::session::opener::{ApartClient, Opener, Session, spawn};
use crate::database::session::progress::CallProgress;
use crate::error_chain::in_full;
use crate::sync::channel::bounded;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The wait after each step against a stalled call, unless its time-out is shorter.
const STEP_MAX: Duration = Duration::from_secs(5);

/// An operation on a connection, which may run several times.
pub(crate) type PoolCall<T> =
    Arc<dyn Fn(&mut Client, &CallProgress) -> Result<T, DatabaseError> + Send + Sync>;

/// Makes supervised calls.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Opens the connection that finds the cause of a stall.
    pub(crate) opener: Opener,
    /// The time without progress after which a call is cancelled.
    pub(crate) stall_timeout: Duration,
    pub(crate) figures: PoolMetrics,
    /// Closed while a COMMIT waits for a synchronous standby.
    pub(crate) gate: Arc<AvailabilityGate>,
}

impl Caller {
    /// Runs `operation` on a thread that has the client of the session, and waits for it. After an error the session
    /// is broken, because its state is unknown.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        session: &mut Session,
        operation: &PoolCall<T>,
        deadline: &Deadline,
    ) -> Result<T, DatabaseError> {
        let closed = || DatabaseError::Io(std::io::ErrorKind::NotConnected.into());
        let mut client = session.take().ok_or_else(closed)?;
        let progress = Arc::new(CallProgress::new(self.figures.clone()));
        // Until this returns: an abandoned call is not waited for.
        let _active = self.figures.calls.begin(Arc::clone(&progress.clock));
        let (sender, done) = bounded::<(ApartClient, Result<T, DatabaseError>)>(1);
        let (operation, ticks) = (Arc::clone(operation), Arc::clone(&progress));
        spawn("database", move || {
            let own = client.get();
            let result = operation(own, &ticks).map_err(|error| match error {
                DatabaseError::Postgres(error) if own.is_refused_as_read_only(&error) => {
                    DatabaseError::ReadOnlyRole(Some(error))
                }
                error => error,
            });
            let _ = sender.send((client, result));
        })?;
        let mut stall = Stall::new(self.stall_timeout);
        loop {
            match deadline.wait(&done, stall.time_to_step(self, &progress)) {
                Waited::Got((client, Ok(value))) => {
                    // A cancel request may arrive late, and must not hit the next statement.
                    if stall.step == CallStep::None {
                        session.put_back(client);
                    }
                    return Ok(value);
                }
                Waited::Got((_, Err(error))) => return Err(stall.explain(error)),
                Waited::Ended => return Err(DatabaseError::Thread("an operation panicked".to_owned())),
                Waited::Aborted => {
                    let cancel = session.canceller();
                    spawn("cancel", move || drop(cancel()))?;
                    return Err(DatabaseError::Aborted);
                }
                Waited::TimeOver => stall.act(self, session, &progress)?,
            }
        }
    }

    /// Finds the activity of a statement without progress. Cancels it unless the activity ends by itself: a wait for
    /// a standby, or an index build with progress. This can take long, so it runs on a separate thread.
    fn look_and_cancel(
        &self,
        session: &Session,
        progress: &Arc<CallProgress>,
        seen: &Arc<Mutex<StallEvidence>>,
    ) {
        let (caller, pid, cancel) = (self.clone(), session.pid, session.canceller());
        let (progress, seen) = (Arc::clone(progress), Arc::clone(seen));
        let work = move || {
            let time = caller.stall_timeout.min(STEP_MAX) / 2;
            let doing = pid.map(|pid| on_another(&caller.opener, time, move |client| look(client, pid)));
            if let Some(Ok(doing)) = doing
                && caller.is_tolerated(doing, &progress, &seen)
            {
                return progress.tick();
            }
            let idle = progress.idle().as_secs_f64();
            log::warn!("no progress for {idle:.1} s: cancelling the statement");
            if let Err(error) = cancel() {
                log::debug!("cancelling failed: {}", in_full(&error));
            }
        };
        let _ = spawn("cancel", work);
    }

    /// Whether a statement with this activity is not cancelled.
    fn is_tolerated(&self, doing: Doing, progress: &CallProgress, seen: &Mutex<StallEvidence>) -> bool {
        // Nothing is logged while it is locked.
        let seen = || seen.lock().unwrap_or_else(PoisonError::into_inner);
        match doing {
            Doing::AwaitsStandby => {
                let idle = progress.idle();
                let since = Instant::now().checked_sub(idle).unwrap_or_else(Instant::now);
                let since = *seen().standby_since.get_or_insert(since);
                self.gate.close(DatabaseError::Standby(since.elapsed()));
                true
            }
            Doing::AwaitsLock { holder, build } => {
                log::warn!("the statement waits for {holder}");
                if build.is_some_and(|build| progress.has_built(build)) {
                    log::warn!("waiting for the index build of that backend");
                    return true;
                }
                seen().held_by = Some(holder);
                false
            }
            Doing::Builds(build) => progress.has_built(build),
            Doing::Works => progress.is_long() && !progress.is_build(),
            Doing::Nothing => false,
        }
    }

    /// Terminates the backend of the session. This can take long, so it runs on a separate thread.
    fn terminate(&self, session: &Session) {
        let (opener, time) = (self.opener.clone(), self.stall_timeout.min(STEP_MAX));
        let Some(pid) = session.pid else { return };
        let _ = spawn("terminate", move || {
            // Only a backend of this program: a pooler may have assigned it to another client.
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE pid = $1 AND application_name = current_setting('application_name')";
            let ended =
                on_another(&opener, time, move |client| client.execute(sql, &[&pid]).map(|_| None::<String>));
            if let Err(error) = ended {
                log::debug!("terminating failed: {}", in_full(&error));
            }
        });
    }
}

/// Runs `ask` on a new connection.
fn on_another<T>(
    opener: &Opener,
    time: Duration,
    ask: impl FnOnce(&mut Client) -> Result<T, postgres::Error>,
) -> Result<T, DatabaseError> {
    let mut session = opener.open(&Deadline::at_most(time))?;
    let mut client = session.take().ok_or(DatabaseError::Aborted)?;
    Ok(ask(client.get())?)
}

/// The steps taken against a stalled call.
struct Stall {
    step: CallStep,
    /// The time without progress at which the next step is due.
    due: Duration,
    /// The time without progress at the last step.
    idle: Duration,
    seen: Arc<Mutex<StallEvidence>>,
}

/// The observed causes of a stall.
#[derive(Debug, Default)]
struct StallEvidence {
    /// The lock that the call waits for.
    held_by: Option<String>,
    /// The start of its COMMIT's wait for a synchronous standby.
    standby_since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallStep {
    None,
    Cancelled,
    Terminated,
}

impl Stall {
    fn new(timeout: Duration) -> Self {
        Self { step: CallStep::None, due: timeout, idle: Duration::ZERO, seen: Arc::default() }
    }

    /// Takes the next step if it is due. The last step abandons the call.
    fn act(
        &mut self,
        caller: &Caller,
        session: &Session,
        progress: &Arc<CallProgress>,
    ) -> Result<(), DatabaseError> {
        if let Some(waited) = self.standby_wait()
            && waited >= caller.gate.away_timeout()
        {
            // It is committed on the primary. Its backend keeps waiting, because the rows must not be visible yet.
            return Err(DatabaseError::Standby(waited));
        }
        let idle = progress.idle();
        if idle < self.due {
            // It made progress in the meantime.
            (self.step, self.due) = (CallStep::None, caller.stall_timeout);
            return Ok(());
        }
        self.idle = idle;
        self.due = idle + caller.stall_timeout.min(STEP_MAX);
        self.step = match self.step {
            CallStep::None => {
                caller.look_and_cancel(session, progress, &self.seen);
                CallStep::Cancelled
            }
            CallStep::Cancelled => {
                log::warn!("the statement could not be cancelled: terminating its backend");
                caller.terminate(session);
                CallStep::Terminated
            }
            CallStep::Terminated => {
                log::warn!("the backend does not end: abandoning its connection");
                return Err(self.stalled(None));
            }
        };
        Ok(())
    }

    /// The duration of its COMMIT's wait for a synchronous standby.
    fn standby_wait(&self) -> Option<Duration> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.standby_since.map(|since| since.elapsed())
    }

    /// The time until the next step may be due.
    fn time_to_step(&self, caller: &Caller, progress: &CallProgress) -> Duration {
        let step = self.due.saturating_sub(progress.idle());
        let left = self.standby_wait().map(|waited| caller.gate.away_timeout().saturating_sub(waited));
        left.map_or(step, |left| left.min(step))
    }

    /// Adds the reason for cancelling to the error of a cancelled call.
    fn explain(&self, error: DatabaseError) -> DatabaseError {
        match error {
            DatabaseError::Postgres(source) | DatabaseError::Rows { source, .. }
                if self.step != CallStep::None =>
            {
                self.stalled(Some(source))
            }
            error => error,
        }
    }

    /// The error of a stalled call, with the lock that it waited for.
    fn stalled(&self, source: Option<postgres::Error>) -> DatabaseError {
        let held_by = self.seen.lock().unwrap_or_else(PoisonError::into_inner).held_by.take();
        DatabaseError::Stalled { idle: self.idle, held_by, source }
    }
}
