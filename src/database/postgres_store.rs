//! The store that is a PostgreSQL: connections from the pool, the modes of writing, and trying again.

use super::classify::{ErrorClass, WriteError};
use super::ledger::{Held, Ledger};
use super::manager::DatabaseManager;
use super::retry::RetryPolicy;
use super::store::{Batch, SegmentCounts, SegmentHash, Store, StoreError, Written};
use super::update::OnConflict;
use super::write::{Mode, Writer};
use crate::causes::in_full;
use crate::kill::Server;
use crate::layout::Layout;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// What a load stores, and where.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The tables.
    pub layout: Layout,
    /// The schema that they are in.
    pub schema: String,
    /// The game server that the events are of.
    pub server: Server,
    /// What is done with events that are stored already.
    pub on_conflict: OnConflict,
    /// What is done with segments that were loaded before.
    pub held: Held,
    /// When a batch is tried again.
    pub retry: RetryPolicy,
}

/// Stores segments in PostgreSQL.
#[derive(Debug)]
pub struct PostgresStore {
    manager: DatabaseManager,
    writer: Writer,
    retry: RetryPolicy,
    retries: AtomicU64,
    connection_errors: AtomicU64,
}

impl PostgresStore {
    /// A store for the run `run`. The tables must be there.
    pub fn new(manager: DatabaseManager, settings: &StoreSettings, run: Uuid) -> Self {
        let StoreSettings { layout, server, held, retry, .. } = *settings;
        let ledger = Ledger::new(&settings.schema, server, layout, run, held);
        Self {
            manager,
            writer: Writer::new(ledger, layout, &settings.schema, server, settings.on_conflict),
            retry,
            retries: AtomicU64::new(0),
            connection_errors: AtomicU64::new(0),
        }
    }

    /// How often something was tried again.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// How often no connection could be had, or one was lost.
    pub fn connection_errors(&self) -> u64 {
        self.connection_errors.load(Ordering::Relaxed)
    }

    /// Runs `operation` with a connection, again and again while its errors may pass.
    fn with_retry<T>(
        &self,
        what: &str,
        mut operation: impl FnMut(&mut postgres::Client) -> Result<T, WriteError>,
    ) -> Result<T, StoreError> {
        for attempt in 1.. {
            let mut connection = self.manager.get().inspect_err(|_| {
                self.connection_errors.fetch_add(1, Ordering::Relaxed);
            })?;
            let error = match operation(&mut connection) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if connection.is_closed() {
                self.connection_errors.fetch_add(1, Ordering::Relaxed);
            }
            drop(connection);
            if error.class() != ErrorClass::Transient || attempt >= self.retry.attempts_max {
                return Err(StoreError::new(format!("{what} failed"), error));
            }
            log::warn!(
                "Database operation failed, attempt {attempt}/{}: {what}: {}",
                self.retry.attempts_max,
                in_full(&error)
            );
            self.retries.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(self.retry.delay(attempt, fastrand::f64()));
        }
        unreachable!("the loop ends with its last attempt")
    }

    /// One try of one batch: each mode gives way to the next one where the tables ask for it.
    fn write_once(&self, client: &mut postgres::Client, batch: &Batch<'_>) -> Result<Written, WriteError> {
        const UNIQUE_VIOLATION: &str = "23505";
        let mut mode = Mode::Direct;
        loop {
            mode = match self.writer.attempt(client, batch, mode) {
                Ok(written) => return Ok(written),
                Err(error) if error.class() != ErrorClass::Data || mode == Mode::Narrow => return Err(error),
                Err(error) if mode == Mode::Direct && error.sqlstate() == Some(UNIQUE_VIOLATION) => {
                    Mode::Merge
                }
                Err(_) => Mode::Narrow,
            };
        }
    }
}

impl Store for PostgresStore {
    fn loaded(&self, hash: &SegmentHash) -> Result<Option<SegmentCounts>, StoreError> {
        self.with_retry("looking up the ledger", |client| Ok(self.writer.ledger().find(client, hash)?))
    }

    fn write(&self, batch: &Batch<'_>) -> Result<Written, StoreError> {
        self.with_retry("writing a segment", |client| self.write_once(client, batch))
    }
}
