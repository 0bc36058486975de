//! The store that is a PostgreSQL: the modes of writing, each tried until it succeeds or can't.

use super::call::Progress;
use super::classify::ErrorClass;
use super::client::Client;
use super::error::DatabaseError;
use super::indexes::PutOff;
use super::ledger::{Held, Ledger};
use super::manager::DatabaseManager;
use super::patience::Patience;
use super::runs::OtherRuns;
use super::store::{Batch, SegmentCounts, SegmentHash, Store, StoreError, Written};
use super::update::OnConflict;
use super::write::{Mode, Refusals, Writer};
use crate::causes::in_full;
use crate::kill::Server;
use crate::layout::{Distribution, Layout};
use std::sync::{Arc, RwLock};
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
    /// Where the rows of the tables are.
    pub distribution: Distribution,
}

/// Stores segments in PostgreSQL.
#[derive(Debug)]
pub struct PostgresStore {
    manager: DatabaseManager,
    writer: Arc<Writer>,
    patience: Patience,
    /// For what is done when there is time for it.
    leisure: Patience,
    put_off: PutOff,
    /// Held for writing while indexes are built: rows that wait for that within the database would look stuck.
    writing: RwLock<()>,
}

impl PostgresStore {
    /// A store for the run `run`, which waits for the database as long as `patience` lasts, and leaves building indexes to
    /// the next run once `leisure` is over. The tables must be there.
    pub fn new(
        manager: DatabaseManager,
        settings: &StoreSettings,
        run: Uuid,
        patience: Patience,
        leisure: Patience,
    ) -> Self {
        let StoreSettings { layout, ref schema, server, on_conflict, held, distribution } = *settings;
        let ledger = Ledger::new(schema, server, layout, run, held, distribution);
        let writer = Writer::new(ledger, layout, schema, server, on_conflict, distribution);
        let put_off = PutOff::new(layout, schema, run);
        Self { manager, writer: Arc::new(writer), patience, leisure, put_off, writing: RwLock::default() }
    }

    /// Builds the indexes that are missing, at the run's end, unless another run goes on, which then does.
    pub fn build_indexes(&self) {
        self.build_unless(OtherRuns::All);
    }

    fn build_unless(&self, others: OtherRuns) {
        let _nobody_writes = self.writing.write();
        if let Err(error) = self.put_off.build(&self.manager, others, &self.leisure) {
            log::warn!(
                "{}; all events are stored, and queries are slow until 'aegis-kills schema apply' or the next load \
                 has made the missing indexes",
                in_full(&error)
            );
        }
    }
}

impl Store for PostgresStore {
    fn loaded(&self, hash: &SegmentHash) -> Result<Option<SegmentCounts>, StoreError> {
        let (writer, hash) = (Arc::clone(&self.writer), *hash);
        self.manager.run("looking up the ledger", &self.patience, move |client, _| {
            writer.ledger().find(client, &hash)
        })
    }

    fn catch_up(&self) {
        if self.put_off.is_due() {
            self.build_unless(OtherRuns::Young);
        }
    }

    fn write(&self, batch: &Arc<Batch>) -> Result<Written, StoreError> {
        let _writes = self.writing.read();
        let (writer, batch, refusals) = (Arc::clone(&self.writer), Arc::clone(batch), Refusals::default());
        self.manager.run("writing a segment", &self.patience, move |client, progress| {
            write_once(&writer, client, progress, &batch, &refusals)
        })
    }
}

/// One try of one batch: each mode gives way to the next one where the tables ask for it.
fn write_once(
    writer: &Writer,
    client: &mut Client,
    progress: &Progress,
    batch: &Batch,
    refusals: &Refusals,
) -> Result<Written, DatabaseError> {
    let mut mode = Mode::Direct;
    loop {
        mode = match writer.attempt(client, progress, batch, mode, refusals) {
            Ok(written) => return Ok(written),
            Err(error) if mode == Mode::Direct && writer.may_merge(&error) => Mode::Merge,
            Err(error) if error.class() != ErrorClass::Data || mode == Mode::Narrow => return Err(error),
            Err(_) => Mode::Narrow,
        };
    }
}
