//! The pool: connections that are opened within a time, looked at before they are handed out, and closed when they
//! have been idle for long.
//!
//! Invariant: the minimum is kept. The pool's own reaper would close all that are idle for long and open the
//! minimum anew each time; so it is off, and the watchdog closes those above the minimum.

use crate::database::failure::error::DatabaseError;
use crate::database::pool::gate::AvailabilityGate;
use crate::database::pool::metrics::PoolMetrics;
use crate::database::session::deadline::Deadline;
use crate::database::session::opener::{ApartClient, Opener, Session};
use crate::error_chain::in_full;
use crate::panics::contained;
use r2d2::{HandleError, ManageConnection, PooledConnection};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The size of the pool and its waits; the default is that of the program's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Connections kept idle; at least 1, at most `max`.
    pub min: u32,
    /// Connections at most.
    pub max: u32,
    /// How long opening a connection may take, login included, and how long [`get`](crate::database::pool::manager::DatabaseManager::get) waits.
    pub connection_timeout: Duration,
    /// How long an idle connection above the minimum is kept.
    pub idle_timeout: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            min: 2,
            max: 10,
            connection_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(1),
        }
    }
}

/// The connections of a pool at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// Open ones.
    pub total: u32,
    /// Those of them that are in use.
    pub active: u32,
    /// Those of them that are not.
    pub idle: u32,
    /// Threads that wait for one.
    pub waiting: u32,
}

/// In what slices a connection is waited for, to see in between whether connecting fails.
const CHECKOUT_SLICE: Duration = Duration::from_millis(100);

/// The pool of a process.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    inner: r2d2::Pool<Manager>,
    connect_error: ConnectError,
    gate: Arc<AvailabilityGate>,
    figures: PoolMetrics,
    idle_timeout: Duration,
    /// Connections that were last used before this are not relied on.
    distrusted: Arc<Mutex<Option<Instant>>>,
}

impl Pool {
    pub(crate) fn new(
        opener: Opener,
        gate: Arc<AvailabilityGate>,
        figures: PoolMetrics,
        settings: PoolSettings,
    ) -> Result<Self, DatabaseError> {
        let connect_error = ConnectError { last: Arc::default(), figures: figures.clone() };
        let connection_timeout = settings.connection_timeout;
        let builder = r2d2::Pool::builder()
            .min_idle(Some(settings.min))
            .max_size(settings.max)
            .connection_timeout(connection_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_on_check_out(false)
            .error_handler(Box::new(connect_error.clone()));
        let manager = Manager { opener, gate: Arc::clone(&gate), connection_timeout };
        // It panics where its threads can't be started.
        let inner = contained(|| builder.build_unchecked(manager)).map_err(DatabaseError::Thread)?;
        Ok(Self {
            inner,
            connect_error,
            gate,
            figures,
            idle_timeout: settings.idle_timeout,
            distrusted: Arc::default(),
        })
    }

    /// A connection that was not broken when it was put back. While all are in use by others it waits for one of
    /// these; when one can't be opened that is the error.
    pub(crate) fn check_out(&self, deadline: &Deadline) -> Result<PooledSession, DatabaseError> {
        self.connect_error.forget();
        let _waiting = Waiting::new(&self.figures);
        loop {
            if let Ok(mut session) = self.inner.get_timeout(CHECKOUT_SLICE) {
                // One that was cut while it lay idle goes back to the pool, which sees that it is broken.
                if self.is_fit(&mut session) {
                    return Ok(session);
                }
            } else if let Some(error) = self.connect_error.take() {
                return Err(error);
            }
            if deadline.is_over() {
                return Err(DatabaseError::Aborted);
            }
        }
    }

    /// Whether there is an idle connection that answers.
    pub(crate) fn has_fit_one(&self) -> bool {
        self.inner.try_get().is_some_and(|mut session| self.is_fit(&mut session))
    }

    /// Once one has not answered, none that was idle at that time is asked: each would cost its time again.
    fn is_fit(&self, session: &mut Session) -> bool {
        if session.is_broken() {
            return false;
        }
        let mut distrusted = self.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
        if distrusted.is_some_and(|before| session.used() < before) {
            drop(session.take());
            return false;
        }
        let is_fit = session.is_fit(self.gate.closed_last());
        if !is_fit {
            *distrusted = Some(Instant::now());
        }
        is_fit
    }

    pub(crate) fn state(&self) -> PoolState {
        let r2d2::State { connections: total, idle_connections: idle, .. } = self.inner.state();
        let waiting = u32::try_from(self.figures.waiting.get()).unwrap_or(0);
        PoolState { total, active: total.saturating_sub(idle), idle, waiting }
    }

    /// Closes the connections above the minimum that have been idle for too long.
    pub(crate) fn trim(&self) {
        let surplus = self.inner.state().idle_connections.saturating_sub(self.inner.min_idle().unwrap_or(0));
        // The pool hands out the one that was used last, so that those are left which are the minimum.
        let idle: Vec<_> = (0..surplus).map_while(|_| self.inner.try_get()).collect();
        for mut session in idle {
            if session.used().elapsed() >= self.idle_timeout {
                drop(session.take());
            }
        }
    }
}

/// A session that the pool takes back when this is dropped.
pub(crate) type PooledSession = PooledConnection<Manager>;

/// Counts a thread that waits.
struct Waiting<'f>(&'f PoolMetrics);

