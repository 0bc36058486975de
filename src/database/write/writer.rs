//! The transaction of a batch, in three modes: directly into the tables; through a staging table if there are
//! conflicts; with bisection if the database refuses an event.
//!
//! On Citus, the second and third mode use staging tables for all tables, because a COPY there does not report the real
//! error.
//!
//! Invariant: one transaction contains the segment's ledger row and all rows of its events. Events are written in key
//! order, with event rows before all other rows, so that two writers of the same events cannot deadlock.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::kept_rows::KeptRows;
use crate::database::ledger::opening::{OpenedSegment, OutcomeTime, SegmentOpening};
use crate::database::ledger::segments::{Ledger, LedgerClaim, SegmentOutcome, SegmentRow};
use crate::database::options::OnConflict;
use crate::database::schema::citus;
use crate::database::schema::user_code::UserCode;
use crate::database::schemas::Schemas;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::first_column;
use crate::database::session::progress::CallProgress;
use crate::database::session::transaction::Transaction;
use crate::database::store::{Batch, Refused, Written};
use crate::database::write::exists::{Leftovers, close_together, split, stored_query};
use crate::database::write::refusals::Refusals;
use crate::database::write::table_statements::{TableStatements, WriteMode};
use crate::database::write::update::{OneServerUpdater, Updater};
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::identifier::{quote_identifier, quoted_list};
use crate::layout::rows::Rows;
use crate::layout::table::Distribution;
use std::collections::HashSet;

/// The statements of one layout in one schema for one server.
#[derive(Debug)]
pub(crate) struct BatchWriter {
    ledger: Ledger,
    /// `None` on Citus, where a segment's row is written last.
    opening: Option<SegmentOpening>,
    user_code: UserCode,
    /// `None` if no user code can remove or change rows.
    kept_rows: Option<KeptRows>,
    distribution: Distribution,
    stored: String,
    /// On Citus, the query for ids that are close together.
    stored_between: Option<String>,
    tables: Vec<TableStatements>,
    stage: String,
    copy_stage: String,
    merge: String,
    /// `None` on Citus.
    leftovers: Option<Leftovers>,
    /// `None` if stored events are kept.
    updater: Option<Updater>,
}

