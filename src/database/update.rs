//! `--on-conflict update`: stored events that differ from those of a batch are rewritten.
//!
//! Invariant: an event whose rows are all the same is not written, so that a run without news leaves no dead rows.

use super::error::DatabaseError;
use super::transaction::Transaction;
use super::write::column_list;
use crate::kill::Server;
use crate::layout::{Layout, Rows, Table, quote_identifier};
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
    lock: String,
    tables: Vec<TableUpdate>,
}

#[derive(Debug)]
struct TableUpdate {
    stage: String,
    copy: String,
    /// Where there are columns that keep what is known.
    keep: Option<String>,
    differing: String,
    /// For the first table an UPDATE, which leaves what the database filled in; for the others a DELETE, as
    /// an event may have more or fewer rows than before.
    rewrite: String,
    insert: Option<String>,
    drop_stage: String,
}

impl Updater {
    pub(super) fn new(layout: Layout, schema: &str, server: Server) -> Self {
        let schema = quote_identifier(schema);
        let tables = layout.tables().iter().enumerate();
        let event = &layout.tables()[0];
        Self {
            tables: tables.map(|(number, table)| TableUpdate::new(number, table, &schema, server)).collect(),
            lock: format!(
                "SELECT FROM {} WHERE {} ORDER BY {} FOR UPDATE",
                event.in_schema(&schema),
                event.is_stored(&schema, server),
                event.id_column()
            ),
        }
    }

    /// Rewrites those of `events`, all of them stored, that differ, and returns how many they were.
    pub(super) fn update(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<u64, DatabaseError> {
        if events.is_empty() {
            return Ok(0);
        }
        let ids: Vec<i64> = events.iter().map(|&event| rows.events()[event].id).collect();
        // In the order of the keys, like everything that is written; what is compared can't change any more.
        transaction.execute(&self.lock, &[&ids])?;
        let mut differing = BTreeSet::new();
        for (number, table) in self.tables.iter().enumerate() {
            transaction.batch_execute(&table.stage)?;
            transaction.copy(&table.copy, rows, number, events)?;
            if let Some(keep) = &table.keep {
                transaction.execute(keep, &[&ids])?;
            }
            let found = transaction.query(&table.differing, &[&ids])?;
            differing.extend(found.iter().map(|row| row.get::<_, i64>(0)));
        }
        let differing: Vec<i64> = differing.into_iter().collect();
        for table in &self.tables {
            if !differing.is_empty() {
                transaction.execute(&table.rewrite, &[&differing])?;
                if let Some(insert) = &table.insert {
                    transaction.execute(insert, &[&differing])?;
                }
            }
            transaction.batch_execute(&table.drop_stage)?;
        }
        Ok(differing.len() as u64)
    }
}

impl TableUpdate {
    /// The statements for the table that is the layout's `number`th; `schema` is quoted.
    fn new(number: usize, table: &Table, schema: &str, server: Server) -> Self {
        let (target, columns, id) = (table.in_schema(schema), column_list(table), table.id_column());
        let is_stored = table.is_stored(schema, server);
        let stage = format!("pg_temp.aegis_kills_update_{number}");
        let stored = format!("SELECT {columns} FROM {}", table.stored(schema, server, &columns));
        let staged = format!("SELECT {columns} FROM {stage}");
        let first = number == 0;
        Self {
            stage: format!(
                "CREATE TEMP TABLE aegis_kills_update_{number} ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA"
            ),
            copy: format!("COPY {stage} ({columns}) FROM STDIN BINARY"),
            keep: keep(table, &stage, &stored),
            differing: format!(
                "SELECT {id} FROM ({staged} EXCEPT {stored}) AS ours
                 UNION SELECT {id} FROM ({stored} EXCEPT {staged}) AS theirs"
            ),
            rewrite: if first {
                format!(
                    "UPDATE {target} AS target SET ({columns}) = (SELECT {columns} FROM {stage} AS staged
                       WHERE staged.{id} = target.{id})
                     WHERE {is_stored}"
                )
            } else {
                format!("DELETE FROM {target} WHERE {is_stored}")
            },
            insert: (!first)
                .then(|| format!("INSERT INTO {target} ({columns}) {staged} WHERE {id} = ANY ($1)")),
            drop_stage: format!("DROP TABLE {stage}"),
        }
    }
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
