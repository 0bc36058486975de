//! `--on-conflict update` on Citus: rewrites stored events that differ.
//!
//! Citus cannot compare rows of a node with a staging table, lock rows on several nodes, or update rows from another
//! table. So the stored rows are fetched into a staging table, and only one load at a time rewrites events. Event rows
//! are updated through INSERT … ON CONFLICT; an event's rows in the other tables are deleted and inserted.

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
    /// Creates a staging table for the stored rows, which `fetch` fills.
    fetch_stage: String,
    fetch: String,
    /// `None` if no column has `keep_on_update`.
    keep: Option<String>,
    differing: String,
    /// For all tables except the first, because the number of an event's rows may change.
    delete: Option<String>,
    /// For the first table, a conflict updates the row, which keeps columns with defaults.
    insert: String,
    drop_stage: String,
}

/// Takes the lock that a load on Citus holds while it rewrites events. The parameter is the table; the number is an
/// arbitrary unique seed.
const UPDATE_LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 5530128644037112389))";

impl CitusUpdater {
    pub(crate) fn new(layout: Layout, schema: &str, server: Server) -> Self {
        let schema = quote_identifier(schema);
        let tables = layout.tables().iter().enumerate();
        let tables =
            tables.map(|(number, table)| CitusTableUpdate::new(number, table, &schema, server)).collect();
        Self { locked: layout.tables()[0].in_schema(&schema), tables }
    }

    /// Waits until no other load rewrites events. Must precede all writes of the transaction, so that a waiting load
    /// holds no lock that a rewriting load needs.
    pub(crate) fn take_turn(&self, transaction: &mut Transaction<'_>) -> Result<(), DatabaseError> {
        transaction.execute(UPDATE_LOCK, &[&self.locked]).map(drop)
    }

    /// Rewrites the differing events among `events`, which are all stored, and returns their number. Call
    /// [`take_turn`](Self::take_turn) first.
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
            // No conflict is possible, but with ON CONFLICT Citus reports the real error of a refused row.
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
            // The fetched rows have no key.
            keep: keep(
                table,
                &stage,
                "staged",
                |name| format!("stored.{name}"),
                |condition| {
                    format!("FROM ({stored}) AS stored WHERE staged.{id} = stored.{id} AND ({condition})")
                },
            ),
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
