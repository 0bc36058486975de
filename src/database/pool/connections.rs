//! The pool: connections are opened within a time limit, tested before use, and closed if they are idle for long.
//!
//! Invariant: the minimum is kept, from the moment that [`Minimum`](super::supply::Minimum) names. The pool library's own
//! reaper would close all connections that are idle for long, and open the minimum again each time. So it is off, and the
//! watchdog closes those above the minimum.

use crate::database::failure::error::DatabaseError;
use crate::database::metrics::PoolMetrics;
use crate::database::pool::gate::AvailabilityGate;
use crate::database::pool::supply::{Supplied, Supply};
use crate::database::session::deadline::Deadline;
use crate::database::session::opener::{ApartClient, Opener, Session};
use crate::error_chain::in_full;
use crate::panics::contained;
use r2d2::{HandleError, ManageConnection, PooledConnection};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The size and the time limits of the pool. The default is that of the settings of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// The number of connections kept idle; from 1 to `max`.
    pub min: u32,
    /// The maximum number of connections.
    pub max: u32,
    /// The time limit for opening a connection, login included, and for the wait in
    /// [`get`](crate::database::pool::manager::DatabaseManager::get).
    pub connection_timeout: Duration,
    /// The time after which an idle connection above the minimum is closed.
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
    /// Open connections.
    pub total: u32,
    /// Connections in use.
    pub active: u32,
    /// Idle connections.
    pub idle: u32,
    /// Threads that wait for a connection.
    pub waiting: u32,
}

/// The interval at which a wait for a connection checks whether connecting fails.
const CHECKOUT_SLICE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub(crate) struct Pool {
    inner: r2d2::Pool<Manager>,
    connect_error: ConnectError,
    gate: Arc<AvailabilityGate>,
    figures: PoolMetrics,
    idle_timeout: Duration,
    supply: Arc<Supply>,
    /// Connections that were last used before this time are discarded.
    distrusted: Arc<Mutex<Option<Instant>>>,
}

impl Pool {
    pub(crate) fn new(
        opener: Opener,
        gate: Arc<AvailabilityGate>,
        figures: PoolMetrics,
        settings: PoolSettings,
        supply: Arc<Supply>,
    ) -> Result<Self, DatabaseError> {
        let has_first = supply.has_first();
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
        let manager =
            Manager { opener, gate: Arc::clone(&gate), connection_timeout, supply: Arc::clone(&supply) };
        // The pool library panics if its threads cannot be started.
        let inner = contained(|| builder.build_unchecked(manager)).map_err(DatabaseError::Thread)?;
        if has_first {
            wait_for_first(&inner);
        }
        let (seen, waiting) = (inner.clone(), figures.waiting.clone());
        supply.serve(Box::new(move || {
            (seen.state().idle_connections, u32::try_from(waiting.get()).unwrap_or(0))
        }));
        Ok(Self {
            inner,
            connect_error,
            gate,
            figures,
            idle_timeout: settings.idle_timeout,
            supply,
            distrusted: Arc::default(),
        })
    }

    /// A connection that was not broken when it was put back. Waits while all are in use. Fails if one cannot be
    /// opened.
    pub(crate) fn check_out(&self, deadline: &Deadline) -> Result<PooledSession, DatabaseError> {
        self.connect_error.forget();
        if let Some(mut session) = self.inner.try_get()
            && self.is_fit(&mut session)
        {
            return Ok(session);
        }
        let _waiting = Waiting::new(&self.figures);
        // The wait can be for the login of a session.
        let _active = self.figures.calls.begin(Arc::default());
        self.supply.open();
        loop {
            if let Ok(mut session) = self.inner.get_timeout(CHECKOUT_SLICE) {
                // A connection that was cut while idle goes back to the pool, which discards it.
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

    /// Opens the minimum of connections, because the pool is in use.
    pub(crate) fn open_minimum(&self) {
        self.supply.open();
    }

    /// Whether there is an idle connection that responds.
    pub(crate) fn has_fit_one(&self) -> bool {
        self.inner.try_get().is_some_and(|mut session| self.is_fit(&mut session))
    }

    /// Whether a connection is usable. If one does not respond, all that were idle at that time are discarded
    /// untested, because each test would take its time limit.
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
        // The pool hands out the most recently used connection first, so the minimum remains in it.
        let idle: Vec<_> = (0..surplus).map_while(|_| self.inner.try_get()).collect();
        for mut session in idle {
            if session.used().elapsed() >= self.idle_timeout {
                drop(session.take());
            }
        }
    }
}

/// Waits until the pool library has taken the first connection, on one of its threads.
fn wait_for_first(pool: &r2d2::Pool<Manager>) {
    const WAIT_MAX: Duration = Duration::from_secs(1);
    let begun = Instant::now();
    while pool.state().connections == 0 && begun.elapsed() < WAIT_MAX {
        thread::sleep(Duration::from_micros(200));
    }
}

/// A session that returns to the pool on drop.
pub(crate) type PooledSession = PooledConnection<Manager>;

/// Counts a waiting thread.
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

/// A connection of the pool, which returns there on drop.
pub struct Connection {
    /// None after it was put back.
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
        self.client.as_ref().expect("only drop puts it back").get_ref().raw_ref()
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut postgres::Client {
        self.client.as_mut().expect("only drop puts it back").get().raw()
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
    supply: Arc<Supply>,
}

impl ManageConnection for Manager {
    type Connection = Session;
    type Error = DatabaseError;

    fn connect(&self) -> Result<Session, DatabaseError> {
        let _opening = match self.supply.next() {
            Supplied::First(first) => return Ok(*first),
            Supplied::New(opening) => opening,
            Supplied::Ended => return Err(DatabaseError::Aborted),
        };
        // During an outage only the watchdog connects. The pool would retry with doubled delays, and notice the end
        // of the outage late.
        let deadline = Deadline::at_most(self.connection_timeout);
        self.gate.wait(None, &deadline).map_err(|_| DatabaseError::Aborted)?;
        self.opener.open(&Deadline::unbounded())
    }

    /// Unused: the pool tests connections itself, with more information.
    fn is_valid(&self, _: &mut Session) -> Result<(), DatabaseError> {
        Ok(())
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.is_broken()
    }
}

/// Keeps the last error. The pool library keeps only its text.
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
        // No connection was attempted.
        if matches!(error, DatabaseError::Aborted) {
            return;
        }
        log::debug!("connecting failed: {}", in_full(&error));
        self.figures.connection_errors.inc();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}
