//! Secondary indexes, which are deferred during a large load and built at its end.
//!
//! Invariant: deferred indexes are recorded only in the catalog, as missing indexes. So the next load builds the
//! indexes that a crashed run left, and `health` reports them until then.
//!
//! Invariant: no index is built while another run writes to the same tables, because its writes would block. The last
//! run builds them. Exception: an idle run does not wait for runs that may never end.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::runs::{OtherRuns, another_runs};
use crate::database::locks::SCHEMA_LOCK;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::catalog::Catalog;
use crate::database::schema::inspect::OWNER_APPLY;
use crate::database::schemas::Schemas;
use crate::database::session::client::{Client, LOCAL_COMMIT};
use crate::database::session::client_transaction::{ClientTransaction, GenericClient};
use crate::database::session::deadline::Deadline;
use crate::database::session::progress::CallProgress;
use crate::database::store::StoreError;
use crate::error_chain::in_full;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use crate::layout::table::TableOwner;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Delay before the next attempt, if another run is live or something failed.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// The indexes that one load must build.
#[derive(Debug)]
pub(crate) struct DeferredIndexes {
    layout: Layout,
    schemas: Schemas,
    run: Uuid,
    /// When to look for missing indexes next; `None` once all exist. Locked while indexes are built.
    due: Mutex<Option<Instant>>,
}

