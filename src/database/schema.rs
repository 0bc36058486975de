//! The tables in a database: made where they are missing, checked before anything is written.
//!
//! Invariant: the catalog alone says what is there. There is no table of versions that could disagree with
//! it; every statement of the DDL makes what is missing and leaves what is there.

use super::call::Progress;
use super::citus::{self, Distributed};
use super::client::{Client, GenericClient, first_column};
use super::error::DatabaseError;
use super::inspect::{self, Addition, FoundColumn};
use super::ledger;
use super::manager::DatabaseManager;
use super::patience::Patience;
use super::store::StoreError;
use crate::layout::{Column, Distribution, Indexes, Keeper, Layout, Table, quote_identifier};
use postgres::Error;
use postgres::error::SqlState;
use std::collections::BTreeSet;

/// The key of the lock under which the tables of a schema are made, so that two loads that start together don't both
/// make them. Its parameter is the schema; the number is any that no one else uses.
pub(super) const SCHEMA_LOCK: &str = "hashtextextended($1, 7740106396966348901)";

/// Event triggers run within our DDL, and may rely on the path of the role and the database. Those of extensions do not.
const PATH_OF_EVENT_TRIGGERS: &str = "
    SELECT set_config('search_path', reset_val, true) FROM pg_settings WHERE name = 'search_path' AND EXISTS (
        SELECT FROM pg_event_trigger e WHERE evtenabled <> 'D' AND NOT EXISTS (
            SELECT FROM pg_depend d
            WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e'))";

/// The DDL of all tables of a layout and of the ledger, to read or to run.
pub fn ddl(layout: Layout, schema: &str, distribution: Distribution) -> String {
    let create_schema = match schema {
        "public" => String::new(),
        _ => format!("CREATE SCHEMA IF NOT EXISTS {};\n\n", quote_identifier(schema)),
    };
    let tables = format!("{create_schema}{}{}", layout.ddl(schema, Indexes::Now), ledger::ddl(schema));
    match distribution {
        Distribution::OneServer => tables,
        Distribution::Citus => {
            let distribute = citus::ddl(layout, schema);
            format!("BEGIN;\n\n{}{tables}\n{distribute}COMMIT;\n", citus::DISTRIBUTING)
        }
    }
}

/// The tables as they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tables {
    /// Whether any of them, or of their indexes, was missing, or was not distributed as was asked for.
    pub made: bool,
    /// Where their rows are.
    pub distribution: Distribution,
}

/// Makes what is missing, and refuses tables that do not fit. Indexes that are for later are no concern of it. What is made
/// beside distributed tables is distributed as well; with `distribution` all that is there is.
pub fn ensure(
    manager: &DatabaseManager,
    layout: Layout,
    schema: &str,
    indexes: Indexes,
    distribution: Distribution,
) -> Result<Tables, StoreError> {
    let wanted = Wanted { layout, schema: schema.to_owned(), indexes, distribution };
    manager.run("looking after the tables", &Patience::endless(), move |client, progress| {
        wanted.ensure(client, progress)
    })
}

/// Where the rows of the tables that are there are; tables that do not fit are refused.
pub fn distribution(
    manager: &DatabaseManager,
    layout: Layout,
    schema: &str,
) -> Result<Distribution, StoreError> {
    let schema = schema.to_owned();
    manager.run("looking for distributed tables", &Patience::endless(), move |client, _| {
        Ok(Distributed::of(client, &schema)?.distribution(layout))
    })
}

/// What the tables are to be like.
struct Wanted {
    layout: Layout,
    schema: String,
    indexes: Indexes,
    distribution: Distribution,
}

impl Wanted {
    fn ensure(&self, client: &mut Client, progress: &Progress) -> Result<Tables, DatabaseError> {
        // Nothing is made beside tables that do not fit: their owner may want another schema.
        self.refuse_misfits(client, self.distribution, Lack::Added)?;
        if let Some(remedy) = inspect::read_only_setting(client).map_err(not_looked_up)? {
            let what = format!(
                "this role may not write: default_transaction_read_only is on for it or for the database; whoever may \
                 change that can run: {remedy}"
            );
            return Err(StoreError::refused(what).into());
        }
        if self.distribution == Distribution::Citus {
            citus::refuse_without_citus(client)?;
        }
        let lacking = self.lacking(client).map_err(not_looked_up)?;
        let distribution = lacking.distribution;
        let made = !lacking.is_nothing() && self.apply(client, progress)?;
        if made {
            self.refuse_misfits(client, Distribution::OneServer, Lack::Misfit)?;
        }
        Ok(Tables { made, distribution })
    }

    fn refuse_misfits(
        &self,
        client: &mut Client,
        allowed: Distribution,
        lack: Lack,
    ) -> Result<(), StoreError> {
        let mut look =
            |lack| misfits_and(client, self.layout, &self.schema, allowed, lack).map_err(not_looked_up);
        let mut found = look(lack)?;
        if found.is_some() && lack == Lack::Added {
            // Nothing is added then, and all that does not fit is told at once.
            found = look(Lack::Misfit)?;
        }
        found.map_or(Ok(()), |misfits| Err(StoreError::refused(misfits)))
    }

    fn lacking(&self, client: &mut impl GenericClient) -> Result<Lacking, Error> {
        let Self { layout, ref schema, indexes, distribution } = *self;
        let mut names = missing(client, layout, schema, indexes)?;
        let distributed = Distributed::of(client, schema)?;
        let distribution = match distribution {
            Distribution::Citus => Distribution::Citus,
            Distribution::OneServer => distributed.distribution(layout),
        };
        if distribution == Distribution::Citus {
            let beside: Vec<&str> =
                distributed.lacking(layout).filter(|name| !names.contains(name)).collect();
            names.extend(beside);
        }
        let additions = inspect::additions(client, layout, schema)?;
        Ok(Lacking { names, additions, distribution })
    }

    fn apply(&self, client: &mut Client, progress: &Progress) -> Result<bool, StoreError> {
        let Self { layout, ref schema, indexes, .. } = *self;
        let failed = |source: Error, additions: &[Addition]| {
            let remedy = match source.code() {
                Some(&SqlState::INSUFFICIENT_PRIVILEGE) => remedy(additions),
                _ => String::new(),
            };
            let what = format!("what is missing can't be made in schema {schema:?}{remedy}");
            StoreError::new(what, DatabaseError::from(source))
        };
        let mut transaction = client.transaction().map_err(|error| failed(error, &[]))?;
        transaction.batch_execute(PATH_OF_EVENT_TRIGGERS).map_err(|error| failed(error, &[]))?;
        let lock = format!("SELECT pg_advisory_xact_lock({SCHEMA_LOCK})");
        transaction.execute(&lock, &[schema]).map_err(|error| failed(error, &[]))?;
        let lacking = self.lacking(&mut transaction).map_err(|error| failed(error, &[]))?;
        if lacking.is_nothing() {
            return Ok(false);
        }
        let Lacking { names, additions, distribution } = lacking;
        for Addition { statement, .. } in &additions {
            transaction.batch_execute(statement).map_err(|error| failed(error, &additions))?;
        }
        let exists = transaction
            .query_opt("SELECT FROM pg_namespace WHERE nspname = $1", &[schema])
            .map_err(|error| failed(error, &[]))?;
        if exists.is_none() {
            let sql = format!("CREATE SCHEMA {}", quote_identifier(schema));
            transaction.batch_execute(&sql).map_err(|error| failed(error, &[]))?;
        }
        let (before, indexes, after) = match distribution {
            Distribution::OneServer => ("", indexes, String::new()),
            Distribution::Citus => (citus::DISTRIBUTING, Indexes::Now, citus::ddl(layout, schema)),
        };
        if distribution == Distribution::Citus {
            // All that is in the tables goes to the nodes.
            progress.takes_long();
        }
        if !names.is_empty() {
            let sql = format!("{before}{}{}{after}", layout.ddl(schema, indexes), ledger::ddl(schema));
            transaction.batch_execute(&sql).map_err(|error| failed(error, &[]))?;
        }
        transaction.commit().map_err(|error| failed(error, &additions))?;
        if exists.is_none() {
            // At the level that everyone sees: a name with a slip in it makes a schema of its own.
            log::warn!("created the schema {schema:?}");
        }
        let added = additions.iter().map(|addition| addition.name.as_str());
        let made: Vec<&str> = names.iter().copied().chain(added).collect();
        log::info!("made in schema {schema:?}: {}", made.join(", "));
        Ok(true)
    }
}

/// What there is to do.
struct Lacking {
    /// Tables and indexes that are missing, and tables that are not distributed.
    names: Vec<&'static str>,
    /// What is missing of the tables and types that are there.
    additions: Vec<Addition>,
    /// Where the rows are to be.
    distribution: Distribution,
}

impl Lacking {
    fn is_nothing(&self) -> bool {
        self.names.is_empty() && self.additions.is_empty()
    }
}

/// Who can make what this role may not.
fn remedy(additions: &[Addition]) -> String {
    if additions.is_empty() {
        return "; who may can run 'aegis-kills schema apply'".to_owned();
    }
    let statements: Vec<&str> = additions.iter().map(|addition| addition.statement.as_str()).collect();
    format!("; their owner can run 'aegis-kills schema apply', or: {};", statements.join("; "))
}

/// What is thought of a column that is missing and can be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    /// It is about to be added.
    Added,
    /// The table does not fit.
    Misfit,
}

