//! `--on-conflict update` on Citus: stored events that differ are rewritten.
//!
//! Citus compares no rows of a node with those of a staging table, locks none of several nodes, and updates none by another
//! table. So the stored rows are fetched into a staging table as well, one load at a time rewrites, and a row is updated as the
//! conflict of an INSERT. The rows of an event in the other tables are deleted and inserted.

use crate::database::failure::error::DatabaseError;
use crate::database::schema::citus;
use crate::database::session::client_transaction::first_column;
use crate::database::session::transaction::Transaction;
use crate::database::write::staging::{keep, stage, stage_name};
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::identifier::{quote_identifier, quoted_list};
use crate::layout::rows::Rows;
use crate::layout::table::{Distribution, Table};
use std::collections::BTreeSet;

/// The statements that compare and rewrite the events of one layout.
#[derive(Debug)]
pub(crate) struct CitusUpdater {
    /// The table whose name is locked before rows are compared.
    locked: String,
    tables: Vec<CitusTableUpdate>,
}

#[derive(Debug)]
struct CitusTableUpdate {
    target: String,
    stage: String,
    stage_name: String,
    copy: String,
    /// Makes a staging table for the stored rows, and fills it.
    fetch_stage: String,
    fetch: String,
    /// Where there are columns that keep what is known.
    keep: Option<String>,
    differing: String,
    /// For all tables but the first a DELETE, as an event may have more or fewer rows than before.
    delete: Option<String>,
    /// For the first table its conflict is an UPDATE, which leaves what the database filled in.
    insert: String,
    drop_stage: String,
}

/// The key of the lock that a load on Citus holds while it rewrites. Its parameter is the table; the number is any that no one
/// else uses.
const UPDATE_LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 5530128644037112389))";

impl CitusUpdater {
    pub(crate) fn new(layout: Layout, schema: &str, server: Server) -> Self {
        let schema = quote_identifier(schema);
        let tables = layout.tables().iter().enumerate();
        let tables =
            tables.map(|(number, table)| CitusTableUpdate::new(number, table, &schema, server)).collect();
        Self { locked: layout.tables()[0].in_schema(&schema), tables }
    }

    /// Waits until no other load rewrites. It comes before all that is written: who waits here has nothing that one who
    /// rewrites could wait for.
    pub(crate) fn take_turn(&self, transaction: &mut Transaction<'_>) -> Result<(), DatabaseError> {
        transaction.execute(UPDATE_LOCK, &[&self.locked]).map(drop)
    }

    /// Rewrites those of `events`, all of them stored, that differ, and returns how many they were. It is this transaction's
    /// turn.
    pub(crate) fn update(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<u64, DatabaseError> {
        let ids = rows.ids(events);
        let mut differing = BTreeSet::new();
        for (number, table) in self.tables.iter().enumerate() {
            transaction.batch_execute(&table.stage)?;
            transaction.copy(&table.copy, &table.stage_name, rows, number, events)?;
            transaction.batch_execute(&table.fetch_stage)?;
            transaction.execute(&table.fetch, &[&ids])?;
            if let Some(keep) = &table.keep {
                transaction.execute(keep, &[&ids])?;
            }
            let found = transaction.query(&table.differing, &[&ids])?;
            differing.extend(first_column::<i64, Vec<_>>(&found)?);
        }
        let differing: Vec<i64> = differing.into_iter().collect();
        for table in &self.tables {
            if !differing.is_empty() {
                if let Some(delete) = &table.delete {
                    transaction.move_rows(delete, &[&differing])?;
                }
                citus::each_shard(transaction, &table.target, &differing, &table.insert)?;
            }
            transaction.batch_execute(&table.drop_stage)?;
        }
        Ok(differing.len() as u64)
    }
}

impl CitusTableUpdate {
    /// The statements for the table that is the layout's `number`th; `schema` is quoted.
    fn new(number: usize, table: &Table, schema: &str, server: Server) -> Self {
        let (target, columns, id) = (table.in_schema(schema), table.column_list(), table.id_column());
        let (key, stage) = (quoted_list(table.key), stage(number));
        let fetched = format!("aegis_kills_stored_{number}");
        let stored = format!("SELECT {columns} FROM pg_temp.{fetched} WHERE {id} = ANY ($1)");
        let staged = format!("SELECT {columns} FROM {stage}");
        let insert =
            format!("INSERT INTO {target} ({columns}) SELECT {columns} FROM {stage} WHERE {id} = ANY ($1)");
        let (delete, insert) = if number == 0 {
            let new =
                table.columns.iter().map(|column| format!("excluded.{}", quote_identifier(column.name)));
            let new = new.collect::<Vec<_>>().join(", ");
            (None, format!("{insert} ON CONFLICT ({key}) DO UPDATE SET ({columns}) = ROW ({new})"))
        } else {
            let is_stored = table.is_stored(schema, server, Distribution::Citus);
            // With the conflict, which there is none of, Citus tells what is refused.
            let insert = format!("{insert} ON CONFLICT ({key}) DO NOTHING");
            (Some(format!("DELETE FROM {target} WHERE {is_stored}")), insert)
        };
        Self {
            stage: format!(
                "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA",
                stage_name(number)
            ),
            stage_name: stage_name(number),
            copy: format!("COPY {stage} ({columns}) FROM STDIN BINARY"),
            fetch_stage: format!(
                "CREATE TEMP TABLE {fetched} ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA"
            ),
            fetch: format!(
                "INSERT INTO pg_temp.{fetched} ({columns}) {}",
                table.select_stored(schema, server, &columns, Distribution::Citus)
            ),
            keep: keep(table, &stage, &stored),
            differing: format!(
                "SELECT {id} FROM ({staged} EXCEPT {stored}) AS ours
                 UNION SELECT {id} FROM ({stored} EXCEPT {staged}) AS theirs"
            ),
            delete,
            insert,
            drop_stage: format!("DROP TABLE {stage}, pg_temp.{fetched}"),
            target,
        }
    }
}
