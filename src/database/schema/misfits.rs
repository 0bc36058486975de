//! Finds missing and incompatible tables.

use crate::database::schema::catalog::{Catalog, FoundColumn};
use crate::database::schema::{inspect, trust};
use crate::database::schemas::Schemas;
use crate::layout::Layout;
use crate::layout::ddl::Indexes;
use crate::layout::table::{Column, Distribution, Table, TableOwner};

/// The treatment of a missing column that can be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// It will be added.
    Added,
    /// It makes the table incompatible.
    Misfit,
}

/// The names of missing tables, and of missing indexes that are not deferred.
pub(crate) fn missing(catalog: &Catalog, layout: Layout, indexes: Indexes) -> Vec<&'static str> {
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
    wanted.filter(|name| !catalog.has(name)).collect()
}

/// The message about existing tables that are incompatible with a load, if there are any. If `allowed` is Citus, tables
/// that are not yet distributed are compatible.
pub(crate) fn misfits(
    catalog: &Catalog,
    layout: Layout,
    schemas: &Schemas,
    allowed: Distribution,
    lack: Lack,
) -> Option<String> {
    let mut misfits = Vec::new();
    for table in layout.tables() {
        table_misfits(catalog, table, lack, &mut misfits);
    }
    inspect::ledger_misfits(catalog, &mut misfits);
    trust::distrust(catalog, layout.tables(), schemas, &mut misfits);
    if lack == Lack::Misfit {
        let additions = inspect::additions(catalog, layout, schemas);
        // table_misfits and ledger_misfits already report missing columns.
        let labels = additions.iter().filter(|addition| addition.statement.starts_with("ALTER TYPE"));
        misfits
            .extend(labels.map(|addition| format!("{} is missing ({})", addition.name, addition.statement)));
    }
    if allowed == Distribution::OneServer {
        misfits.extend(catalog.distributed.misfits(layout, &missing(catalog, layout, Indexes::Later)));
    }
    let message = || {
        format!(
            "the tables in {schemas} are incompatible: {}; choose another schema with --schema{}, or see the required \
             tables with 'aegis-kills schema print'",
            misfits.join("; "),
            if schemas.is_apart() { " and --ledger-schema" } else { "" }
        )
    };
    (!misfits.is_empty()).then(message)
}

fn table_misfits(catalog: &Catalog, table: &Table, lack: Lack, misfits: &mut Vec<String>) {
    let name = table.name;
    match catalog.relations.get(name) {
        None => return,
        Some(relation) if relation.is_table => {}
        Some(_) => {
            misfits.push(format!("{name} is not a table"));
            return;
        }
    }
    let mut found = catalog.columns(name);
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
    if !catalog.has_key(table) {
        misfits.push(format!("{name} has no unique key ({}), in this order", table.key.join(", ")));
    }
}

fn column_misfit(table: &str, column: &Column, found: Option<&FoundColumn>, misfits: &mut Vec<String>) {
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
