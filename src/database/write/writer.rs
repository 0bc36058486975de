//! The transaction of a batch, in three modes: directly into the tables; through a staging table if there are
//! conflicts; with bisection if the database refuses an event.
//!
//! On Citus, the second and third mode use staging tables for all tables, because a COPY there does not report the real
//! error.
//!
//! Invariant: one transaction contains the segment's ledger row and all rows of its events. Events are written in key
//! order, with event rows before all other rows, so that two writers of the same events cannot deadlock.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::segments::{Attempt, Ledger, LedgerClaim, SegmentOutcome};
use crate::database::options::OnConflict;
use crate::database::schema::citus;
use crate::database::schemas::Schemas;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::first_column;
use crate::database::session::progress::CallProgress;
use crate::database::session::transaction::Transaction;
use crate::database::store::{Batch, Refused, Written};
use crate::database::write::exists::stored_query;
use crate::database::write::staged_rows::Staged;
use crate::database::write::update::Updater;
use crate::database::write::user_code::UserCode;
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::identifier::{quote_identifier, quoted_list};
use crate::layout::rows::Rows;
use crate::layout::table::Distribution;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The mode of writing a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// COPY of the new events into the tables.
    Direct,
    /// COPY of the event rows into a staging table, `INSERT … ON CONFLICT DO NOTHING` from there, and COPY of the other
    /// rows of the new events.
    Merge,
    /// COPY with bisection to find refused events.
    Bisect,
}

/// The statements of one layout in one schema for one server.
#[derive(Debug)]
pub(crate) struct BatchWriter {
    ledger: Ledger,
    user_code: UserCode,
    distribution: Distribution,
    stored: String,
    /// On Citus, the query for ids that are close together.
    stored_between: Option<String>,
    tables: Vec<TableStatements>,
    stage: String,
    copy_stage: String,
    merge: String,
    /// `None` if stored events are kept.
    updater: Option<Updater>,
}

#[derive(Debug)]
struct TableStatements {
    name: &'static str,
    copy: String,
    delete: String,
    /// For distributed tables in all modes but [`WriteMode::Direct`]; `None` on one server.
    staged: Option<Staged>,
}

/// The numbers of new and of rewritten events.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Put {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
}

/// The attempt that last reached its COMMIT, and the events that the database refused in it.
///
/// Attempts are recorded while the segment's ledger row is locked. So of several attempts, some of them abandoned, the
/// last one recorded is the one that commits.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<(Vec<Refused>, Option<Attempt>)>);

impl Refusals {
    fn record(&self, refused: &[Refused], tried: Attempt) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (refused.to_vec(), Some(tried));
    }

    fn last(&self) -> Vec<Refused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    pub(crate) fn tried(&self) -> Option<Attempt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

const STAGE: &str = "pg_temp.aegis_kills_stage";
const STAGE_NAME: &str = "aegis_kills_stage";

impl BatchWriter {
    pub(crate) fn new(
        ledger: Ledger,
        layout: Layout,
        schemas: &Schemas,
        server: Server,
        on_conflict: OnConflict,
        distribution: Distribution,
    ) -> Self {
        let user_code = UserCode::new(layout, schemas);
        let schema = &schemas.tables;
        let updater = match on_conflict {
            OnConflict::Skip => None,
            OnConflict::Update => Some(Updater::new(layout, schema, server, distribution)),
        };
        let stored = stored_query(layout, schema, server, distribution);
        let schema = quote_identifier(schema);
        let tables = layout.tables();
        let event = &tables[0];
        let (target, columns, id) = (event.in_schema(&schema), event.column_list(), event.id_column());
        let is_distributed = distribution == Distribution::Citus;
        Self {
            ledger,
            user_code,
            stored_between: is_distributed.then(|| event.select_ids_between(&schema, server)),
            distribution,
            updater,
            stored,
            stage: format!(
                "CREATE TEMP TABLE aegis_kills_stage ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA"
            ),
            copy_stage: format!("COPY {STAGE} ({columns}) FROM STDIN BINARY"),
            merge: format!(
                "INSERT INTO {target} ({columns}) SELECT {columns} FROM {STAGE}{} ORDER BY {id}
                 ON CONFLICT ({}) DO NOTHING RETURNING {id}",
                if is_distributed { format!(" WHERE {id} = ANY ($1)") } else { String::new() },
                quoted_list(event.key)
            ),
            tables: tables
                .iter()
                .enumerate()
                .map(|(number, table)| {
                    let target = table.in_schema(&schema);
                    let is_stored = table.is_stored(&schema, server, distribution);
                    TableStatements {
                        name: table.name,
                        copy: format!("COPY {target} ({}) FROM STDIN BINARY", table.column_list()),
                        delete: format!("DELETE FROM {target} WHERE {is_stored}"),
                        staged: is_distributed.then(|| Staged::new(number, table, &schema)),
                    }
                })
                .collect(),
        }
    }

