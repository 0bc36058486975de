//! Compares the events of a dump with the stored events.
//!
//! Invariant: the rows of one batch are read in one snapshot. If another session writes an event meanwhile, all or none
//! of its rows are visible.

use crate::database::failure::error::DatabaseError;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::citus;
use crate::database::session::deadline::Deadline;
use crate::database::session::transaction::Transaction;
use crate::database::store::{Batch, StoreError};
use crate::database::write::exists::advised;
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::compare::{Difference, MalformedRows, StoredRows};
use crate::layout::identifier::quote_identifier;
use crate::layout::rows::TABLES_MAX;
use crate::layout::table::{Distribution, Table};
use std::sync::Arc;

/// The stored state of an event of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoredEvent {
    Missing,
    /// Its rows equal those of the dump. If the dump has several versions of the event, they equal those of one version.
    Same,
    /// A row is missing or superfluous, or a column has another value. Holds the first difference from the version that
    /// a load would store.
    Different(Difference),
}

/// Compares the events of batches with the stored events, for one layout, schema and game server.
#[derive(Debug)]
pub(crate) struct Comparer {
    distribution: Distribution,
    schema: String,
    tables: Arc<[(&'static Table, String)]>,
}

impl Comparer {
    pub(crate) fn new(layout: Layout, schema: &str, server: Server, distribution: Distribution) -> Self {
        let quoted = quote_identifier(schema);
        let select = |table: &'static Table| {
            let columns: Vec<String> =
                table.columns.iter().map(|column| quote_identifier(column.name)).collect();
            (table, table.select_stored(&quoted, server, &columns.join(", "), distribution))
        };
        Self { distribution, schema: schema.to_owned(), tables: layout.tables().iter().map(select).collect() }
    }

    /// The stored state of each event of the batch, by id in ascending order.
    ///
    /// # Errors
    ///
    /// The tables cannot be read, the database was unreachable for `DATABASE_AWAY_TIMEOUT`, or `deadline` is over.
    pub(crate) fn compare(
        &self,
        manager: &DatabaseManager,
        deadline: &Deadline,
        batch: &Arc<Batch>,
    ) -> Result<Vec<(i64, StoredEvent)>, StoreError> {
        let (tables, schema, of_batch) = (Arc::clone(&self.tables), self.schema.clone(), Arc::clone(batch));
        let distribution = self.distribution;
        let answers = manager.run("reading stored events", deadline, move |client, progress| {
            let mut transaction = Transaction::snapshot(client, progress)?;
            if distribution == Distribution::Citus {
                transaction.batch_execute(citus::NODE_SETTINGS)?;
            }
            let answers =
                read(&mut transaction, &tables, &of_batch, distribution).map_err(|error| match error {
                    DatabaseError::Postgres(error) => advised(&schema, error),
                    error => error,
                })?;
            transaction.rollback()?;
            Ok(answers)
        })?;
        // Outside the call: the time for it says nothing about the server, holds no connection and is never repeated.
        judge(&self.tables, &answers, batch)
    }
}

type Answers = [Vec<u8>; TABLES_MAX];

/// Reads the rows of the batch's events in each table.
fn read(
    transaction: &mut Transaction<'_>,
    tables: &[(&'static Table, String)],
    batch: &Batch,
    distribution: Distribution,
) -> Result<Answers, DatabaseError> {
    let ids: Vec<String> = batch.rows.ids(&batch.order).iter().map(i64::to_string).collect();
    let ids = format!("'{{{}}}'", ids.join(","));
    let mut answers = Answers::default();
    for ((_, select), answer) in tables.iter().zip(&mut answers) {
        let select = with_ids(select, distribution, &ids);
        transaction.copy_out(&format!("COPY ({select}) TO STDOUT (FORMAT binary)"), answer)?;
    }
    Ok(answers)
}

/// Replaces the parameter of a statement by the ids, because COPY has no parameters. Names in the statement may look
/// like a parameter. On one server the parameter precedes the table's name; on Citus it follows it.
fn with_ids(select: &str, distribution: Distribution, ids: &str) -> String {
    const PARAMETER: &str = "($1";
    let found = match distribution {
        Distribution::OneServer => select.find(PARAMETER),
        Distribution::Citus => select.rfind(PARAMETER),
    };
    match found {
        Some(at) => format!("{}({ids}{}", &select[..at], &select[at + PARAMETER.len()..]),
        None => select.to_owned(),
    }
}

fn judge(
    tables: &[(&'static Table, String)],
    answers: &Answers,
    batch: &Batch,
) -> Result<Vec<(i64, StoredEvent)>, StoreError> {
    let malformed = |error| StoreError::new("stored rows cannot be compared", error);
    let stored: Vec<StoredRows<'_>> = tables
        .iter()
        .zip(answers)
        .map(|((table, _), answer)| StoredRows::of_answer(table, answer))
        .collect::<Result<_, _>>()
        .map_err(malformed)?;
    let id = |event: usize| batch.rows.events()[event].id;
    let difference = |event: usize| {
        stored.iter().enumerate().find_map(|(number, rows)| {
            rows.first_difference(id(event), &batch.rows.get(event, number)).transpose()
        })
    };
    let is_same = |event: usize| {
        for (number, rows) in stored.iter().enumerate() {
            if !rows.is_same(id(event), &batch.rows.get(event, number))? {
                return Ok(false);
            }
        }
        Ok::<bool, MalformedRows>(true)
    };
    let mut events = Vec::with_capacity(batch.order.len());
    for versions in batch.versions.chunk_by(|&a, &b| id(a) == id(b)) {
        let (first, others) = (versions[0], &versions[1..]);
        if !stored[0].contains(id(first)) {
            events.push((id(first), StoredEvent::Missing));
            continue;
        }
        let mut found = StoredEvent::Same;
        if let Some(difference) = difference(first).transpose().map_err(malformed)? {
            found = StoredEvent::Different(difference);
            for &version in others {
                if is_same(version).map_err(malformed)? {
                    found = StoredEvent::Same;
                    break;
                }
            }
        }
        events.push((id(first), found));
    }
    Ok(events)
}