fn not_looked_up(source: Error) -> StoreError {
    StoreError::new("the database's tables can't be looked up", DatabaseError::from(source))
}

/// The names of tables that are not there, and of indexes that are not there and are to be made now.
fn missing(
    client: &mut impl GenericClient,
    layout: Layout,
    schema: &str,
    indexes: Indexes,
) -> Result<Vec<&'static str>, Error> {
    let sql =
        "SELECT relname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1";
    let rows = client.query(sql, &[&schema])?;
    let found: BTreeSet<String> = first_column(&rows)?;
    let ours = |table: &&Table| table.keeper == Keeper::Us && indexes == Indexes::Now;
    let indexes = layout.tables().iter().filter(ours).flat_map(|table| table.indexes);
    let wanted = layout
        .tables()
        .iter()
        .map(|table| table.name)
        .chain(indexes.map(|index| index.name))
        .chain(["kill_load_run", "kill_load_segment"]);
    Ok(wanted.filter(|name| !found.contains(*name)).collect())
}

/// What of the layout's tables that are there does not fit, if anything, in words: a load is refused for it. Where they are
/// to be distributed, those that are not yet fit as well.
pub(super) fn misfits(
    client: &mut impl GenericClient,
    layout: Layout,
    schema: &str,
    allowed: Distribution,
) -> Result<Option<String>, Error> {
    misfits_and(client, layout, schema, allowed, Lack::Misfit)
}