/// The numbers of new and of rewritten events.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Put {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
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
        user_code: UserCode,
    ) -> Self {
        let schema = &schemas.tables;
        let updater = match on_conflict {
            OnConflict::Skip => None,
            OnConflict::Update => Some(Updater::new(layout, schema, server, distribution)),
        };
        let stored = stored_query(layout, schema, server, distribution);
        let is_one_server = distribution == Distribution::OneServer;
        let leftovers = is_one_server.then(|| Leftovers::new(layout, schema, server));
        let has_code = is_one_server && !user_code.is_absent();
        let kept_rows = has_code.then(|| KeptRows::new(layout, schema));
        let opening = is_one_server.then(|| {
            let outcome = match on_conflict {
                OnConflict::Skip => OutcomeTime::AtLookup,
                OnConflict::Update => OutcomeTime::AtEnd,
            };
            SegmentOpening::new(&ledger, &stored, outcome)
        });
        let schema = quote_identifier(schema);
        let tables = layout.tables();
        let event = &tables[0];
        let (target, columns, id) = (event.in_schema(&schema), event.column_list(), event.id_column());
        let is_distributed = distribution == Distribution::Citus;
        Self {
            ledger,
            opening,
            user_code,
            kept_rows,
            stored_between: is_distributed.then(|| event.select_ids_between(&schema, server)),
            distribution,
            updater,
            leftovers,
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
                .map(|(number, table)| TableStatements::new(number, table, &schema, server, distribution))
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
        let path = self.user_code.path(client)?;
        match &self.opening {
            Some(opening) if mode == WriteMode::Direct => {
                let (transaction, opened) = opening.begin(client, progress, batch, path)?;
                match opened {
                    Some(opened) => self.write_opened(transaction, batch, &opened, refusals),
                    None => self.claim_and_write(transaction, batch, mode, refusals),
                }
            }
            _ => {
                let (mut transaction, _) = Transaction::begin_with(client, progress, path)?;
                if self.distribution == Distribution::Citus {
                    transaction.batch_execute(citus::NODE_SETTINGS)?;
                }
                self.claim_and_write(transaction, batch, mode, refusals)
            }
        }
    }

    /// Writes the events of a new segment into the tables.
    fn write_opened(
        &self,
        mut transaction: Transaction<'_>,
        batch: &Batch,
        opened: &OpenedSegment,
        refusals: &Refusals,
    ) -> Result<Written, DatabaseError> {
        let (known, new) = split(&batch.rows, &batch.order, &opened.known);
        let put = self.put_known_and_new(&mut transaction, batch, &known, &new, WriteMode::Direct)?;
        match opened.tried {
            None => self.settle(transaction, batch, SegmentRow::Written, put, &[], refusals),
            Some(tried) => {
                let SegmentOutcome { inserted, updated, duplicate, .. } = tried.outcome();
                refusals.record(&[], tried);
                transaction.commit()?;
                Ok(Written::Stored { inserted, updated, duplicate, refused: Vec::new() })
            }
        }
    }

    fn claim_and_write(
        &self,
        mut transaction: Transaction<'_>,
        batch: &Batch,
        mode: WriteMode,
        refusals: &Refusals,
    ) -> Result<Written, DatabaseError> {
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
            WriteMode::Bisect => self.bisect(&mut transaction, batch, &mut refused, refusals)?,
        };
        self.settle(transaction, batch, row, put, &refused, refusals)
    }

    /// Writes the outcome into the segment's row, and commits.
    fn settle(
        &self,
        mut transaction: Transaction<'_>,
        batch: &Batch,
        row: SegmentRow,
        put: Put,
        refused: &[Refused],
        refusals: &Refusals,
    ) -> Result<Written, DatabaseError> {
        let Put { inserted, updated } = put;
        let outcome = SegmentOutcome {
            inserted,
            updated,
            duplicate: batch.versions.len() as u64 - inserted - updated - refused.len() as u64,
            rejected: batch.rejected + refused.len() as u64,
        };
        let tried = self.ledger.settle(&mut transaction, batch, row, outcome)?;
        refusals.record(refused, tried);
        transaction.commit()?;
        Ok(Written::Stored { inserted, updated, duplicate: outcome.duplicate, refused: refused.to_vec() })
    }

    /// Writes the events of a segment that was loaded before, or of any segment on Citus.
    fn direct(&self, transaction: &mut Transaction<'_>, batch: &Batch) -> Result<Put, DatabaseError> {
        let (known, new) = self.known_and_new(transaction, &batch.rows, &batch.order)?;
        // Event rows of the segment that are missing were deleted since, so child rows may be left over.
        let mode = if self.leftovers.is_some() { WriteMode::Merge } else { WriteMode::Direct };
        self.put_known_and_new(transaction, batch, &known, &new, mode)
    }

    fn put_known_and_new(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
        known: &[usize],
        new: &[usize],
        mode: WriteMode,
    ) -> Result<Put, DatabaseError> {
        if !known.is_empty() {
            self.take_turn(transaction)?;
        }
        let inserted = self.insert(transaction, &batch.rows, new, mode)?;
        let updated = self.update(transaction, &batch.rows, known)?;
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
        self.insert_children(transaction, &batch.rows, &new, WriteMode::Merge)?;
        let (known, dropped) = self.known_and_new(transaction, &batch.rows, &known)?;
        if !dropped.is_empty() {
            return Err(DatabaseError::Dropped(Vec::new()));
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
        self.tables[0].put_all(transaction, rows, events, mode)?;
        self.insert_children(transaction, rows, events, mode)?;
        Ok(events.len() as u64)
    }

    /// Stores the child rows of `events`, whose event rows the transaction has inserted. Rows that are left over are kept,
    /// except in [`WriteMode::Direct`], in which they cause a unique violation.
    fn insert_children(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
        mode: WriteMode,
    ) -> Result<(), DatabaseError> {
        let without_rows = match &self.leftovers {
            Some(leftovers) if mode != WriteMode::Direct => leftovers.complete(transaction, rows, events)?,
            _ => events.to_vec(),
        };
        for table in &self.tables[1..] {
            table.put_all(transaction, rows, &without_rows, mode)?;
        }
        self.check_kept(transaction, rows, events)
    }

    /// Fails if a trigger or rule has removed or changed rows of `events`, which were inserted.
    fn check_kept(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<(), DatabaseError> {
        let Some(kept) = &self.kept_rows else { return Ok(()) };
        if !kept.has_code(transaction)? {
            return Ok(());
        }
        let mut altered = Vec::new();
        for table in &self.tables {
            altered.extend(table.incomplete(transaction, rows, events)?);
        }
        if altered.is_empty() { Ok(()) } else { Err(DatabaseError::Altered(altered)) }
    }

    /// Sends each table a COPY without rows.
    pub(crate) fn insert_none(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
    ) -> Result<(), DatabaseError> {
        for table in &self.tables {
            table.put_none(transaction, rows)?;
        }
        Ok(())
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

    /// The updater that can compare a batch once and rewrite parts of it, if updates are enabled. `None` on Citus.
    pub(crate) fn updater_in_parts(&self) -> Option<&OneServerUpdater> {
        self.updater.as_ref().and_then(Updater::in_parts)
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
        let ids = rows.ids(events);
        let stored = match (&self.stored_between, close_together(&ids)) {
            (Some(sql), Some((first, last))) => transaction.query(sql, &[&first, &last])?,
            _ => transaction.query(&self.stored, &[&ids])?,
        };
        let stored: HashSet<i64> = first_column(&stored)?;
        Ok(split(rows, events, &stored))
    }
}
