//! The one pool of a process, and the calls that are made again until they succeed or can't.

use super::call::{Caller, Operation, Progress};
use super::classify::{DatabaseError, ErrorClass};
use super::client::Client;
use super::connect::Target;
use super::gate::{Gate, GateError, Watchdog};
use super::patience::Patience;
use super::retry::RetryPolicy;
use super::session::{Opener, Session};
use super::store::StoreError;
use crate::causes::in_full;
use r2d2::{HandleError, ManageConnection, Pool, PooledConnection};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The size of the pool and its waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Connections kept idle; at least 1, at most `max`.
    pub min: u32,
    /// Connections at most.
    pub max: u32,
    /// How long opening a connection may take, login included.
    pub connection_timeout: Duration,
    /// How long an idle connection above the minimum is kept.
    pub idle_timeout: Duration,
}

/// What is done when the database does not do as it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TroubleSettings {
    /// When something that a present database refused is tried again.
    pub retry: RetryPolicy,
    /// How long to wait for a database that is away.
    pub away_timeout: Duration,
    /// Time without progress after which a statement is cancelled, then its backend terminated, then its
    /// connection left behind.
    pub stall_timeout: Duration,
}

/// Connections to one database; built once by the program.
#[derive(Debug, Clone)]
pub struct DatabaseManager {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: Pool<Manager>,
    connect_error: ConnectError,
    caller: Caller,
    gate: Arc<Gate>,
    retry: RetryPolicy,
    retries: AtomicU64,
    connection_errors: Arc<AtomicU64>,
    /// Ends when the last manager is dropped.
    _watchdog: Watchdog,
}

/// In what slices a connection is waited for, to see in between whether connecting fails.
const CHECKOUT_SLICE: Duration = Duration::from_millis(100);

impl DatabaseManager {
    /// Waits until the database can be connected to, and builds the pool. A cause that time won't mend is an error
    /// at once. `application` is what the sessions call themselves.
    pub fn connect(
        target: &Target,
        application: &str,
        pool: PoolSettings,
        trouble: TroubleSettings,
    ) -> Result<Self, StoreError> {
        let opener = Opener::new(target, application, pool.connection_timeout);
        let errors = Arc::new(AtomicU64::new(0));
        wait_for_database(&opener, pool, trouble, &errors)
            .map_err(|error| StoreError::new("the database can't be reached", error))?;
        let failed = |error| StoreError::new("the pool can't be built", error);
        let (gate, watchdog) =
            Watchdog::start(opener.clone(), trouble.retry, trouble.away_timeout).map_err(failed)?;
        let connect_error = ConnectError { last: Arc::default(), count: Arc::clone(&errors) };
        let shared = Shared {
            pool: Pool::builder()
                .min_idle(Some(pool.min))
                .max_size(pool.max)
                .connection_timeout(pool.connection_timeout)
                .idle_timeout(Some(pool.idle_timeout))
                .max_lifetime(None)
                .test_on_check_out(false)
                .error_handler(Box::new(connect_error.clone()))
                .build_unchecked(Manager {
                    opener: opener.clone(),
                    gate: Arc::clone(&gate),
                    connection_timeout: pool.connection_timeout,
                }),
            connect_error,
            caller: Caller { opener, stall_timeout: trouble.stall_timeout },
            gate,
            retry: trouble.retry,
            retries: AtomicU64::new(0),
            connection_errors: errors,
            _watchdog: watchdog,
        };
        log::info!("Database connection pool initialized successfully");
        log::info!("Pool configuration: min={}, max={}", pool.min, pool.max);
        Ok(Self { shared: Arc::new(shared) })
    }

    /// How often something was tried again.
    pub fn retries(&self) -> u64 {
        self.shared.retries.load(Ordering::Relaxed)
    }

    /// How often no connection could be opened, or one was lost.
    pub fn connection_errors(&self) -> u64 {
        self.shared.connection_errors.load(Ordering::Relaxed)
    }