impl<'f> Waiting<'f> {
    fn new(figures: &'f PoolMetrics) -> Self {
        figures.waiting.inc();
        Self(figures)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.dec();
    }
}

/// A connection of the pool, which takes it back when this is dropped.
pub struct Connection {
    /// Nothing when it has been put back.
    client: Option<ApartClient>,
    session: PooledSession,
}

impl Connection {
    /// None if the session has just broken.
    pub(crate) fn new(mut session: PooledSession) -> Option<Self> {
        let client = session.take()?;
        Some(Self { client: Some(client), session })
    }
}

impl Deref for Connection {
    type Target = postgres::Client;

    fn deref(&self) -> &postgres::Client {
        self.client.as_ref().expect("it is put back by drop alone").get_ref().raw_ref()
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut postgres::Client {
        self.client.as_mut().expect("it is put back by drop alone").get().raw()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            self.session.put_back(client);
        }
    }
}

/// Opens connections for the pool.
#[derive(Debug)]
pub(crate) struct Manager {
    opener: Opener,
    gate: Arc<AvailabilityGate>,
    connection_timeout: Duration,
}

impl ManageConnection for Manager {
    type Connection = Session;
    type Error = DatabaseError;

    fn connect(&self) -> Result<Session, DatabaseError> {
        // While the database is away the watchdog alone tries. The pool would do so again and again, and come late, after
        // twice the time each time, when it is back.
        let deadline = Deadline::at_most(self.connection_timeout);
        self.gate.wait(None, &deadline).map_err(|_| DatabaseError::Aborted)?;
        self.opener.open(&Deadline::unbounded())
    }

    /// Not asked for: what is checked out is looked at with more knowledge than this could have.
    fn is_valid(&self, _: &mut Session) -> Result<(), DatabaseError> {
        Ok(())
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.is_broken()
    }
}

/// The pool keeps only a text of its errors; this keeps the last error itself.
#[derive(Debug, Clone)]
struct ConnectError {
    last: Arc<Mutex<Option<DatabaseError>>>,
    figures: PoolMetrics,
}

impl ConnectError {
    fn forget(&self) {
        drop(self.take());
    }

    fn take(&self) -> Option<DatabaseError> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl HandleError<DatabaseError> for ConnectError {
    fn handle_error(&self, error: DatabaseError) {
        // Nothing was tried.
        if matches!(error, DatabaseError::Aborted) {
            return;
        }
        log::debug!("connecting failed: {}", in_full(&error));
        self.figures.connection_errors.inc();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}
