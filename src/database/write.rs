//! The transaction of a batch, in three ways: straight into the tables where nothing collides; through a
//! staging table where something does; and event by event where the database refuses one.
//!
//! Invariant: one transaction holds the segment's ledger row and all rows of its events. Events are written in
//! the order of their keys, and their event rows before all others, so that two writers of the same events wait
//! for each other in one direction only.

use super::classify::ErrorClass;
use super::classify::{WriteError, copy_error};
use super::ledger::{Claim, Ledger, SegmentOutcome};
use super::present::stored_query;
use super::store::{Batch, Refused, Written};
use super::update::{OnConflict, Updater};
use crate::kill::Server;
use crate::layout::{COPY_HEADER, COPY_TRAILER, Layout, Rows, Table, quote_identifier};
use postgres::{Client, Transaction};
use std::collections::HashSet;
use std::io::Write as _;
use std::ops::Add;

/// How much is sent in one message: `CopyInWriter` makes a message of each write that is over 4 KiB.
const COPY_CHUNK_BYTES: usize = 128 << 10;

/// How a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// COPY into the tables, of the events that are not stored yet.
    Direct,
    /// COPY of the event rows into a staging table, `INSERT … ON CONFLICT DO NOTHING` from there, and COPY of
    /// the other rows of the events that were new.
    Merge,
    /// As `Merge`, halving what is refused until the event is found.
    Narrow,
}

/// The statements of one layout in one schema for one server.
#[derive(Debug)]
pub(super) struct Writer {
    ledger: Ledger,
    stored: String,
    tables: Vec<TableStatements>,
    stage: String,
    copy_stage: String,
    merge: String,
    /// None where stored events are left as they are.
    updater: Option<Updater>,
}

#[derive(Debug)]
struct TableStatements {
    copy: String,
    delete: String,
}

/// What became of a batch, or that another mode is needed.
pub(super) enum Attempt {
    Done(Written),
    /// The row count says that rows were dropped without an error, or a key was taken in the meantime.
    Collided,
}

/// How many events were new, and how many were rewritten.
#[derive(Debug, Clone, Copy, Default)]
struct Put {
    inserted: u64,
    updated: u64,
}

impl Add for Put {
    type Output = Put;

    fn add(self, other: Put) -> Put {
        Put { inserted: self.inserted + other.inserted, updated: self.updated + other.updated }
    }
}

const STAGE: &str = "pg_temp.aegis_kills_stage";

