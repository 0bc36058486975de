//! The tables in a database: made where they are missing, checked before anything is written.
//!
//! Invariant: the catalog alone says what is there. There is no table of versions that could disagree with
//! it; every statement of the DDL makes what is missing and leaves what is there.

use super::call::Progress;
use super::citus::{self, Distributed};
use super::client::{Client, GenericClient, first_column};
use super::error::DatabaseError;
use super::ledger;
use super::manager::DatabaseManager;
use super::patience::Patience;
use super::store::StoreError;
use crate::layout::{Column, Distribution, Indexes, Keeper, Layout, Table, quote_identifier};
use postgres::Error;
use postgres::error::SqlState;
use std::collections::{BTreeMap, BTreeSet};

/// The key of the lock under which the tables of a schema are made, so that two loads that start together don't both
/// make them. Its parameter is the schema; the number is any that no one else uses.
pub(super) const SCHEMA_LOCK: &str = "hashtextextended($1, 7740106396966348901)";

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
        self.refuse_misfits(client, self.distribution)?;
        if self.distribution == Distribution::Citus {
            citus::refuse_without_citus(client)?;
        }
        let Lacking { names, distribution } = self.lacking(client).map_err(not_looked_up)?;
        let made = !names.is_empty() && self.apply(client, progress)?;
        if made {
            self.refuse_misfits(client, Distribution::OneServer)?;
        }
        Ok(Tables { made, distribution })
    }

    fn refuse_misfits(&self, client: &mut Client, allowed: Distribution) -> Result<(), StoreError> {
        match misfits(client, self.layout, &self.schema, allowed).map_err(not_looked_up)? {
            None => Ok(()),
            Some(misfits) => Err(StoreError::plain(misfits)),
        }
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
        Ok(Lacking { names, distribution })
    }

    fn apply(&self, client: &mut Client, progress: &Progress) -> Result<bool, StoreError> {
        let Self { layout, ref schema, indexes, .. } = *self;
        let failed = |source: Error| {
            let remedy = match source.code() {
                Some(&SqlState::INSUFFICIENT_PRIVILEGE) => "; who may can run 'aegis-kills schema apply'",
                _ => "",
            };
            StoreError::new(format!("the missing tables can't be made in schema {schema:?}{remedy}"), source)
        };
        let mut transaction = client.transaction().map_err(failed)?;
        let lock = format!("SELECT pg_advisory_xact_lock({SCHEMA_LOCK})");
        transaction.execute(&lock, &[schema]).map_err(failed)?;
        let Lacking { names, distribution } = self.lacking(&mut transaction).map_err(failed)?;
        if names.is_empty() {
            return Ok(false);
        }
        let exists = transaction
            .query_opt("SELECT FROM pg_namespace WHERE nspname = $1", &[schema])
            .map_err(failed)?;
        if exists.is_none() {
            let sql = format!("CREATE SCHEMA {}", quote_identifier(schema));
            transaction.batch_execute(&sql).map_err(failed)?;
        }
        let (before, indexes, after) = match distribution {
            Distribution::OneServer => ("", indexes, String::new()),
            Distribution::Citus => (citus::DISTRIBUTING, Indexes::Now, citus::ddl(layout, schema)),
        };
        if distribution == Distribution::Citus {
            // All that is in the tables goes to the nodes.
            progress.takes_long();
        }
        let sql = format!("{before}{}{}{after}", layout.ddl(schema, indexes), ledger::ddl(schema));
        transaction.batch_execute(&sql).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        log::info!("made in schema {schema:?}: {}", names.join(", "));
        Ok(true)
    }
}

/// What there is to do.
struct Lacking {
    /// Tables and indexes that are missing, and tables that are not distributed.
    names: Vec<&'static str>,
    /// Where the rows are to be.
    distribution: Distribution,
}

fn not_looked_up(source: Error) -> StoreError {
    StoreError::new("the database's tables can't be looked up", source)
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
    let mut misfits = Vec::new();
    for table in layout.tables() {
        table_misfits(client, table, schema, &mut misfits)?;
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
    let rows = client.query(
        "SELECT a.attname::text, t.typname::text, a.attnotnull, a.atthasdef OR a.attidentity <> '' AS filled
         FROM pg_attribute a
         JOIN pg_class c ON c.oid = a.attrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_type t ON t.oid = a.atttypid
         WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped",
        &[&schema, &name],
    )?;
    let mut found: BTreeMap<String, (String, bool)> = rows
        .iter()
        .map(|row| {
            let must_be_given = row.try_get("attnotnull")? && !row.try_get::<_, bool>("filled")?;
            Ok((row.try_get("attname")?, (row.try_get("typname")?, must_be_given)))
        })
        .collect::<Result<_, Error>>()?;
    for column in table.columns {
        column_misfit(name, column, found.remove(column.name), misfits);
    }
    for (column, _) in found.iter().filter(|(_, (_, must_be_given))| *must_be_given) {
        misfits.push(format!("{name} has a column {column} of its own that is NOT NULL and has no default"));
    }
    if !has_key(client, table, schema)? {
        misfits.push(format!("{name} has no unique key ({}), in this order", table.key.join(", ")));
    }
    Ok(())
}

fn column_misfit(table: &str, column: &Column, found: Option<(String, bool)>, misfits: &mut Vec<String>) {
    let fitting = column.kind.fitting_types();
    match found {
        None => misfits.push(format!("{table} has no column {}", column.name)),
        Some((kind, _)) if !fitting.contains(&kind.as_str()) => misfits.push(format!(
            "{table}.{} is of type {kind}, {} is needed",
            column.name,
            fitting.join(" or ")
        )),
        Some((_, true)) if !column.needed => {
            misfits.push(format!("{table}.{} is NOT NULL, and is not known of every event", column.name));
        }
        Some(_) => {}
    }
}

/// Whether there is a unique key of the table's key columns, in their order: events are looked up by its first ones.
fn has_key(client: &mut impl GenericClient, table: &Table, schema: &str) -> Result<bool, Error> {
    let rows = client.query(
        "SELECT array_agg(a.attname::text ORDER BY array_position(i.indkey::int2[], a.attnum))
         FROM pg_index i
         JOIN pg_class c ON c.oid = i.indrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
           -- It counts from 0, and what is only included comes last.
           AND array_position(i.indkey::int2[], a.attnum) < i.indnkeyatts
         WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indisvalid
           AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate
         GROUP BY i.indexrelid",
        &[&schema, &table.name],
    )?;
    let keys: Vec<Vec<String>> = first_column(&rows)?;
    Ok(keys.iter().any(|key| key == table.key))
}
