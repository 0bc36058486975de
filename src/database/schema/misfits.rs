//! Finds missing and incompatible tables.

use crate::database::failure::error::DatabaseError;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::catalog::{Catalog, FoundColumn};
use crate::database::schema::{inspect, trust};
use crate::database::schemas::Schemas;
use crate::database::session::client_transaction::GenericClient;
use crate::database::session::deadline::Deadline;
use crate::database::store::StoreError;
use crate::error_chain::{cause_of, in_full};
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::ddl::Indexes;
use crate::layout::identifier::{identifier, quote_identifier};
use crate::layout::table::{Column, ColumnType, Distribution, Table, TableOwner};
use postgres::Error;
use postgres::error::SqlState;
use std::time::Duration;

/// How long to look up the tables for the message of an error.
const LOOKUP_MAX: Duration = Duration::from_secs(5);

/// The command that rewrites incomplete events. A load replaces it by the whole command.
pub(crate) const RESTORE: &str = "aegis-kills load --on-conflict update FILE…";

/// The treatment of a missing column that can be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// It will be added.
    Added,
    /// It makes the table incompatible.
    Misfit,
}

/// Which rows of missing tables may be lost. Empty tables in their place would look as if all events were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LostRows {
    /// None.
    Refused,
    /// Those of whole events, as the load ignores the ledger.
    OfEvents,
    /// Any, with a warning, as the user asked for the tables.
    Reported,
    /// Any, as the load rewrites incomplete events.
    Accepted,
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
    let (mut misfits, quoted) = (Vec::new(), quote_identifier(&schemas.tables));
    misfits.extend(other_types(catalog, layout));
    for table in layout.tables() {
        table_misfits(catalog, table, &quoted, lack, &mut misfits);
    }
    inspect::ledger_misfits(catalog, &mut misfits);
    misfits.extend(trust::planted(&catalog.objects, schemas));
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
    let (distrusted, remedy) = trust::distrust(&catalog.objects, layout.tables(), &catalog.role);
    // It removes none of the others.
    let remedy = remedy.filter(|_| misfits.is_empty());
    misfits.extend(distrusted);
    (!misfits.is_empty()).then(|| trust::incompatible(schemas, &misfits, remedy))
}

/// The message about missing tables that had rows, if there are any: the other tables of the layout have rows, or the
/// ledger next to them records events.
pub(crate) fn lost_rows(
    client: &mut impl GenericClient,
    catalog: &Catalog,
    layout: Layout,
    schemas: &Schemas,
    accepted: LostRows,
) -> Result<Option<String>, Error> {
    let names = layout.tables().iter().map(|table| table.name);
    let (existing, missing): (Vec<&str>, Vec<&str>) = names.partition(|name| catalog.has(name));
    if missing.is_empty() || accepted == LostRows::Accepted {
        return Ok(None);
    }
    let nouns = if missing.len() == 1 { "table" } else { "tables" };
    let (verb, aim) = match (accepted, missing.len()) {
        (LostRows::Reported, 1) => ("was", ""),
        (LostRows::Reported, _) => ("were", ""),
        (_, 1) => ("is", "create what is missing and "),
        (_, _) => ("are", "create what is missing and "),
    };
    let what = format!("the {nouns} {} {verb} missing in schema {:?}", missing.join(", "), schemas.tables);
    let schema = quote_identifier(&schemas.tables);
    for table in layout.tables().iter().filter(|table| existing.contains(&table.name)) {
        let sql = format!("SELECT 1 FROM {} LIMIT 1", table.in_schema(&schema));
        if client.query_opt(&sql, &[])?.is_some() {
            return Ok(Some(format!(
                "{what}, but {} has rows: its events are incomplete\nhint: to {aim}restore the rows, load all dumps of \
                 these events with: {RESTORE}",
                table.name
            )));
        }
    }
    // A separate ledger knows the tables by their OID, so it records no events of new ones.
    let has_ledger = ["kill_load_segment", "kill_load_run"].iter().all(|name| catalog.has(name));
    if !existing.is_empty() || accepted != LostRows::Refused || schemas.is_apart() || !has_ledger {
        return Ok(None);
    }
    // The ledger can also have segments of tables in other schemas. Before 0.2.0, runs have no column table_schema.
    let sql = format!(
        "SELECT 1 FROM {schema}.kill_load_segment AS segment JOIN {schema}.kill_load_run AS run ON run.id = segment.run
         WHERE segment.layout = $1 AND segment.inserted + segment.updated + segment.duplicate > 0
           AND to_jsonb(run) ->> 'table_schema' IS NULL LIMIT 1"
    );
    if client.query_opt(&sql, &[&layout.name()])?.is_none() {
        return Ok(None);
    }
    let mut deletions = vec![format!("DELETE FROM {schema}.kill_load_segment WHERE layout = '{layout}'")];
    if catalog.has("kill_load_file") {
        deletions.push(format!("DELETE FROM {schema}.kill_load_file WHERE layout = '{layout}'"));
    }
    Ok(Some(format!(
        "{what}, but the ledger records events as loaded into them\nhint: to load all dumps again, run: {}; to skip the \
         dumps that the ledger records, run: aegis-kills schema apply",
        deletions.join("; ")
    )))
}

