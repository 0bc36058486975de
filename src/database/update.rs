//! `--on-conflict update`: stored events that differ from those of a batch are rewritten.
//!
//! Invariant: an event whose rows are all the same is not written, so that a run without news leaves no dead rows.
//!
//! Citus compares no rows of a node with those of a staging table, locks none of several nodes, and updates none by another
//! table. There the stored rows are fetched into a staging table as well, one load at a time rewrites, and a row is updated
//! as the conflict of an INSERT.

use super::citus;
use super::client::first_column;
use super::error::DatabaseError;
use super::transaction::Transaction;
use super::write::{column_list, quoted};
use crate::kill::Server;
use crate::layout::{Distribution, Layout, Rows, Table, quote_identifier};
use std::collections::BTreeSet;

/// What is done with an event that is stored already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// It is left as it is.
    Skip,
    /// It is rewritten if it differs.
    Update,
}

/// The statements that compare and rewrite the events of one layout.
#[derive(Debug)]
pub(super) struct Updater {
    lock: Lock,
    tables: Vec<TableUpdate>,
}

/// What is locked before rows are compared.
#[derive(Debug)]
enum Lock {
    /// The rows that the statement finds.
    Rows(String),
    /// All that a load may rewrite of a table.
    Table(String),
}

#[derive(Debug)]
struct TableUpdate {
    stage: String,
    copy: String,
    /// None in one server.
    fetch: Option<Fetch>,
    /// Where there are columns that keep what is known.
    keep: Option<String>,
    differing: String,
    /// For the first table an UPDATE, which leaves what the database filled in, on Citus as the conflict of `insert`; for
    /// the others a DELETE, as an event may have more or fewer rows than before.
    rewrite: Option<String>,
    insert: Option<String>,
    drop_stage: String,
}

/// The key of the lock that a load on Citus holds while it rewrites. Its parameter is the table; the number is any that no one
/// else uses.
const UPDATE_LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 5530128644037112389))";

/// What fetches the stored rows of a distributed table.
#[derive(Debug)]
struct Fetch {
    target: String,
    /// Makes a staging table for them.
    stage: String,
    /// Fills it.
    fill: String,
}

impl Updater {
    pub(super) fn new(layout: Layout, schema: &str, server: Server, distribution: Distribution) -> Self {
        let schema = quote_identifier(schema);
        let event = &layout.tables()[0];
        let update = |(number, table)| match distribution {
            Distribution::OneServer => TableUpdate::new(number, table, &schema, server),
            Distribution::Citus => TableUpdate::on_citus(number, table, &schema, server),
        };
        let tables = layout.tables().iter().enumerate().map(update).collect();
        let table = event.in_schema(&schema);
        let lock = match distribution {
            Distribution::OneServer => Lock::Rows(format!(
                "SELECT FROM {table} WHERE {} ORDER BY {} FOR UPDATE",
                event.is_stored(&schema, server, distribution),
                event.id_column()
            )),
            Distribution::Citus => Lock::Table(table),
        };
        Self { lock, tables }
    }

    /// On Citus: waits until no other load rewrites. It comes before all that is written: who waits here has nothing that
    /// one who rewrites could wait for.
    pub(super) fn take_turn(&self, transaction: &mut Transaction<'_>) -> Result<(), DatabaseError> {
        if let Lock::Table(table) = &self.lock {
            transaction.execute(UPDATE_LOCK, &[table])?;
        }
        Ok(())
    }

    /// Rewrites those of `events`, all of them stored, that differ, and returns how many they were. On Citus it is this
    /// transaction's turn.
    pub(super) fn update(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<u64, DatabaseError> {
        if events.is_empty() {
            return Ok(0);
        }
        let ids = rows.ids(events);
        // In the order of the keys, like everything that is written; what is compared can't change any more.
        if let Lock::Rows(sql) = &self.lock {
            transaction.execute(sql, &[&ids])?;
        }
        let mut differing = BTreeSet::new();
        for (number, table) in self.tables.iter().enumerate() {
            transaction.batch_execute(&table.stage)?;
            transaction.copy(&table.copy, rows, number, events)?;
            if let Some(Fetch { stage, fill, .. }) = &table.fetch {
                transaction.batch_execute(stage)?;
                transaction.execute(fill, &[&ids])?;
            }
            if let Some(keep) = &table.keep {
                transaction.execute(keep, &[&ids])?;
            }
            let found = transaction.query(&table.differing, &[&ids])?;
            differing.extend(first_column::<i64, Vec<_>>(&found)?);
        }
        let differing: Vec<i64> = differing.into_iter().collect();
        for table in &self.tables {
            if !differing.is_empty() {
                table.rewrite(transaction, &differing)?;
            }
            transaction.batch_execute(&table.drop_stage)?;
        }
        Ok(differing.len() as u64)
    }
}

impl TableUpdate {
    /// Puts the staged rows of events in place of the stored ones.
    fn rewrite(&self, transaction: &mut Transaction<'_>, ids: &Vec<i64>) -> Result<(), DatabaseError> {
        if let Some(rewrite) = &self.rewrite {
            transaction.execute(rewrite, &[ids])?;
        }
        match (&self.insert, &self.fetch) {
            (None, _) => Ok(()),
            (Some(insert), None) => transaction.execute(insert, &[ids]).map(drop),
            (Some(insert), Some(fetch)) => {
                citus::each_shard(transaction, &fetch.target, ids, insert).map(drop)
            }
        }
    }