/// The same, but what can be added does not count: nothing is about to be written to it.
pub(super) fn misfits_but_additions(
    client: &mut impl GenericClient,
    layout: Layout,
    schema: &str,
) -> Result<Option<String>, Error> {
    misfits_and(client, layout, schema, Distribution::OneServer, Lack::Added)
}

fn misfits_and(
    client: &mut impl GenericClient,
    layout: Layout,
    schema: &str,
    allowed: Distribution,
    lack: Lack,
) -> Result<Option<String>, Error> {
    let mut misfits = Vec::new();
    for table in layout.tables() {
        table_misfits(client, table, schema, lack, &mut misfits)?;
    }
    inspect::ledger_misfits(client, schema, &mut misfits)?;
    inspect::distrust(client, layout.tables(), schema, &mut misfits)?;
    if lack == Lack::Misfit {
        let additions = inspect::additions(client, layout, schema)?;
        // A table tells its own columns that it lacks.
        let labels = additions.iter().filter(|addition| addition.statement.starts_with("ALTER TYPE"));
        misfits
            .extend(labels.map(|addition| format!("{} is missing ({})", addition.name, addition.statement)));
    }
    if allowed == Distribution::OneServer {
        let missing = missing(client, layout, schema, Indexes::Later)?;
        misfits.extend(Distributed::of(client, schema)?.misfits(layout, &missing));
    }
    let words = || {
        format!(
            "the tables in schema {schema:?} do not fit: {}; another schema can be chosen by --schema, and \
             'aegis-kills schema print' shows what is needed",
            misfits.join("; ")
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
        let is_added = lack == Lack::Added && table.keeper == Keeper::Us && inspect::is_addable(column);
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