    /// One attempt to write a batch, from BEGIN to COMMIT. `refusals` outlives it: a later attempt that finds this one
    /// committed takes the refused events from there.
    pub(crate) fn attempt(
        &self,
        client: &mut Client,
        progress: &CallProgress,
        batch: &Batch,
        mode: WriteMode,
        refusals: &Refusals,
    ) -> Result<Written, DatabaseError> {
        let mut transaction = Transaction::begin(client, progress)?;
        self.user_code.give_path(&mut transaction)?;
        if self.distribution == Distribution::Citus {
            transaction.batch_execute(citus::NODE_SETTINGS)?;
        }
        let row = match self.ledger.claim(&mut transaction, batch, refusals.tried())? {
            LedgerClaim::Taken(row) => row,
            LedgerClaim::Held(loaded) => {
                transaction.rollback()?;
                return Ok(Written::AlreadyLoaded(loaded));
            }
            LedgerClaim::CommittedBefore(outcome) => {
                self.ledger.confirm(&mut transaction, batch)?;
                transaction.commit()?;
                return Ok(Written::Stored {
                    inserted: outcome.inserted,
                    updated: outcome.updated,
                    duplicate: outcome.duplicate,
                    refused: refusals.last(),
                });
            }
        };
        let mut refused = Vec::new();
        let put = match mode {
            WriteMode::Direct => self.direct(&mut transaction, batch)?,
            WriteMode::Merge => self.merge(&mut transaction, batch)?,
            WriteMode::Bisect => self.bisect(&mut transaction, batch, &mut refused)?,
        };
        let Put { inserted, updated } = put;
        let outcome = SegmentOutcome {
            inserted,
            updated,
            duplicate: batch.versions.len() as u64 - inserted - updated - refused.len() as u64,
            rejected: batch.rejected + refused.len() as u64,
        };
        let tried = self.ledger.settle(&mut transaction, batch, row, outcome)?;
        refusals.record(&refused, tried);
        transaction.commit()?;
        Ok(Written::Stored { inserted, updated, duplicate: outcome.duplicate, refused })
    }

    fn direct(&self, transaction: &mut Transaction<'_>, batch: &Batch) -> Result<Put, DatabaseError> {
        let (known, new) = self.known_and_new(transaction, &batch.rows, &batch.order)?;
        if !known.is_empty() {
            self.take_turn(transaction)?;
        }
        let inserted = self.insert(transaction, &batch.rows, &new, WriteMode::Direct)?;
        let updated = self.update(transaction, &batch.rows, &known)?;
        Ok(Put { inserted, updated })
    }

    fn merge(&self, transaction: &mut Transaction<'_>, batch: &Batch) -> Result<Put, DatabaseError> {
        self.take_turn(transaction)?;
        transaction.batch_execute(&self.stage)?;
        transaction.copy(&self.copy_stage, STAGE_NAME, &batch.rows, 0, &batch.order)?;
        let rows = match &self.tables[0].staged {
            None => transaction.move_returning(&self.merge, &[])?,
            Some(staged) => {
                let ids = batch.rows.ids(&batch.order);
                citus::each_shard(transaction, &staged.target, &ids, &self.merge)?
            }
        };
        let new_ids: HashSet<i64> = first_column(&rows)?;
        let is_new = |&&event: &&usize| new_ids.contains(&batch.rows.events()[event].id);
        let (new, known): (Vec<usize>, Vec<usize>) = batch.order.iter().partition(is_new);
        self.delete_leftovers(transaction, &batch.rows, &new)?;
        for table in 1..self.tables.len() {
            self.put_all(transaction, &batch.rows, table, &new, WriteMode::Merge)?;
        }
        let (known, dropped) = self.known_and_new(transaction, &batch.rows, &known)?;
        if !dropped.is_empty() {
            return Err(DatabaseError::Dropped);
        }
        let updated = self.update(transaction, &batch.rows, &known)?;
        Ok(Put { inserted: new.len() as u64, updated })
    }