/// The message about tables with rows that another session dropped or renamed during a load. None if the load failed
/// for another reason.
pub(crate) fn dropped_tables(
    error: &StoreError,
    manager: &DatabaseManager,
    layout: Layout,
    schemas: &Schemas,
    accepted: LostRows,
) -> Option<String> {
    if cause_of::<Error>(error).and_then(Error::code) != Some(&SqlState::UNDEFINED_TABLE) {
        return None;
    }
    let schemas = schemas.clone();
    let found = manager.run("looking up the tables", &Deadline::at_most(LOOKUP_MAX), move |client, _| {
        let catalog = Catalog::read(client, layout, &schemas)?;
        Ok(lost_rows(client, &catalog, layout, &schemas, accepted)?)
    });
    found.unwrap_or_else(|error| {
        log::debug!("{}", in_full(&error));
        None
    })
}

/// The warning about missing columns that are added to tables with rows, if there are any: these rows have no values for them.
pub(crate) fn empty_columns(
    client: &mut impl GenericClient,
    catalog: &Catalog,
    layout: Layout,
    schemas: &Schemas,
) -> Result<Option<String>, Error> {
    let mut columns = Vec::new();
    for table in layout.tables().iter().filter(|table| table.keeper == TableOwner::Us) {
        let found = catalog.columns(table.name);
        let is_added = |column: &&Column| inspect::is_addable(column) && !found.contains_key(column.name);
        let added: Vec<&Column> = table.columns.iter().filter(is_added).collect();
        if found.is_empty() || added.is_empty() {
            continue;
        }
        let sql = format!("SELECT 1 FROM {} LIMIT 1", table.in_schema(&quote_identifier(&schemas.tables)));
        if client.query_opt(&sql, &[])?.is_some() {
            columns.extend(added.iter().map(|column| format!("{}.{}", table.name, column.name)));
        }
    }
    let (nouns, verb, object) =
        if columns.len() == 1 { ("column", "was", "it") } else { ("columns", "were", "them") };
    Ok((!columns.is_empty()).then(|| {
        format!(
            "the {nouns} {} {verb} missing in schema {:?}: the rows stored before have no value for {object}\nhint: to fill \
             {object}, load all dumps of these events with: {RESTORE}",
            columns.join(", "),
            schemas.tables
        )
    }))
}

/// The columns that `verify` compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ComparedColumns {
    /// All that a load writes.
    All,
    /// The server and the event id in the first table.
    Ids,
    /// None: a table is missing, which is reported for the first event.
    Nothing,
}

impl ComparedColumns {
    fn tables(self, layout: Layout) -> &'static [Table] {
        match self {
            ComparedColumns::All => layout.tables(),
            ComparedColumns::Ids => &layout.tables()[..1],
            ComparedColumns::Nothing => &[],
        }
    }
}

/// The distribution of the existing tables, if their columns can be compared with events of `server`, and the statements
/// without which no load runs, if there are any. Ignores missing tables.
///
/// # Errors
///
/// A compared column is missing or has another type, a type lacks the label of the server, or the database failed or
/// stayed unreachable.
pub(crate) fn check_compared(
    manager: &DatabaseManager,
    layout: Layout,
    schemas: &Schemas,
    compared: ComparedColumns,
    server: Server,
) -> Result<(Distribution, Option<String>), StoreError> {
    let schemas = schemas.clone();
    manager.run("checking the tables", &Deadline::unbounded(), move |client, _| {
        let catalog = Catalog::read(client, layout, &schemas)?;
        let misfits = compared_misfits(&catalog, layout, &schemas, compared);
        if !misfits.is_empty() {
            let refused = StoreError::refused(trust::incompatible(&schemas, &misfits, None));
            return Err(DatabaseError::from(refused));
        }
        let tables = compared.tables(layout);
        if let Some(message) = inspect::missing_server(&catalog, tables, &schemas, server) {
            return Err(StoreError::refused(message).into());
        }
        let unlogged = trust::unlogged(&catalog.objects, layout.tables());
        let before_load = (!unlogged.is_empty()).then(|| trust::set_logged(&unlogged));
        Ok((catalog.distributed.distribution(layout), before_load))
    })
}

