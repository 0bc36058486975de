//! The database manager of a process: its pool, its health, and calls with retries.

use crate::database::connect::Target;
use crate::database::failure::classify::ErrorClass;
use crate::database::failure::error::DatabaseError;
use crate::database::failure::gate_error::GateError;
use crate::database::metrics::PoolMetrics;
use crate::database::pool::connections::{Connection, Pool, PoolSettings, PoolState, PooledSession};
use crate::database::pool::first_connection::first_connection;
use crate::database::pool::gate::AvailabilityGate;
use crate::database::pool::liveness::{HealthStatus, LastHealth, apart};
use crate::database::pool::lost_writes::LostWrites;
use crate::database::pool::outage_settings::OutageSettings;
use crate::database::pool::outages::Outages;
use crate::database::pool::retry::RetryPolicy;
use crate::database::pool::state::{Building, BuildingGuard, DatabaseState};
use crate::database::pool::supervised::{Caller, PoolCall};
use crate::database::pool::supply::{Minimum, Supply, SupplyEnd};
use crate::database::pool::watchdog::{Watchdog, Watched};
use crate::database::session::client::Client;
use crate::database::session::deadline::Deadline;
use crate::database::session::opener::Opener;
use crate::database::session::progress::CallProgress;
use crate::database::store::StoreError;
use crate::error_chain::in_full;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Manages the connections to one database. The program builds it once; clones share the connections.
///
/// ```no_run
/// use aegis_kills::{DatabaseManager, OutageSettings, PoolSettings, from_url};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let variable = |name: &str| std::env::var(name).ok();
/// let target = from_url("postgresql://me:secret@localhost:5432/kills", &variable)?;
/// let manager =
///     DatabaseManager::connect(&target, "my-service", PoolSettings::default(), OutageSettings::default())?;
///
/// // A connection of the pool, for as long as it is held.
/// let kills: i64 = manager.get()?.query_one("SELECT count(*) FROM kill_event", &[])?.get(0);
///
/// // The same, with a wait during an outage and retries of transient errors.
/// let counted: i64 = manager.with_retry("counting kills", |client| {
///     Ok(client.query_one("SELECT count(*) FROM kill_event", &[])?.get(0))
/// })?;
///
/// println!("{kills} kills, healthy: {}, {counted}", manager.health_check().is_healthy());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DatabaseManager {
    shared: Arc<ManagerState>,
}

#[derive(Debug)]
struct ManagerState {
    pool: Pool,
    pool_settings: PoolSettings,
    caller: Caller,
    gate: Arc<AvailabilityGate>,
    retry: RetryPolicy,
    health: Arc<LastHealth>,
    figures: PoolMetrics,
    building: Building,
    /// Ends when the last clone of the manager is dropped.
    _watchdog: Watchdog,
    _supply: SupplyEnd,
}

impl DatabaseManager {
    /// Waits until the database is reachable, checks its health, and builds the pool. A permanent cause is an error at
    /// once. `application` is the `application_name` of the sessions. The pool opens its minimum of connections at once.
    pub fn connect(
        target: &Target,
        application: &str,
        pool_settings: PoolSettings,
        trouble: OutageSettings,
    ) -> Result<Self, StoreError> {
        Self::connect_with(target, application, pool_settings, trouble, Minimum::AtOnce)
    }