    /// Stores new events, and returns their number.
    pub(crate) fn insert(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
        mode: WriteMode,
    ) -> Result<u64, DatabaseError> {
        if events.is_empty() {
            return Ok(0);
        }
        for table in 0..self.tables.len() {
            self.put_all(transaction, rows, table, events, mode)?;
        }
        Ok(events.len() as u64)
    }

    /// Sends each table a COPY without rows.
    pub(crate) fn insert_none(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
    ) -> Result<(), DatabaseError> {
        for statements in &self.tables {
            transaction.copy(&statements.copy, statements.name, rows, 0, &[])?;
        }
        Ok(())
    }

    /// Stores the rows of `events` in one table. Fails if a trigger or rule silently drops a row.
    fn put_all(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        table: usize,
        events: &[usize],
        mode: WriteMode,
    ) -> Result<(), DatabaseError> {
        let stored = self.put(transaction, rows, table, events, mode)?;
        let sent: usize = events.iter().map(|&event| rows.count(event, table)).sum();
        if stored == sent as u64 { Ok(()) } else { Err(DatabaseError::Dropped) }
    }

    /// Stores the rows of `events` in one table, and returns the number of stored rows.
    fn put(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        table: usize,
        events: &[usize],
        mode: WriteMode,
    ) -> Result<u64, DatabaseError> {
        let statements = &self.tables[table];
        match &statements.staged {
            Some(staged) if mode != WriteMode::Direct => staged.put(transaction, rows, table, events),
            _ => transaction.copy(&statements.copy, statements.name, rows, table, events),
        }
    }

    /// Whether to retry a segment through a staging table after this error. Either another session stored an event
    /// first, or a node of Citus refused a row and COPY does not report the real error.
    pub(crate) fn may_merge(&self, error: &DatabaseError) -> bool {
        const UNIQUE_VIOLATION: &str = "23505";
        const INTERNAL_ERROR: &str = "XX000";
        match error.sqlstate() {
            Some(UNIQUE_VIOLATION) => true,
            Some(INTERNAL_ERROR) => self.distribution == Distribution::Citus,
            _ => false,
        }
    }

    /// Must precede all writes of a transaction that may rewrite events.
    pub(crate) fn take_turn(&self, transaction: &mut Transaction<'_>) -> Result<(), DatabaseError> {
        self.updater.as_ref().map_or(Ok(()), |updater| updater.take_turn(transaction))
    }

    /// Rewrites the differing events among `events`, which are all stored, if updates are enabled. Returns their number.
    pub(crate) fn update(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<u64, DatabaseError> {
        match &self.updater {
            Some(updater) => updater.update(transaction, rows, events),
            None => Ok(0),
        }
    }

    /// Deletes child rows of events that were deleted by hand.
    pub(crate) fn delete_leftovers(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<(), DatabaseError> {
        let ids = rows.ids(events);
        for statements in &self.tables[1..] {
            transaction.move_rows(&statements.delete, &[&ids])?;
        }
        Ok(())
    }

    /// Splits `events` into stored and new ones.
    pub(crate) fn known_and_new(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<(Vec<usize>, Vec<usize>), DatabaseError> {
        if events.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let id = |event: usize| rows.events()[event].id;
        let ids = rows.ids(events);
        let stored = match (&self.stored_between, close_together(&ids)) {
            (Some(sql), Some((first, last))) => transaction.query(sql, &[&first, &last])?,
            _ => transaction.query(&self.stored, &[&ids])?,
        };
        let stored: HashSet<i64> = first_column(&stored)?;
        Ok(events.iter().partition(|&&event| stored.contains(&id(event))))
    }
}

/// The first and the last of ascending ids, if the ids are dense, as in a dump of all kills.
///
/// Each shard of Citus looks up every requested id, even ids of other shards. For dense ids a range query is faster.
fn close_together(ids: &[i64]) -> Option<(i64, i64)> {
    const BETWEEN_MAX: i64 = 16;
    let (first, last) = (*ids.first()?, *ids.last()?);
    let between = last.checked_sub(first)?;
    (between / BETWEEN_MAX <= i64::try_from(ids.len()).ok()?).then_some((first, last))
}
