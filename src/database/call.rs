//! A call of the database that nobody hangs on: what does not get on is cancelled, then its backend terminated,
//! then the connection left behind.
//!
//! Invariant: a call left behind can do no harm. Its transaction holds the segment's row of the ledger, or will
//! find that another try has written it.

use super::client::{Client, GenericClient as _};
use super::error::DatabaseError;
use super::figures::Figures;
use super::patience::{Patience, Waited};
use super::session::{ApartClient, Opener, Session, spawn};
use crate::causes::in_full;
use crossbeam_channel::bounded;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long is waited after each step against a call that stands still, unless that is longer than its time-out.
const STEP_MAX: Duration = Duration::from_secs(5);

/// When a call last got on.
#[derive(Debug)]
pub(super) struct Progress {
    /// Where its steps are timed.
    pub(super) figures: Figures,
    begun: Instant,
    /// Milliseconds after `begun`.
    last: AtomicU64,
}

impl Progress {
    fn new(figures: Figures) -> Self {
        Self { figures, begun: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Says that the call got on.
    pub(super) fn tick(&self) {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    /// Says that the call may stand still for as long as it likes from now on.
    pub(super) fn takes_long(&self) {
        self.last.store(u64::MAX, Ordering::Relaxed);
    }

    fn idle(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

/// What is done with a connection; it may be done again.
pub(super) type Operation<T> = Arc<dyn Fn(&mut Client, &Progress) -> Result<T, DatabaseError> + Send + Sync>;

/// Makes calls.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Opens the connection that looks for what a call waits for.
    pub(super) opener: Opener,
    /// Time without progress after which a call is cancelled.
    pub(super) stall_timeout: Duration,
    pub(super) figures: Figures,
}

impl Caller {
    /// Runs `operation` on a thread that has the session's client, and waits for it. After an error the session is
    /// broken: it may be in the middle of anything.
    pub(super) fn call<T: Send + 'static>(
        &self,
        session: &mut Session,
        operation: &Operation<T>,
        patience: &Patience,
    ) -> Result<T, DatabaseError> {
        let closed = || DatabaseError::Io(std::io::ErrorKind::NotConnected.into());
        let mut client = session.take().ok_or_else(closed)?;
        let progress = Arc::new(Progress::new(self.figures.clone()));
        let (sender, done) = bounded::<(ApartClient, Result<T, DatabaseError>)>(1);
        let (operation, ticks) = (Arc::clone(operation), Arc::clone(&progress));
        spawn("database", move || {
            let result = operation(client.get(), &ticks);
            let _ = sender.send((client, result));
        })?;
        let mut stall = Stall::new(self.stall_timeout);
        loop {
            match patience.wait(&done, stall.due.saturating_sub(progress.idle())) {
                Waited::Got((client, Ok(value))) => {
                    // A cancel that was sent may come late, and is not to hit what is done next.
                    if stall.step == Step::None {
                        session.put_back(client);
                    }
                    return Ok(value);
                }
                Waited::Got((_, Err(error))) => return Err(stall.explain(error)),
                Waited::Ended => return Err(DatabaseError::Thread("an operation panicked".to_owned())),
                Waited::GivenUp => {
                    let cancel = session.canceller();
                    spawn("cancel", move || drop(cancel()))?;
                    return Err(DatabaseError::GivenUp);
                }
                Waited::TimeOver => stall.act(self, session, &progress)?,
            }
        }
    }

    /// Notes what a statement waits for, if it can be seen, and cancels it. Both can take long: nobody waits for it.
    /// Who waits for an index that is being built waits on: that comes to an end, however long it takes.
    fn look_and_cancel(
        &self,
        session: &Session,
        progress: &Arc<Progress>,
        held_by: &Arc<Mutex<Option<String>>>,
    ) {
        let (opener, pid, cancel) = (self.opener.clone(), session.pid, session.canceller());
        let (held_by, time) = (Arc::clone(held_by), self.stall_timeout.min(STEP_MAX) / 2);
        let (progress, idle) = (Arc::clone(progress), progress.idle().as_secs_f64());
        let work = move || {
            if let Some(pid) = pid
                && let Ok(Some(holder)) = on_another(&opener, time, move |client| holder(client, pid))
            {
                let Holder { lock, builds_an_index } = holder;
                log::warn!("the statement waits for {lock}");
                if builds_an_index {
                    log::warn!("an index is being built there: that is waited for");
                    return progress.tick();
                }
                *held_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
            }
            log::warn!("a statement made no progress for {idle:.1} s: it is cancelled");
            if let Err(error) = cancel() {
                log::debug!("cancelling failed: {}", in_full(&error));
            }
        };
        let _ = spawn("cancel", work);
    }

    /// Terminates the session's backend. That can take long: nobody waits for it.
    fn terminate(&self, session: &Session) {
        let (opener, time) = (self.opener.clone(), self.stall_timeout.min(STEP_MAX));
        let Some(pid) = session.pid else { return };
        let _ = spawn("terminate", move || {
            // Only a backend of this program: a pooler's may have gone to someone else.
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
    let mut session = opener.open(&Patience::at_most(time))?;
    let mut client = session.take().ok_or(DatabaseError::GivenUp)?;
    Ok(ask(client.get())?)
}

/// What a backend waits for.
struct Holder {
    /// The lock and who holds it, in words.
    lock: String,
    builds_an_index: bool,
}

/// Who holds the lock that a backend waits for.
fn holder(client: &mut Client, pid: i32) -> Result<Option<Holder>, postgres::Error> {
    let sql = "SELECT format('a lock that backend %s holds (%s, %s)', pid,
                 coalesce(nullif(application_name, ''), 'without a name'), coalesce(state, 'of another role')),
                 pid IN (SELECT pid FROM pg_stat_progress_create_index) AS builds_an_index
               FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids($1)) ORDER BY builds_an_index DESC LIMIT 1";
    let row = client.query_opt(sql, &[&pid])?;
    Ok(row.map(|row| Holder { lock: row.get(0), builds_an_index: row.get(1) }))
}

/// What has been done against a call that stands still.
struct Stall {
    step: Step,
    /// How long it may stand still until the next step.
    due: Duration,
    /// How long it stood still at the last step.
    idle: Duration,
    /// What it waited for, once that is known.
    held_by: Arc<Mutex<Option<String>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    None,
    Cancelled,
    Terminated,
}

impl Stall {
    fn new(timeout: Duration) -> Self {
        Self { step: Step::None, due: timeout, idle: Duration::ZERO, held_by: Arc::default() }
    }

    /// Takes the next step if it is due; the last one is to leave the call behind.
    fn act(
        &mut self,
        caller: &Caller,
        session: &Session,
        progress: &Arc<Progress>,
    ) -> Result<(), DatabaseError> {
        let idle = progress.idle();
        if idle < self.due {
            // It got on in the meantime.
            (self.step, self.due) = (Step::None, caller.stall_timeout);
            return Ok(());
        }
        self.idle = idle;
        self.due = idle + caller.stall_timeout.min(STEP_MAX);
        self.step = match self.step {
            Step::None => {
                caller.look_and_cancel(session, progress, &self.held_by);
                Step::Cancelled
            }
            Step::Cancelled => {
                log::warn!("the statement could not be cancelled: its backend is terminated");
                caller.terminate(session);
                Step::Terminated
            }
            Step::Terminated => {
                log::warn!("the backend does not end: its connection is left behind");
                return Err(self.told(None));
            }
        };
        Ok(())
    }

    /// The error of a call that was cancelled tells why it was.
    fn explain(&self, error: DatabaseError) -> DatabaseError {
        match error {
            DatabaseError::Postgres(source) | DatabaseError::Rows { source, .. }
                if self.step != Step::None =>
            {
                self.told(Some(source))
            }
            error => error,
        }
    }

    /// The error of the call, with what it waited for.
    fn told(&self, source: Option<postgres::Error>) -> DatabaseError {
        let held_by = self.held_by.lock().unwrap_or_else(PoisonError::into_inner).take();
        DatabaseError::Stalled { idle: self.idle, held_by, source }
    }
}
