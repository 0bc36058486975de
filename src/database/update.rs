//! `--on-conflict update`: stored events that differ from those of a batch are rewritten.
//!
//! Invariant: an event whose rows are all the same is not written, so that a run without news leaves no dead rows.

use super::classify::DatabaseError;
use super::transaction::Transaction;
use super::write::column_list;
use crate::kill::Server;
use crate::layout::{Layout, Rows, quote_identifier};
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
        let tables = layout.tables().iter().enumerate().map(|(number, table)| {
            let (target, columns) = (format!("{schema}.{}", table.name), column_list(table));
            let stage = format!("aegis_kills_update_{number}");
            let stored = format!("SELECT {columns} FROM {target} WHERE server = '{server}' AND event_id = ANY ($1)");
            let staged = format!("SELECT {columns} FROM pg_temp.{stage}");
            let first = number == 0;
            TableUpdate {
                stage: format!("CREATE TEMP TABLE {stage} ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA"),
                copy: format!("COPY pg_temp.{stage} ({columns}) FROM STDIN BINARY"),
                differing: format!(
                    "SELECT event_id FROM ({staged} EXCEPT {stored}) AS ours
                     UNION SELECT event_id FROM ({stored} EXCEPT {staged}) AS theirs"
                ),
                rewrite: if first {
                    format!(
                        "UPDATE {target} AS target SET ({columns}) = (SELECT {columns} FROM pg_temp.{stage} AS staged
                           WHERE staged.event_id = target.event_id)
                         WHERE server = '{server}' AND event_id = ANY ($1)"
                    )
                } else {
                    format!("DELETE FROM {target} WHERE server = '{server}' AND event_id = ANY ($1)")
                },
                insert: (!first)
                    .then(|| format!("INSERT INTO {target} ({columns}) {staged} WHERE event_id = ANY ($1)")),
                drop_stage: format!("DROP TABLE pg_temp.{stage}"),
            }
        });
        let event = layout.tables()[0].name;
        Self {
            tables: tables.collect(),
            lock: format!(
                "SELECT FROM {schema}.{event} WHERE server = '{server}' AND event_id = ANY ($1)
                 ORDER BY event_id FOR UPDATE"
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
