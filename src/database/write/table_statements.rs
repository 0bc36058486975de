//! The statements of a batch for one table.

use crate::database::failure::error::DatabaseError;
use crate::database::session::transaction::Transaction;
use crate::database::write::staged_rows::Staged;
use crate::event::server::Server;
use crate::layout::rows::Rows;
use crate::layout::table::{Distribution, Table};

/// The mode of writing a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// COPY of the new events into the tables.
    Direct,
    /// COPY of the event rows into a staging table, `INSERT … ON CONFLICT DO NOTHING` from there, and COPY of the other
    /// rows of the new events.
    Merge,
    /// COPY with bisection to find refused events.
    Bisect,
}

/// The statements for one table.
#[derive(Debug)]
pub(crate) struct TableStatements {
    number: usize,
    name: &'static str,
    copy: String,
    /// Deletes the rows of the events whose ids are its parameter.
    pub(crate) delete: String,
    /// For distributed tables in all modes but [`WriteMode::Direct`]; `None` on one server.
    pub(crate) staged: Option<Staged>,
}

impl TableStatements {
    /// The statements for the table that is the layout's `number`th; `schema` is quoted.
    pub(crate) fn new(
        number: usize,
        table: &'static Table,
        schema: &str,
        server: Server,
        distribution: Distribution,
    ) -> Self {
        let target = table.in_schema(schema);
        let is_stored = table.is_stored(schema, server, distribution);
        let is_distributed = distribution == Distribution::Citus;
        Self {
            number,
            name: table.name,
            copy: format!("COPY {target} ({}) FROM STDIN BINARY", table.column_list()),
            delete: format!("DELETE FROM {target} WHERE {is_stored}"),
            staged: is_distributed.then(|| Staged::new(number, table, schema)),
        }
    }

    /// Stores the rows of `events`. Fails if a trigger or rule silently drops a row.
    pub(crate) fn put_all(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
        mode: WriteMode,
    ) -> Result<(), DatabaseError> {
        let stored = match &self.staged {
            Some(staged) if mode != WriteMode::Direct => staged.put(transaction, rows, self.number, events),
            _ => transaction.copy(&self.copy, self.name, rows, self.number, events),
        };
        let sent: usize = events.iter().map(|&event| rows.count(event, self.number)).sum();
        if stored? == sent as u64 { Ok(()) } else { Err(DatabaseError::Dropped) }
    }

    /// Sends a COPY without rows.
    pub(crate) fn put_none(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
    ) -> Result<(), DatabaseError> {
        transaction.copy(&self.copy, self.name, rows, self.number, &[]).map(drop)
    }
}
