//! Inserts rows of new events into distributed tables through a staging table.

use crate::database::failure::error::DatabaseError;
use crate::database::schema::citus;
use crate::database::session::transaction::Transaction;
use crate::event::server::Server;
use crate::layout::identifier::quoted_list;
use crate::layout::rows::Rows;
use crate::layout::table::{Distribution, Table};

/// The statements that insert rows into a table through a staging table.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) target: String,
    pub(crate) name: String,
    pub(crate) stage: String,
    pub(crate) copy: String,
    /// Deletes child rows of events whose event rows were deleted by hand.
    delete: String,
    /// Returns one row per stored row: the row count that Citus reports is that of the staging table.
    pub(crate) insert: String,
    pub(crate) drop_stage: String,
}

impl Staged {
    /// The statements for the table that is the layout's `number`th; `schema` is quoted.
    pub(crate) fn new(number: usize, table: &Table, schema: &str, server: Server) -> Self {
        let (target, columns, id) = (table.in_schema(schema), table.column_list(), table.id_column());
        let (name, key) = (format!("aegis_kills_rows_{number}"), quoted_list(table.key));
        Self {
            stage: format!(
                "CREATE TEMP TABLE {name} ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA"
            ),
            copy: format!("COPY pg_temp.{name} ({columns}) FROM STDIN BINARY"),
            delete: format!(
                "DELETE FROM {target} WHERE {}",
                table.is_stored(schema, server, Distribution::Citus)
            ),
            insert: format!(
                "INSERT INTO {target} ({columns}) SELECT {columns} FROM pg_temp.{name} WHERE {id} = ANY ($1)
                 ORDER BY {key} ON CONFLICT ({key}) DO NOTHING RETURNING {id}"
            ),
            drop_stage: format!("DROP TABLE pg_temp.{name}"),
            name,
            target,
        }
    }

    /// Stores the rows of `events`, and returns the number of new rows. The transaction must have inserted the event rows
    /// before the child rows. Otherwise another load may have committed the child rows since.
    pub(crate) fn put(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        number: usize,
        events: &[usize],
    ) -> Result<u64, DatabaseError> {
        transaction.batch_execute(&self.stage)?;
        transaction.copy(&self.copy, &self.name, rows, number, events)?;
        let ids = rows.ids(events);
        if number > 0 {
            transaction.move_rows(&self.delete, &[&ids])?;
        }
        let stored = citus::each_shard(transaction, &self.target, &ids, &self.insert)?.len() as u64;
        transaction.batch_execute(&self.drop_stage)?;
        Ok(stored)
    }
}