/// The outcome of building the missing indexes of a layout.
#[derive(Debug)]
pub(crate) enum IndexBuild {
    /// All exist.
    Complete,
    /// Another run is live. The last one to end builds them.
    LeftToRun,
    /// Another session holds the lock for building indexes, also if it builds none, such as a stalled one. Holds the missing
    /// indexes.
    Locked(Vec<&'static str>),
    /// The first of these indexes could not be built.
    Failed(StoreError, Vec<&'static str>),
}

/// The outcome of an attempt to build one index.
#[derive(Debug)]
enum IndexAttempt {
    Built,
    LeftToRun,
    Locked,
}

impl DeferredIndexes {
    pub(crate) fn new(layout: Layout, schemas: &Schemas, run: Uuid) -> Self {
        Self { layout, schemas: schemas.clone(), run, due: Mutex::new(Some(Instant::now())) }
    }

    /// Whether it is time to look for missing indexes, and no other thread is doing so.
    pub(crate) fn is_due(&self) -> bool {
        self.due.try_lock().is_ok_and(|due| due.is_some_and(|due| due <= Instant::now()))
    }

    /// Builds the missing indexes, unless another run is live. The caller must prevent writes meanwhile.
    pub(crate) fn build(
        &self,
        manager: &DatabaseManager,
        others: OtherRuns,
        deadline: &Deadline,
    ) -> Result<IndexBuild, StoreError> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.is_none() {
            return Ok(IndexBuild::Complete);
        }
        *due = Some(Instant::now() + RETRY_INTERVAL);
        let built = self.build_missing(manager, others, deadline)?;
        if matches!(built, IndexBuild::Complete) {
            *due = None;
        }
        Ok(built)
    }

    fn build_missing(
        &self,
        manager: &DatabaseManager,
        others: OtherRuns,
        deadline: &Deadline,
    ) -> Result<IndexBuild, StoreError> {
        let (layout, schema, run) = (self.layout, self.schemas.tables.clone(), self.run);
        let missing = manager.run("looking for missing indexes", deadline, move |client, _| {
            missing(client, layout, &schema)
        })?;
        let names: Vec<&'static str> = missing.iter().map(|(name, _)| *name).collect();
        for (number, (name, statement)) in missing.into_iter().enumerate() {
            let (what, schemas) = (format!("building the index {name}"), self.schemas.clone());
            let _shown = manager.building(name);
            let built = manager.run(&what, deadline, move |client, progress| {
                // Checked before taking the lock, too. If two runs end together, the one that leaves the work to the
                // other must not hold the lock that the other needs.
                if another_runs(client, &schemas, layout, run, others)? {
                    return Ok(IndexAttempt::LeftToRun);
                }
                let mut transaction = client.transaction()?;
                if !try_lock(&mut transaction, &schemas.tables)? {
                    return Ok(IndexAttempt::Locked);
                }
                if another_runs(&mut transaction, &schemas, layout, run, others)? {
                    return Ok(IndexAttempt::LeftToRun);
                }
                log::info!("building the index {name}");
                build_one(transaction, progress, &statement)
            });
            let left = || names[number..].to_vec();
            match built {
                Ok(IndexAttempt::Built) => {}
                Ok(IndexAttempt::LeftToRun) => return Ok(IndexBuild::LeftToRun),
                Ok(IndexAttempt::Locked) => return Ok(IndexBuild::Locked(left())),
                Err(error) => return Ok(IndexBuild::Failed(error, left())),
            }
        }
        Ok(IndexBuild::Complete)
    }
}

/// Drops the indexes of empty tables that the role owns, so that a first load is as fast as one that creates the
/// tables. Keeps indexes that cannot be dropped.
pub(crate) fn defer(
    manager: &DatabaseManager,
    catalog: &Catalog,
    layout: Layout,
    schemas: &Schemas,
    run: Uuid,
) {
    let (schema, found) = (&schemas.tables, schemas.clone());
    let mut indexes = layout.indexes(schema);
    indexes.retain(|(name, _)| catalog.relations.get(*name).is_some_and(|found| found.is_plain_index));
    if indexes.is_empty() {
        return;
    }
    let dropped = manager.run("deferring indexes", &Deadline::unbounded(), move |client, _| {
        // A failure is no reason to wait or to retry.
        let dropped = drop_of_empty_tables(client, &indexes, layout, &found, run);
        Ok(dropped.unwrap_or_else(|error| {
            log::debug!("indexes not deferred: {}", in_full(&error));
            false
        }))
    });
    match dropped {
        Ok(true) => {
            log::info!("the tables in schema {schema:?} are empty: their indexes are built after the load");
        }
        Ok(false) => {}
        Err(error) => log::debug!("indexes not deferred: {}", in_full(&error)),
    }
}

/// Returns whether indexes were dropped.
fn drop_of_empty_tables(
    client: &mut Client,
    indexes: &[(&'static str, String)],
    layout: Layout,
    schemas: &Schemas,
    run: Uuid,
) -> Result<bool, postgres::Error> {
    let schema = &schemas.tables;
    let quoted = quote_identifier(schema);
    let tables: Vec<String> = layout.tables().iter().map(|table| table.in_schema(&quoted)).collect();
    let is_filled: Vec<String> = tables.iter().map(|table| format!("EXISTS (SELECT FROM {table})")).collect();
    let is_filled = format!("SELECT WHERE {}", is_filled.join(" OR "));
    if client.query_opt(&is_filled, &[])?.is_some() {
        return Ok(false);
    }
    let mut transaction = client.transaction()?;
    transaction.batch_execute(&format!("SET LOCAL lock_timeout = '1s'; {LOCAL_COMMIT}"))?;
    transaction.batch_execute(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables.join(", ")))?;
    if another_runs(&mut transaction, schemas, layout, run, OtherRuns::All)?
        || transaction.query_opt(&is_filled, &[])?.is_some()
    {
        return Ok(false);
    }
    for (name, create) in indexes {
        let index = format!("{quoted}.{}", quote_identifier(name));
        let definition = format!(
            "SELECT pg_get_indexdef(oid) || reltablespace FROM pg_class WHERE oid = '{}'::regclass",
            index.replace('\'', "''")
        );
        let drop = format!("DROP INDEX {index}");
        let owners = text(&mut transaction, &definition)?;
        transaction.batch_execute(&format!("{drop}; {create}"))?;
        let ours = text(&mut transaction, &definition)?;
        if owners != ours {
            // The owner has changed the definition, and the load would not restore it.
            return Ok(false);
        }
        transaction.batch_execute(&drop)?;
    }
    transaction.commit()?;
    Ok(true)
}

/// The text that a statement returns.
fn text(client: &mut impl GenericClient, sql: &str) -> Result<Option<String>, postgres::Error> {
    client.query_opt(sql, &[])?.map_or(Ok(None), |row| row.try_get(0))
}

/// The missing indexes and the statements that create them.
fn missing(
    client: &mut Client,
    layout: Layout,
    schema: &str,
) -> Result<Vec<(&'static str, String)>, DatabaseError> {
    let found = found(client, schema)?;
    let mut indexes = layout.indexes(schema);
    indexes.retain(|(name, _)| !found.contains_key(*name));
    Ok(indexes)
}

/// Tries to take the lock for creating tables and indexes in a schema.
fn try_lock(transaction: &mut ClientTransaction<'_>, schema: &str) -> Result<bool, postgres::Error> {
    let lock = format!("SELECT WHERE pg_try_advisory_xact_lock({SCHEMA_LOCK})");
    Ok(transaction.query_opt(&lock, &[&schema])?.is_some())
}

fn build_one(
    mut transaction: ClientTransaction<'_>,
    progress: &CallProgress,
    statement: &str,
) -> Result<IndexAttempt, DatabaseError> {
    // Building the index of a full season takes long, so it is supervised without a statement timeout. The wait for the
    // table lock stays bounded.
    progress.builds_an_index();
    transaction.batch_execute(&format!(
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '30s'; {LOCAL_COMMIT}"
    ))?;
    transaction.batch_execute(statement)?;
    transaction.commit()?;
    Ok(IndexAttempt::Built)
}

/// An existing relation of the schema.
struct IndexState {
    /// The indexed table, if the relation is an index.
    table: Option<String>,
    is_valid: bool,
    /// Whether the role owns it.
    is_own: bool,
}

fn found(
    client: &mut impl GenericClient,
    schema: &str,
) -> Result<BTreeMap<String, IndexState>, postgres::Error> {
    let sql = "SELECT c.relname::text, t.relname::text, coalesce(i.indisvalid, false),
                 pg_has_role(c.relowner, 'USAGE')
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class t ON t.oid = i.indrelid
               WHERE n.nspname = $1";
    let rows = client.query(sql, &[&schema])?;
    let found = rows.iter().map(|row| {
        let state = IndexState { table: row.try_get(1)?, is_valid: row.try_get(2)?, is_own: row.try_get(3)? };
        Ok((row.try_get(0)?, state))
    });
    found.collect()
}

/// Messages about missing or invalid indexes of existing tables.
pub(crate) fn faults(
    client: &mut Client,
    layout: Layout,
    schema: &str,
) -> Result<Vec<String>, DatabaseError> {
    let found = found(client, schema)?;
    let schema = quote_identifier(schema);
    let mut faults = Vec::new();
    for table in layout.tables() {
        let Some(IndexState { is_own, .. }) = found.get(table.name) else { continue };
        for index in table.indexes {
            let name = quote_identifier(index.name);
            let remedy = match (found.get(index.name), table.keeper) {
                (Some(found), _) if found.table.as_deref() != Some(table.name) => {
                    "is missing, and another object has its name: rename that object, then run: \
                     aegis-kills schema apply"
                        .to_owned()
                }
                (Some(found), _) if found.is_valid => continue,
                (Some(_), _) => {
                    format!("is invalid: run REINDEX INDEX CONCURRENTLY {schema}.{name}")
                }
                (None, TableOwner::Us) if *is_own => {
                    "is missing: the next load builds it at its end, or run: aegis-kills schema apply"
                        .to_owned()
                }
                (None, TableOwner::Us) => format!("is missing: run {OWNER_APPLY}"),
                // Tables of other owners are never altered.
                (None, TableOwner::Others) => format!(
                    "is missing: run CREATE INDEX CONCURRENTLY {name} ON {} {}",
                    table.in_schema(&schema),
                    index.definition
                ),
            };
            faults.push(format!("the index {} {remedy}", index.name));
        }
    }
    // Indexes that users have added. Loads maintain them, too.
    let is_ours =
        |name: &str| layout.tables().iter().flat_map(|table| table.indexes).any(|index| index.name == name);
    for (name, index) in found.iter().filter(|(name, index)| !index.is_valid && !is_ours(name)) {
        if index.table.as_ref().is_some_and(|of| layout.tables().iter().any(|table| table.name == of)) {
            faults.push(format!(
                "the index {name} is invalid: run REINDEX INDEX CONCURRENTLY {schema}.{}",
                quote_identifier(name)
            ));
        }
    }
    Ok(faults)
}