    /// Does `operation` with a connection: again while the database is away, and a few times while it refuses for a
    /// reason that may pass. `what` names it in errors. It runs on another thread, which may be left behind.
    pub(super) fn run<T: Send + 'static>(
        &self,
        what: &str,
        patience: &Patience,
        operation: impl Fn(&mut Client, &Progress) -> Result<T, DatabaseError> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let operation: Operation<T> = Arc::new(operation);
        let failed = |error| match error {
            DatabaseError::GivenUp => StoreError::given_up(format!("{what} was given up")),
            error => StoreError::new(format!("{what} failed"), error),
        };
        let (mut attempt, mut away_since) = (1, None);
        loop {
            if patience.is_over() {
                return Err(failed(DatabaseError::GivenUp));
            }
            self.shared.gate.wait(away_since, patience).map_err(|error| match error {
                GateError::GivenUp => failed(DatabaseError::GivenUp),
                error => StoreError::new(format!("{what} failed"), error),
            })?;
            let error = match self.try_once(&operation, patience) {
                Ok(value) => {
                    self.shared.gate.succeeded();
                    return Ok(value);
                }
                Err(error) => error,
            };
            match error.class() {
                ErrorClass::Away => {
                    away_since.get_or_insert_with(Instant::now);
                    self.shared.gate.close(error);
                }
                ErrorClass::Transient if attempt < self.shared.retry.attempts_max => {
                    let attempts_max = self.shared.retry.attempts_max;
                    let cause = in_full(&error);
                    log::warn!(
                        "Database operation failed, attempt {attempt}/{attempts_max}: {what}: {cause}"
                    );
                    if !patience.sleep(self.shared.retry.delay(attempt, fastrand::f64())) {
                        return Err(failed(DatabaseError::GivenUp));
                    }
                    attempt += 1;
                }
                ErrorClass::Transient | ErrorClass::Data | ErrorClass::Fatal => return Err(failed(error)),
            }
            self.shared.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn try_once<T: Send + 'static>(
        &self,
        operation: &Operation<T>,
        patience: &Patience,
    ) -> Result<T, DatabaseError> {
        let mut session = self.check_out(patience)?;
        let result = self.shared.caller.call(&mut session, operation, patience);
        if result.as_ref().is_err_and(DatabaseError::is_loss) {
            self.shared.connection_errors.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// A connection that was not broken when it was put back. While all are in use by others it waits for one of
    /// these; when one can't be opened that is the error.
    fn check_out(&self, patience: &Patience) -> Result<PooledConnection<Manager>, DatabaseError> {
        self.shared.connect_error.forget();
        loop {
            if let Ok(mut session) = self.shared.pool.get_timeout(CHECKOUT_SLICE) {
                // One that was cut while it lay idle goes back to the pool, which sees that it is broken.
                if session.is_fit(self.shared.gate.closed_last()) {
                    return Ok(session);
                }
                continue;
            }
            if let Some(error) = self.shared.connect_error.take() {
                return Err(error);
            }
            if patience.is_over() {
                return Err(DatabaseError::GivenUp);
            }
        }
    }
}

/// Connects once by itself, for an error that tells its cause. Who just starts waits for a server that says that it is
/// not ready as long as for one that goes away later; a place where nothing answers may be mistyped, and is
/// given up after the time for one connection.
fn wait_for_database(
    opener: &Opener,
    pool: PoolSettings,
    trouble: TroubleSettings,
    errors: &AtomicU64,
) -> Result<(), DatabaseError> {
    let begun = Instant::now();
    for failures in 1.. {
        let Err(error) = opener.open(&Patience::endless()) else { return Ok(()) };
        errors.fetch_add(1, Ordering::Relaxed);
        let wait_max = match (error.class(), error.sqlstate()) {
            (ErrorClass::Away, Some(_)) => trouble.away_timeout,
            (ErrorClass::Away, None) => trouble.away_timeout.min(pool.connection_timeout),
            _ => return Err(error),
        };
        let left = wait_max.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(error);
        }
        let delay = trouble.retry.delay(failures, fastrand::f64()).min(left);
        let cause = in_full(&error);
        log::warn!(
            "the database can't be reached, trying again for {:.0} s: {cause}",
            left.as_secs_f64().ceil()
        );
        std::thread::sleep(delay);
    }
    unreachable!("the loop ends by its time")
}

/// Opens connections for the pool.
#[derive(Debug)]
struct Manager {
    opener: Opener,
    gate: Arc<Gate>,
    connection_timeout: Duration,
}

impl ManageConnection for Manager {
    type Connection = Session;
    type Error = DatabaseError;

    fn connect(&self) -> Result<Session, DatabaseError> {
        // The pool would try again and again, each time after twice the time, and come late when the database is back.
        let _ = self.gate.wait(None, &Patience::at_most(self.connection_timeout));
        self.opener.open(&Patience::endless())
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
    count: Arc<AtomicU64>,
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
        log::debug!("connecting failed: {}", in_full(&error));
        self.count.fetch_add(1, Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}