fn compared_misfits(
    catalog: &Catalog,
    layout: Layout,
    schemas: &Schemas,
    compared: ComparedColumns,
) -> Vec<String> {
    let quoted = quote_identifier(&schemas.tables);
    let mut misfits = Vec::new();
    for table in compared.tables(layout) {
        let found = catalog.columns(table.name);
        if found.is_empty() {
            continue;
        }
        let is_compared = |column: &&Column| {
            compared == ComparedColumns::All || column.name == table.id || column.kind == ColumnType::Server
        };
        let mut missing = Vec::new();
        for column in table.columns.iter().filter(is_compared) {
            match found.get(column.name) {
                Some(found) => {
                    type_misfit(table, &quoted, column, found, &mut misfits);
                }
                None => missing.push(column.name),
            }
        }
        misfits.extend(inspect::lacking(table.name, &missing));
    }
    misfits
}

/// The messages about types with the names of this program's enums that are of another kind, if the tables use them.
fn other_types(catalog: &Catalog, layout: Layout) -> Vec<String> {
    let is_used = |name: &str| {
        layout.tables().iter().any(|table| {
            let found = catalog.columns(table.name);
            table.columns.iter().filter(|column| column.kind.own_type() == Some(name)).any(|column| {
                // A missing table will be created with it.
                !catalog.has(table.name) || found.get(column.name).is_some_and(|found| found.kind == name)
            })
        })
    };
    let used = catalog.other_types.iter().filter(|name| is_used(name));
    used.map(|name| format!("the type {name} exists, but is no enum")).collect()
}

/// `schema` is quoted.
fn table_misfits(catalog: &Catalog, table: &Table, schema: &str, lack: Lack, misfits: &mut Vec<String>) {
    let name = table.name;
    match catalog.relations.get(name) {
        None => return,
        Some(relation) if relation.is_table => {}
        Some(_) => {
            misfits.push(format!("{name} is not a table"));
            return;
        }
    }
    let (mut found, mut missing) = (catalog.columns(name), Vec::new());
    for column in table.columns {
        let is_added = lack == Lack::Added && table.keeper == TableOwner::Us && inspect::is_addable(column);
        match found.remove(column.name) {
            Some(found) => column_misfit(table, schema, column, found, misfits),
            None if is_added => {}
            None => missing.push(column.name),
        }
    }
    misfits.extend(inspect::lacking(name, &missing));
    for (column, _) in found.iter().filter(|(_, found)| found.must_be_given) {
        misfits.push(format!("{name} has a column {column} that is unknown, NOT NULL and without a default"));
    }
    if !catalog.has_key(table) {
        misfits.push(format!("{name} has no unique key ({}), in this order", table.key.join(", ")));
    }
}

fn column_misfit(
    table: &Table,
    schema: &str,
    column: &Column,
    found: &FoundColumn,
    misfits: &mut Vec<String>,
) {
    let is_of_type = type_misfit(table, schema, column, found, misfits);
    misfits.extend(inspect::generated(table.name, column.name, found));
    if is_of_type && !column.needed && found.must_be_given {
        let (table, column) = (table.name, column.name);
        misfits.push(format!("{table}.{column} is NOT NULL, but some events have no value for it"));
    }
}

/// Adds a message if the column has another type. Returns whether its type fits.
fn type_misfit(
    table: &Table,
    schema: &str,
    column: &Column,
    found: &FoundColumn,
    misfits: &mut Vec<String>,
) -> bool {
    let (fitting, kind) = (column.kind.fitting_types(), &found.kind);
    let fits = fitting.contains(&kind.as_str());
    if !fits {
        misfits.push(format!(
            "{}.{} is of type {kind}, {} is needed",
            table.name,
            column.name,
            fitting.join(" or ")
        ));
    }
    // The database would round the times, so that stored events differ from their dump for ever.
    let digits = column.kind.second_digits().filter(|(digits, _)| (0..*digits).contains(&found.modifier));
    if let (true, Some((digits, kind))) = (fits, digits) {
        misfits.push(format!(
            "{}.{} has the precision {}, {digits} is needed (ALTER TABLE {} ALTER COLUMN {} TYPE {kind})",
            table.name,
            column.name,
            found.modifier,
            table.in_schema(schema),
            identifier(column.name)
        ));
    }
    fits
}
