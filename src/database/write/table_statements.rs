//! The statements of a batch for one table.

use crate::database::failure::error::DatabaseError;
use crate::database::session::transaction::Transaction;
use crate::database::write::staged_rows::Staged;
use crate::event::server::Server;
use crate::layout::rows::Rows;
use crate::layout::table::{Distribution, Table};
use std::collections::HashMap;

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

#[derive(Debug)]
pub(crate) struct TableStatements {
    number: usize,
    name: &'static str,
    copy: String,
    /// Counts the stored rows of each event among those whose ids are its parameter.
    counts: String,
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
        let is_distributed = distribution == Distribution::Citus;
        let id = table.id_column();
        Self {
            number,
            name: table.name,
            copy: format!("COPY {target} ({}) FROM STDIN BINARY", table.column_list()),
            counts: format!(
                "SELECT {id}, count(*) FROM ({}) AS found GROUP BY {id}",
                table.select_stored(schema, server, &id, distribution)
            ),
            staged: is_distributed.then(|| Staged::new(number, table, schema, server)),
        }
    }

    /// Stores the rows of `events`. Fails if a trigger or rule silently drops a row. In [`WriteMode::Bisect`] the error names
    /// the events of such rows.
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
        if stored? == sent as u64 {
            return Ok(());
        }
        let dropped = match mode {
            WriteMode::Bisect => self.incomplete(transaction, rows, events)?,
            WriteMode::Direct | WriteMode::Merge => Vec::new(),
        };
        Err(DatabaseError::Dropped(dropped))
    }

    /// The ids of the events with fewer stored rows than were sent.
    pub(crate) fn incomplete(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<Vec<i64>, DatabaseError> {
        let ids = rows.ids(events);
        let mut stored = HashMap::with_capacity(ids.len());
        for row in transaction.query(&self.counts, &[&ids])? {
            stored.insert(row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(1)?);
        }
        let is_incomplete = |&(id, &event): &(i64, &usize)| {
            let stored = stored.get(&id).copied().unwrap_or_default();
            usize::try_from(stored).is_ok_and(|stored| stored < rows.count(event, self.number))
        };
        Ok(ids.iter().copied().zip(events).filter(is_incomplete).map(|(id, _)| id).collect())
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
