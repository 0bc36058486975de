//! What of the tables that are there does not fit, and which are not there.

use crate::database::schema::citus::Distributed;
use crate::database::schema::inspect;
use crate::database::schema::inspect::FoundColumn;
use crate::database::schemas::{IS_IN_SCHEMAS, Schemas};
use crate::database::session::client_transaction::{GenericClient, first_column};
use crate::layout::Layout;
use crate::layout::ddl::Indexes;
use crate::layout::table::{Column, Distribution, Table, TableOwner};
use postgres::Error;
use std::collections::BTreeSet;

/// What is thought of a column that is missing and can be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// It is about to be added.
    Added,
    /// The table does not fit.
    Misfit,
}

/// The names of tables that are not there, and of indexes that are not there and are to be made now.
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
        // A load makes it where it may, and does without it where it may not.
        .chain(is_now.then_some("kill_load_file"));
    Ok(wanted.filter(|name| !found.contains(*name)).collect())
}

/// What of the layout's tables that are there does not fit, if anything, in words: a load is refused for it. Where they are
/// to be distributed, those that are not yet fit as well.
pub(crate) fn misfits(
    client: &mut impl GenericClient,
    layout: Layout,
    schemas: &Schemas,
    allowed: Distribution,
) -> Result<Option<String>, Error> {
    misfits_and(client, layout, schemas, allowed, Lack::Misfit)
}

/// The same, but what can be added does not count: nothing is about to be written to it.
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
    inspect::distrust(client, layout.tables(), schemas, &mut misfits)?;
    if lack == Lack::Misfit {
        let additions = inspect::additions(client, layout, schemas)?;
        // A table tells its own columns that it lacks.
        let labels = additions.iter().filter(|addition| addition.statement.starts_with("ALTER TYPE"));
        misfits
            .extend(labels.map(|addition| format!("{} is missing ({})", addition.name, addition.statement)));
    }
    if allowed == Distribution::OneServer {
        let missing = missing(client, layout, schemas, Indexes::Later)?;
        misfits.extend(Distributed::of(client, schemas)?.misfits(layout, &missing));
    }
    let words = || {
        format!(
            "the tables in {schemas} do not fit: {}; another schema can be chosen by --schema{}, and 'aegis-kills schema print' \
             shows what is needed",
            misfits.join("; "),
            if schemas.is_apart() { " and --ledger-schema" } else { "" }
        )
    };
    Ok((!misfits.is_empty()).then(words))
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
            misfits.push(format!("{name} is no table"));
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
        misfits.push(format!("{name} has a column {column} of its own that is NOT NULL and has no default"));
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
            misfits.push(format!("{table}.{} is NOT NULL, and is not known of every event", column.name));
        }
        Some(_) => {}
    }
}

/// Whether there is a unique key of the table's key columns, in their order: events are looked up by its first ones.
fn has_key(client: &mut impl GenericClient, table: &Table, schema: &str) -> Result<bool, Error> {
    let rows = client.query(
        "SELECT pg_catalog.array_agg(a.attname::text ORDER BY pg_catalog.array_position(i.indkey::int2[], a.attnum))
         FROM pg_index i
         JOIN pg_class c ON c.oid = i.indrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
           -- It counts from 0, and what is only included comes last.
           AND pg_catalog.array_position(i.indkey::int2[], a.attnum) < i.indnkeyatts
         WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indisvalid
           AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate
         GROUP BY i.indexrelid",
        &[&schema, &table.name],
    )?;
    let keys: Vec<Vec<String>> = first_column(&rows)?;
    Ok(keys.iter().any(|key| key == table.key))
}