impl Writer {
    pub(super) fn new(
        ledger: Ledger,
        layout: Layout,
        schema: &str,
        server: Server,
        on_conflict: OnConflict,
    ) -> Self {
        let updater = match on_conflict {
            OnConflict::Skip => None,
            OnConflict::Update => Some(Updater::new(layout, schema, server)),
        };
        let stored = stored_query(layout, schema, server);
        let schema = quote_identifier(schema);
        let tables = layout.tables();
        let event = &tables[0];
        let columns = column_list(event);
        let name = event.name;
        Self {
            ledger,
            updater,
            stored,
            stage: format!(
                "CREATE TEMP TABLE aegis_kills_stage ON COMMIT DROP AS SELECT {columns} FROM {schema}.{name} WITH NO DATA"
            ),
            copy_stage: format!("COPY {STAGE} ({columns}) FROM STDIN BINARY"),
            merge: format!(
                "INSERT INTO {schema}.{name} ({columns}) SELECT {columns} FROM {STAGE} ORDER BY event_id
                 ON CONFLICT ({}) DO NOTHING RETURNING event_id",
                event.key.join(", ")
            ),
            tables: tables
                .iter()
                .map(|table| TableStatements {
                    copy: format!("COPY {schema}.{} ({}) FROM STDIN BINARY", table.name, column_list(table)),
                    delete: format!(
                        "DELETE FROM {schema}.{} WHERE server = '{server}' AND event_id = ANY ($1)",
                        table.name
                    ),
                })
                .collect(),
        }
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// One try of one batch, from BEGIN to COMMIT.
    pub(super) fn attempt(
        &self,
        client: &mut Client,
        batch: &Batch<'_>,
        mode: Mode,
    ) -> Result<Attempt, WriteError> {
        let mut transaction = client.transaction()?;
        match self.ledger.claim(&mut transaction, batch)? {
            Claim::Taken => {}
            Claim::Held(counts) => {
                transaction.rollback()?;
                return Ok(Attempt::Done(Written::AlreadyLoaded(counts)));
            }
            Claim::CommittedBefore(outcome) => {
                transaction.rollback()?;
                return Ok(Attempt::Done(Written::Stored {
                    inserted: outcome.inserted,
                    updated: outcome.updated,
                    duplicate: outcome.duplicate,
                    refused: Vec::new(),
                }));
            }
        }
        let mut refused = Vec::new();
        let mut put = match mode {
            Mode::Direct => match self.direct(&mut transaction, batch)? {
                Some(put) => put,
                None => return Ok(Attempt::Collided),
            },
            Mode::Merge => {
                transaction.batch_execute(&self.stage)?;
                self.merge(&mut transaction, batch, batch.order, &mut refused)?
            }
            Mode::Narrow => {
                transaction.batch_execute(&self.stage)?;
                // What is checked at the end of a transaction is checked at each step, so that the event is found.
                transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE")?;
                self.narrow(&mut transaction, batch, batch.order, &mut refused)?
            }
        };
        put = put + self.other_versions(&mut transaction, batch, &mut refused)?;
        let Put { inserted, updated } = put;
        let outcome = SegmentOutcome {
            inserted,
            updated,
            duplicate: batch.versions.len() as u64 - inserted - updated - refused.len() as u64,
            rejected: batch.rejected + refused.len() as u64,
        };
        self.ledger.settle(&mut transaction, batch, outcome)?;
        transaction.commit()?;
        Ok(Attempt::Done(Written::Stored { inserted, updated, duplicate: outcome.duplicate, refused }))
    }

    /// None where rows were dropped without an error.
    fn direct(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch<'_>,
    ) -> Result<Option<Put>, WriteError> {
        let stored = self.stored(transaction, batch.rows, batch.order)?;
        let is_stored = |&&event: &&usize| stored.contains(&batch.rows.events()[event].id);
        let (known, new): (Vec<usize>, Vec<usize>) = batch.order.iter().partition(is_stored);
        if !new.is_empty() {
            for (table, statements) in self.tables.iter().enumerate() {
                let copied = copy(transaction, &statements.copy, batch.rows, table, &new)?;
                if table == 0 && copied != new.len() as u64 {
                    return Ok(None);
                }
            }
        }
        let updated = self.update(transaction, batch.rows, &known)?;
        Ok(Some(Put { inserted: new.len() as u64, updated }))
    }

    /// Events that are neither new nor stored were dropped by the tables, and are refused.
    fn merge(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch<'_>,
        events: &[usize],
        refused: &mut Vec<Refused>,
    ) -> Result<Put, WriteError> {
        copy(transaction, &self.copy_stage, batch.rows, 0, events)?;
        let rows = transaction.query(&self.merge, &[])?;
        transaction.batch_execute(&format!("TRUNCATE {STAGE}"))?;
        let new_ids: HashSet<i64> = rows.iter().map(|row| row.get(0)).collect();
        let id = |event: usize| batch.rows.events()[event].id;
        let (new, known): (Vec<usize>, Vec<usize>) =
            events.iter().partition(|&&event| new_ids.contains(&id(event)));
        if !new.is_empty() {
            let ids: Vec<i64> = new.iter().map(|&event| id(event)).collect();
            for (table, statements) in self.tables.iter().enumerate().skip(1) {
                // Someone may have deleted an event and left its other rows.
                transaction.execute(&statements.delete, &[&ids])?;
                copy(transaction, &statements.copy, batch.rows, table, &new)?;
            }
        }
        let stored = self.stored(transaction, batch.rows, &known)?;
        let (known, dropped): (Vec<usize>, Vec<usize>) =
            known.into_iter().partition(|&event| stored.contains(&id(event)));
        let updated = self.update(transaction, batch.rows, &known)?;
        // Last, as an error above leaves the list as it was.
        refused.extend(dropped.into_iter().map(|event| Refused {
            event,
            sqlstate: None,
            reason: "a trigger or rule of the table dropped the event".to_owned(),
        }));
        Ok(Put { inserted: new.len() as u64, updated })
    }

    fn update(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        known: &[usize],
    ) -> Result<u64, WriteError> {
        match &self.updater {
            Some(updater) => updater.update(transaction, rows, known),
            None => Ok(0),
        }
    }

    fn narrow(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch<'_>,
        events: &[usize],
        refused: &mut Vec<Refused>,
    ) -> Result<Put, WriteError> {
        if events.is_empty() {
            return Ok(Put::default());
        }
        let mut savepoint = transaction.transaction()?;
        let error = match self.merge(&mut savepoint, batch, events, refused) {
            Ok(put) => {
                savepoint.commit()?;
                return Ok(put);
            }
            Err(error) if error.class() == ErrorClass::Data => error,
            Err(error) => return Err(error),
        };
        savepoint.rollback()?;
        if let [event] = events {
            refused.push(refusal(*event, &error));
            return Ok(Put::default());
        }
        let (first, second) = events.split_at(events.len() / 2);
        Ok(self.narrow(transaction, batch, first, refused)?
            + self.narrow(transaction, batch, second, refused)?)
    }

    /// Of an event that was refused, another version in the segment may be taken: each is tried in its turn.
    fn other_versions(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch<'_>,
        refused: &mut Vec<Refused>,
    ) -> Result<Put, WriteError> {
        let (mut put, mut seen) = (Put::default(), 0);
        while seen < refused.len() {
            let next: Vec<usize> =
                refused[seen..].iter().filter_map(|refused| batch.next_version(refused.event)).collect();
            seen = refused.len();
            put = put + self.narrow(transaction, batch, &next, refused)?;
        }
        Ok(put)
    }

    /// The ids among `events` that are stored.
    fn stored(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<HashSet<i64>, WriteError> {
        if events.is_empty() {
            return Ok(HashSet::new());
        }
        let ids: Vec<i64> = events.iter().map(|&event| rows.events()[event].id).collect();
        let stored = transaction.query(&self.stored, &[&ids])?;
        Ok(stored.iter().map(|row| row.get(0)).collect())
    }
}

/// Sends the rows of `events` in one table, and returns how many the database took.
pub(super) fn copy(
    transaction: &mut Transaction<'_>,
    statement: &str,
    rows: &Rows,
    table: usize,
    events: &[usize],
) -> Result<u64, WriteError> {
    let mut writer = transaction.copy_in(statement)?;
    let mut chunk = Vec::with_capacity(COPY_CHUNK_BYTES * 2);
    chunk.extend_from_slice(COPY_HEADER);
    for &event in events {
        chunk.extend_from_slice(rows.of(event, table));
        if chunk.len() >= COPY_CHUNK_BYTES {
            writer.write_all(&chunk).map_err(copy_error)?;
            chunk.clear();
        }
    }
    chunk.extend_from_slice(COPY_TRAILER);
    writer.write_all(&chunk).map_err(copy_error)?;
    Ok(writer.finish()?)
}

pub(super) fn column_list(table: &Table) -> String {
    table.columns.iter().map(|column| quote_identifier(column.name)).collect::<Vec<_>>().join(", ")
}

/// The server's message names the constraint or the value, never the whole row, which is in its detail.
fn refusal(event: usize, error: &WriteError) -> Refused {
    let reason = match error {
        WriteError::Postgres(error) => {
            error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
        }
        WriteError::Io(error) => error.to_string(),
    };
    Refused { event, sqlstate: error.sqlstate().map(str::to_owned), reason }
}