    /// The statements for the table that is the layout's `number`th; `schema` is quoted.
    fn new(number: usize, table: &Table, schema: &str, server: Server) -> Self {
        let (target, columns, id) = (table.in_schema(schema), column_list(table), table.id_column());
        let is_stored = table.is_stored(schema, server, Distribution::OneServer);
        let stored = table.select_stored(schema, server, &columns, Distribution::OneServer);
        let (rewrite, insert) = if number == 0 {
            let update = format!(
                "UPDATE {target} AS target SET ({columns}) = (SELECT {columns} FROM {} AS staged
                   WHERE staged.{id} = target.{id})
                 WHERE {is_stored}",
                stage(number)
            );
            (Some(update), None)
        } else {
            let delete = format!("DELETE FROM {target} WHERE {is_stored}");
            (Some(delete), Some(insert_staged(&target, number, &columns, &id)))
        };
        Self { rewrite, insert, ..Self::comparing(number, table, &target, &stored) }
    }

    /// The same for a distributed table.
    fn on_citus(number: usize, table: &Table, schema: &str, server: Server) -> Self {
        let (target, columns, id) = (table.in_schema(schema), column_list(table), table.id_column());
        let key = quoted(table.key);
        let fetched = format!("aegis_kills_stored_{number}");
        let fetch = Fetch {
            stage: format!(
                "CREATE TEMP TABLE {fetched} ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA"
            ),
            fill: format!(
                "INSERT INTO pg_temp.{fetched} ({columns}) {}",
                table.select_stored(schema, server, &columns, Distribution::Citus)
            ),
            target: target.clone(),
        };
        let stored = format!("SELECT {columns} FROM pg_temp.{fetched} WHERE {id} = ANY ($1)");
        let insert = insert_staged(&target, number, &columns, &id);
        let (rewrite, insert) = if number == 0 {
            let new =
                table.columns.iter().map(|column| format!("excluded.{}", quote_identifier(column.name)));
            let new = new.collect::<Vec<_>>().join(", ");
            (None, Some(format!("{insert} ON CONFLICT ({key}) DO UPDATE SET ({columns}) = ROW ({new})")))
        } else {
            let is_stored = table.is_stored(schema, server, Distribution::Citus);
            // With the conflict, which there is none of, Citus tells what is refused.
            let insert = format!("{insert} ON CONFLICT ({key}) DO NOTHING");
            (Some(format!("DELETE FROM {target} WHERE {is_stored}")), Some(insert))
        };
        let comparing = Self::comparing(number, table, &target, &stored);
        let drop_stage = format!("{}, pg_temp.{fetched}", comparing.drop_stage);
        Self { rewrite, insert, fetch: Some(fetch), drop_stage, ..comparing }
    }

    /// What compares the staged rows with those that `stored` selects.
    fn comparing(number: usize, table: &Table, target: &str, stored: &str) -> Self {
        let (columns, id, stage) = (column_list(table), table.id_column(), stage(number));
        let staged = format!("SELECT {columns} FROM {stage}");
        Self {
            stage: format!(
                "CREATE TEMP TABLE aegis_kills_update_{number} ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA"
            ),
            copy: format!("COPY {stage} ({columns}) FROM STDIN BINARY"),
            fetch: None,
            keep: keep(table, &stage, stored),
            differing: format!(
                "SELECT {id} FROM ({staged} EXCEPT {stored}) AS ours
                 UNION SELECT {id} FROM ({stored} EXCEPT {staged}) AS theirs"
            ),
            rewrite: None,
            insert: None,
            drop_stage: format!("DROP TABLE {stage}"),
        }
    }
}

/// The staging table of the layout's `number`th table.
fn stage(number: usize) -> String {
    format!("pg_temp.aegis_kills_update_{number}")
}

fn insert_staged(target: &str, number: usize, columns: &str, id: &str) -> String {
    let stage = stage(number);
    format!("INSERT INTO {target} ({columns}) SELECT {columns} FROM {stage} WHERE {id} = ANY ($1)")
}

/// Puts into the staged rows what the stored ones know and they do not, so that all that follows takes it as theirs.
fn keep(table: &Table, stage: &str, stored: &str) -> Option<String> {
    let lasting = table.columns.iter().filter(|column| column.lasting);
    let names: Vec<String> = lasting.map(|column| quote_identifier(column.name)).collect();
    if names.is_empty() {
        return None;
    }
    let known: Vec<String> =
        names.iter().map(|name| format!("{name} = coalesce(staged.{name}, stored.{name})")).collect();
    let missing: Vec<String> = names.iter().map(|name| format!("staged.{name} IS NULL")).collect();
    let id = table.id_column();
    Some(format!(
        "UPDATE {stage} AS staged SET {} FROM ({stored}) AS stored WHERE staged.{id} = stored.{id} AND ({})",
        known.join(", "),
        missing.join(" OR ")
    ))
}