    /// Does the same with another moment at which the pool opens its minimum.
    pub(crate) fn connect_with(
        target: &Target,
        application: &str,
        pool_settings: PoolSettings,
        trouble: OutageSettings,
        minimum: Minimum,
    ) -> Result<Self, StoreError> {
        let failed = |error| StoreError::new("cannot create the connection pool", error);
        let figures =
            PoolMetrics::new().map_err(|error| StoreError::new("cannot create the metrics", error))?;
        let opener = Opener::new(target, application, pool_settings.connection_timeout);
        let mut first = first_connection(&opener, pool_settings, trouble, &figures).map_err(|error| {
            let what = match error {
                DatabaseError::Unsupported(_) => "the database can't be used",
                _ => "cannot connect to the database",
            };
            StoreError::new(what, error)
        })?;
        log::info!("Database connected successfully");
        let health = Arc::<LastHealth>::default();
        // The calls that follow fail with the same cause, so it is no warning here.
        match health.check_on(&opener, &Deadline::unbounded(), &mut first) {
            Ok(HealthStatus { error: None, .. }) => log::debug!("the database is healthy"),
            Ok(HealthStatus { error: Some(error), .. }) => {
                log::info!("Database health check failed: {error}");
            }
            Err(error) => log::info!("Database health check failed: {}", in_full(&error)),
        }
        let (gate, closings) = AvailabilityGate::new(trouble.away_timeout);
        let gate = Arc::new(gate);
        let first = (!first.is_broken()).then_some(first);
        let supply = Supply::new(first, minimum, pool_settings.min);
        let pool =
            Pool::new(opener.clone(), Arc::clone(&gate), figures.clone(), pool_settings, Arc::clone(&supply));
        let pool = pool.map_err(failed)?;
        let watched = Watched {
            gate: Arc::clone(&gate),
            opener: opener.clone(),
            pool: pool.clone(),
            delays: trouble.retry,
            health_interval: trouble.health_interval,
            trim_interval: (pool_settings.idle_timeout / 4).clamp(TRIM_MIN, TRIM_MAX),
            health: Arc::clone(&health),
        };
        let watchdog = Watchdog::start(watched, closings).map_err(failed)?;
        let caller = Caller {
            opener,
            stall_timeout: trouble.stall_timeout,
            figures: figures.clone(),
            gate: Arc::clone(&gate),
        };
        log::info!("Database connection pool initialized successfully");
        log::info!("Pool configuration: min={}, max={}", pool_settings.min, pool_settings.max);
        let shared = ManagerState {
            pool,
            pool_settings,
            caller,
            gate,
            retry: trouble.retry,
            health,
            figures,
            building: Building::default(),
            _watchdog: watchdog,
            _supply: SupplyEnd(supply),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A connection of the pool. Waits for one for at most the connection time-out. The error then shows the state of
    /// the pool and the last failure.
    pub fn get(&self) -> Result<Connection, StoreError> {
        let deadline = Deadline::at_most(self.shared.pool_settings.connection_timeout);
        loop {
            let waited = self.shared.gate.wait(None, &deadline);
            let error = match waited {
                Ok(()) => match self.shared.pool.check_out(&deadline) {
                    Ok(session) => match Connection::new(session) {
                        Some(connection) => return Ok(connection),
                        None => continue,
                    },
                    Err(error) => error,
                },
                Err(GateError::Aborted) => DatabaseError::Aborted,
                Err(error) => return Err(StoreError::new("no database connection available", error)),
            };
            match error.class() {
                ErrorClass::Away => self.shared.gate.close(error),
                _ if matches!(error, DatabaseError::Aborted) => return Err(self.no_connection()),
                _ => return Err(StoreError::new("no database connection available", error)),
            }
        }
    }

    fn no_connection(&self) -> StoreError {
        self.shared.figures.timeouts.inc();
        let PoolState { total, active, idle, waiting } = self.pool_state();
        // With a smaller pool, the cause is the database or the network.
        let is_full = active >= self.shared.pool_settings.max;
        let advice = if is_full { SHARE } else { "" };
        let what = format!(
            "no database connection available within {} s (pool: total {total}, active {active}, idle {idle}, \
             others waiting {waiting})",
            self.shared.pool_settings.connection_timeout.as_secs_f64()
        );
        match self.shared.gate.cause() {
            // It is not necessarily the reason, so its age is shown.
            Some((when, cause)) => {
                let age = when.elapsed().as_secs();
                StoreError::new(format!("{what}; the last failure was {age} s ago{advice}"), cause)
            }
            None => StoreError::plain(what + advice),
        }
    }

    /// A connection for a call. Waits as long as the connection time-out, and longer unless no call has succeeded for the
    /// outage time-out: many callers can share a small pool.
    fn check_out(&self, deadline: &Deadline) -> Result<PooledSession, DatabaseError> {
        let ManagerState { pool, pool_settings, gate, .. } = &*self.shared;
        loop {
            let since = Instant::now();
            match pool.check_out(&deadline.at_most_for(pool_settings.connection_timeout)) {
                Err(DatabaseError::Aborted) if !deadline.is_over() => {
                    let error = self.no_connection();
                    if gate.idle() >= gate.away_timeout() {
                        return Err(DatabaseError::NoneFree(error));
                    }
                    gate.log_wait(since, &error);
                }
                result => return result,
            }
        }
    }

    /// Runs `operation` with a connection. Retries it during an outage, and a few times after transient errors.
    /// `what` names it in errors and in the log. It runs on another thread, which is abandoned if it makes no
    /// progress, so it is best one transaction. If all connections are in use, it waits as [`get`](Self::get) does,
    /// and longer unless no call has succeeded for the outage time-out.
    pub fn with_retry<T: Send + 'static>(
        &self,
        what: &str,
        operation: impl Fn(&mut postgres::Client) -> Result<T, postgres::Error> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        self.run(what, &Deadline::unbounded(), move |client, _| Ok(operation(client.raw())?))
    }

    /// Checks the health of the database on a separate connection, within 10 s.
    pub fn health_check(&self) -> HealthStatus {
        match self.shared.health.check(&self.shared.caller.opener, &Deadline::unbounded()) {
            Ok(status) => status,
            Err(error) => HealthStatus::failed(&error),
        }
    }

    /// The result of the last check, by the watchdog or [`health_check`](Self::health_check). None before the first.
    pub fn health_status(&self) -> Option<HealthStatus> {
        self.shared.health.get()
    }

    /// The current state of the database.
    pub fn state(&self) -> DatabaseState {
        let ManagerState { gate, building, figures, .. } = &*self.shared;
        DatabaseState::of(gate.away(), building, &figures.calls)
    }

    /// Records that an index is being built, until the result is dropped.
    pub(crate) fn building(&self, index: &str) -> BuildingGuard<'_> {
        self.shared.building.begin(index)
    }

    /// The outages so far, without those of at most a second.
    pub fn outages(&self) -> Outages {
        self.shared.gate.outages()
    }

