//! Finds missing and incompatible tables.

use crate::database::schema::citus::Distributed;
use crate::database::schema::inspect::FoundColumn;
use crate::database::schema::{inspect, trust};
use crate::database::schemas::{IS_IN_SCHEMAS, Schemas};
use crate::database::session::client_transaction::{GenericClient, first_column};
use crate::layout::Layout;
use crate::layout::ddl::Indexes;
use crate::layout::table::{Column, Distribution, Table, TableOwner};
use postgres::Error;
use std::collections::BTreeSet;

/// The treatment of a missing column that can be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// It will be added.
    Added,
    /// It makes the table incompatible.
    Misfit,
}

/// The names of missing tables, and of missing indexes that are not deferred.
pub(crate) fn missing(
    client: &mut impl GenericClient,
    layout: Layout,
    schemas: &Schemas,
    indexes: Indexes,
) -> Result<Vec<&'static str>, Error> {
    let sql = format!(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {IS_IN_SCHEMAS}"
    );
    let rows = client.query(&sql, &[&schemas.tables, &schemas.ledger])?;
    let found: BTreeSet<String> = first_column(&rows)?;
    let is_now = indexes == Indexes::Now;
    let ours = |table: &&Table| table.keeper == TableOwner::Us && is_now;
    let indexes = layout.tables().iter().filter(ours).flat_map(|table| table.indexes);
    let wanted = layout
        .tables()
        .iter()
        .map(|table| table.name)
        .chain(indexes.map(|index| index.name))
        .chain(["kill_load_run", "kill_load_segment"])
        // Optional: a load without the privilege to create it works without it.
        .chain(is_now.then_some("kill_load_file"));
    Ok(wanted.filter(|name| !found.contains(*name)).collect())
}

/// The message about existing tables that are incompatible with a load, if there are any. If `allowed` is Citus, tables
/// that are not yet distributed are compatible.
pub(crate) fn misfits(
    client: &mut impl GenericClient,
    layout: Layout,
    schemas: &Schemas,
    allowed: Distribution,
) -> Result<Option<String>, Error> {
    misfits_and(client, layout, schemas, allowed, Lack::Misfit)
}

/// Like [`misfits`], but ignores missing columns that can be added. For callers that do not write to them.
pub(crate) fn misfits_but_additions(
    client: &mut impl GenericClient,
    layout: Layout,
    schemas: &Schemas,
) -> Result<Option<String>, Error> {
    misfits_and(client, layout, schemas, Distribution::OneServer, Lack::Added)
}

pub(crate) fn misfits_and(
    client: &mut impl GenericClient,
    layout: Layout,
    schemas: &Schemas,
    allowed: Distribution,
    lack: Lack,
) -> Result<Option<String>, Error> {
    let mut misfits = Vec::new();
    for table in layout.tables() {
        table_misfits(client, table, &schemas.tables, lack, &mut misfits)?;
    }
    inspect::ledger_misfits(client, &schemas.ledger, &mut misfits)?;
    trust::distrust(client, layout.tables(), schemas, &mut misfits)?;
    if lack == Lack::Misfit {
        let additions = inspect::additions(client, layout, schemas)?;
        // table_misfits and ledger_misfits already report missing columns.
        let labels = additions.iter().filter(|addition| addition.statement.starts_with("ALTER TYPE"));
        misfits
            .extend(labels.map(|addition| format!("{} is missing ({})", addition.name, addition.statement)));
    }
    if allowed == Distribution::OneServer {
        let missing = missing(client, layout, schemas, Indexes::Later)?;
        misfits.extend(Distributed::of(client, schemas)?.misfits(layout, &missing));
    }
    Ok((!misfits.is_empty()).then(|| trust::incompatible(schemas, &misfits)))
}

fn table_misfits(
    client: &mut impl GenericClient,
    table: &Table,
    schema: &str,
    lack: Lack,
    misfits: &mut Vec<String>,
) -> Result<(), Error> {
    let name = table.name;
    let kind = client.query_opt(
        "SELECT c.relkind IN ('r', 'p') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2",
        &[&schema, &name],
    )?;
    match kind.map(|row| row.try_get(0)).transpose()? {
        None => return Ok(()),
        Some(true) => {}
        Some(false) => {
            misfits.push(format!("{name} is not a table"));
            return Ok(());
        }
    }
    let mut found = inspect::columns(client, schema, name)?;
    for column in table.columns {
        let is_added = lack == Lack::Added && table.keeper == TableOwner::Us && inspect::is_addable(column);
        let found = found.remove(column.name);
        if found.is_some() || !is_added {
            column_misfit(name, column, found, misfits);
        }
    }
    for (column, _) in found.iter().filter(|(_, found)| found.must_be_given) {
        misfits.push(format!("{name} has a column {column} that is unknown, NOT NULL and without a default"));
    }
    if !has_key(client, table, schema)? {
        misfits.push(format!("{name} has no unique key ({}), in this order", table.key.join(", ")));
    }
    Ok(())
}

fn column_misfit(table: &str, column: &Column, found: Option<FoundColumn>, misfits: &mut Vec<String>) {
    let fitting = column.kind.fitting_types();
    match found {
        None => misfits.push(format!("{table} has no column {}", column.name)),
        Some(FoundColumn { kind, .. }) if !fitting.contains(&kind.as_str()) => misfits.push(format!(
            "{table}.{} is of type {kind}, {} is needed",
            column.name,
            fitting.join(" or ")
        )),
        Some(FoundColumn { must_be_given: true, .. }) if !column.needed => {
            misfits
                .push(format!("{table}.{} is NOT NULL, but some events have no value for it", column.name));
        }
        Some(_) => {}
    }
}

/// Whether there is a unique key on the table's key columns in their order. Lookups of events use its first columns.
fn has_key(client: &mut impl GenericClient, table: &Table, schema: &str) -> Result<bool, Error> {
    let rows = client.query(
        "SELECT pg_catalog.array_agg(a.attname::text ORDER BY pg_catalog.array_position(i.indkey::int2[], a.attnum))
         FROM pg_index i
         JOIN pg_class c ON c.oid = i.indrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
           -- The position counts from 0, and included columns come last.
           AND pg_catalog.array_position(i.indkey::int2[], a.attnum) < i.indnkeyatts
         WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indisvalid
           AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate
         GROUP BY i.indexrelid",
        &[&schema, &table.name],
    )?;
    let keys: Vec<Vec<String>> = first_column(&rows)?;
    Ok(keys.iter().any(|key| key == table.key))
}
