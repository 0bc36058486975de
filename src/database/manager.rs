//! The one pool of a process.

use super::connect::Target;
use super::store::StoreError;
use postgres::{Client, NoTls};
use r2d2::{HandleError, ManageConnection, Pool, PooledConnection};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The size of the pool and its waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Connections kept idle; at least 1, at most `max`.
    pub min: u32,
    /// Connections at most.
    pub max: u32,
    /// How long to wait for a connection.
    pub connection_timeout: Duration,
    /// How long an idle connection above the minimum is kept.
    pub idle_timeout: Duration,
}

/// A connection of the pool.
pub type Connection = PooledConnection<Manager>;

/// Connections to one database; built once by the program.
#[derive(Debug, Clone)]
pub struct DatabaseManager {
    pool: Pool<Manager>,
    last_error: LastError,
}

impl DatabaseManager {
    /// Connects once by itself, for an error that tells its cause, and builds the pool.
    pub fn connect(target: &Target, settings: PoolSettings) -> Result<Self, StoreError> {
        let manager = Manager { config: target.config.clone() };
        let first =
            manager.connect().map_err(|error| StoreError::new("the database can't be reached", error))?;
        drop(first);
        let last_error = LastError::default();
        let pool = Pool::builder()
            .min_idle(Some(settings.min))
            .max_size(settings.max)
            .connection_timeout(settings.connection_timeout)
            .idle_timeout(Some(settings.idle_timeout))
            .test_on_check_out(false)
            .error_handler(Box::new(last_error.clone()))
            .build_unchecked(manager);
        log::info!("Database connection pool initialized successfully");
        log::info!("Pool configuration: min={}, max={}", settings.min, settings.max);
        Ok(Self { pool, last_error })
    }

    /// A connection, within the time that the settings allow; an error names the cause of the last failure.
    pub fn get(&self) -> Result<Connection, StoreError> {
        self.pool.get().map_err(|timeout| {
            let state = self.pool.state();
            let what = format!(
                "no connection to the database could be had ({} open, {} of them idle)",
                state.connections, state.idle_connections
            );
            match self.last_error.take() {
                Some(error) => StoreError::new(what, error),
                None => StoreError::new(what, timeout),
            }
        })
    }
}

/// Opens connections for the pool.
#[derive(Debug)]
pub struct Manager {
    config: postgres::Config,
}

impl ManageConnection for Manager {
    type Connection = Client;
    type Error = postgres::Error;

    fn connect(&self) -> Result<Client, postgres::Error> {
        let mut config = self.config.clone();
        // The server's notices ("relation exists, skipping") are of no use to who runs a load.
        config.notice_callback(|notice| log::debug!("{notice}"));
        let mut client = config.connect(NoTls)?;
        client.batch_execute(SESSION_SETTINGS)?;
        Ok(client)
    }

    fn is_valid(&self, client: &mut Client) -> Result<(), postgres::Error> {
        client.batch_execute("")
    }

    fn has_broken(&self, client: &mut Client) -> bool {
        client.is_closed()
    }
}

/// What each session is set to; one round trip.
///
/// These sessions find rows by their keys alone. Of a table that was never analyzed the planner would think that
/// a few hundred ids are most of its rows, and read it whole for each segment.
const SESSION_SETTINGS: &str = "SET idle_in_transaction_session_timeout = '5min'; SET TimeZone = 'UTC'; \
                                SET enable_seqscan = off";

/// The pool keeps only a text of its errors; this keeps the last error itself.
#[derive(Debug, Clone, Default)]
struct LastError(Arc<Mutex<Option<postgres::Error>>>);

impl LastError {
    fn take(&self) -> Option<postgres::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl HandleError<postgres::Error> for LastError {
    fn handle_error(&self, error: postgres::Error) {
        log::debug!("connecting failed: {error}");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}