    /// The pool's connections at this moment.
    pub fn pool_state(&self) -> PoolState {
        self.shared.pool.state()
    }

    /// Opens the pool's minimum of connections, unless it was opened before: the caller needs several.
    pub(crate) fn open_minimum(&self) {
        self.shared.pool.open_minimum();
    }

    /// The pool's settings.
    pub fn pool_settings(&self) -> PoolSettings {
        self.shared.pool_settings
    }

    /// The number of attempts of a call with transient errors.
    pub(crate) fn attempts_max(&self) -> u32 {
        self.shared.retry.attempts_max
    }

    /// The metrics of the pool.
    pub fn figures(&self) -> &PoolMetrics {
        &self.shared.figures
    }

    /// The caller, for sessions outside of the pool.
    pub(crate) fn caller(&self) -> &Caller {
        &self.shared.caller
    }

    /// Does the same as [`with_retry`](Self::with_retry) until `deadline`, and passes a [`CallProgress`] to the
    /// operation.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        what: &str,
        deadline: &Deadline,
        operation: impl Fn(&mut Client, &CallProgress) -> Result<T, DatabaseError> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let operation: PoolCall<T> = Arc::new(operation);
        self.retried(what, deadline, || self.try_once(&operation, deadline))
    }

    /// Does the same on a separate session, for queries that take no longer than opening one may. If the server has
    /// no capacity for another session, it uses one of the pool.
    pub(crate) fn ask_apart<T: Send + 'static>(
        &self,
        what: &str,
        deadline: &Deadline,
        ask: impl Fn(&mut Client) -> Result<T, DatabaseError> + Clone + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let opener = &self.shared.caller.opener;
        let pooled = ask.clone();
        let operation: PoolCall<T> = Arc::new(move |client, _| pooled(client));
        self.retried(what, deadline, || {
            let _active = self.shared.figures.calls.begin(Arc::default());
            match apart(opener, deadline, ask.clone()) {
                Err(error) if error.is_out_of_capacity() => self.try_once(&operation, deadline),
                result => result,
            }
        })
    }

    fn retried<T>(
        &self,
        what: &str,
        deadline: &Deadline,
        try_once: impl Fn() -> Result<T, DatabaseError>,
    ) -> Result<T, StoreError> {
        let failed = |error| match error {
            DatabaseError::Aborted => StoreError::aborted(format!("{what} was cancelled")),
            // It says what failed.
            DatabaseError::Described(described) => described,
            error => {
                let event = error.event();
                StoreError::new(format!("{what} failed"), error).at_event(event)
            }
        };
        let (mut attempt, mut away_since, mut lost) = (1, None, LostWrites::default());
        loop {
            if deadline.is_over() {
                return Err(failed(DatabaseError::Aborted));
            }
            self.shared.gate.wait(away_since, deadline).map_err(|error| match error {
                GateError::Aborted => failed(DatabaseError::Aborted),
                error => lost.explain(what, error, &self.shared.gate),
            })?;
            let error = match try_once() {
                Ok(value) => {
                    self.shared.gate.succeeded();
                    return Ok(value);
                }
                Err(error) => error,
            };
            lost.note(&error);
            match error.class() {
                ErrorClass::Away if matches!(error, DatabaseError::Standby(_)) => {
                    let error =
                        GateError::OutageTooLong(self.shared.gate.away_timeout(), Some(Arc::new(error)));
                    return Err(error.into_failure(what));
                }
                ErrorClass::Away => {
                    away_since.get_or_insert_with(Instant::now);
                    self.shared.figures.retries.with_label_values(&["away"]).inc();
                    self.shared.gate.close(error);
                }
                ErrorClass::Transient if attempt < self.shared.retry.attempts_max => {
                    let attempts_max = self.shared.retry.attempts_max;
                    let cause = in_full(&error);
                    log::warn!(
                        "Database operation failed, attempt {attempt}/{attempts_max}: {what}: {cause}"
                    );
                    if !deadline.sleep(self.shared.retry.delay(attempt, fastrand::f64())) {
                        return Err(failed(DatabaseError::Aborted));
                    }
                    self.shared.figures.retries.with_label_values(&["transient"]).inc();
                    attempt += 1;
                }
                ErrorClass::Transient | ErrorClass::Data | ErrorClass::Fatal => return Err(failed(error)),
            }
        }
    }

    fn try_once<T: Send + 'static>(
        &self,
        operation: &PoolCall<T>,
        deadline: &Deadline,
    ) -> Result<T, DatabaseError> {
        let mut session = self.check_out(deadline)?;
        let result = self.shared.caller.call(&mut session, operation, deadline);
        if result.as_ref().is_err_and(DatabaseError::is_loss) {
            self.shared.figures.connection_errors.inc();
        }
        result
    }
}

/// The hint if all connections are in use.
const SHARE: &str = "\nhint: return connections sooner, or raise DATABASE_POOL_MAX";

/// The limits of the interval at which idle connections are checked.
const TRIM_MIN: Duration = Duration::from_millis(100);
const TRIM_MAX: Duration = Duration::from_secs(10);
