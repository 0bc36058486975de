//! Triggers and rules of users on the tables of events: whether they have removed or changed rows of a batch.
//!
//! A trigger can change the key of a row before its INSERT, or delete it afterwards. The row then counts as inserted, but its
//! event is not stored.

use crate::database::failure::error::DatabaseError;
use crate::database::session::transaction::Transaction;
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use crate::layout::rows::Rows;
use crate::layout::table::Distribution;
use std::collections::HashMap;
use std::sync::OnceLock;

/// The check that the rows of inserted events are in the tables, in the transaction of the batch. Not for Citus, which
/// refuses triggers on distributed tables.
#[derive(Debug)]
pub(crate) struct KeptRows {
    code: String,
    /// Looked up once per run.
    found: OnceLock<TableCode>,
    /// Selects the number of a table, the id of an event and the number of its rows, for the ids in its parameter.
    counts: String,
    tables: usize,
}

/// The triggers and rules that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TableCode {
    None,
    /// None is deferred to COMMIT.
    Immediate,
    Deferred,
}

impl KeptRows {
    /// For tables of one layout in one schema, and the events of one server.
    pub(crate) fn new(layout: Layout, schema: &str, server: Server) -> Self {
        let quoted = quote_identifier(schema);
        let tables = layout.tables();
        let counts = tables.iter().enumerate().map(|(number, table)| {
            let id = table.id_column();
            let rows = table.select_stored(&quoted, server, &id, Distribution::OneServer);
            format!(
                "SELECT {number}::bigint, {id}, pg_catalog.count(*) FROM ({rows}) AS kept_{number} GROUP BY {id}"
            )
        });
        Self {
            code: code_query(layout, schema),
            found: OnceLock::new(),
            counts: counts.collect::<Vec<_>>().join(" UNION ALL "),
            tables: tables.len(),
        }
    }

    /// Fails if a row of `events`, which this transaction has inserted, is not in its table. Without triggers and rules, it
    /// asks the database once per run.
    pub(crate) fn check(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<(), DatabaseError> {
        match self.code(transaction)? {
            TableCode::None => return Ok(()),
            TableCode::Immediate => {}
            TableCode::Deferred => {
                transaction.move_rows("SET CONSTRAINTS ALL IMMEDIATE", &[])?;
            }
        }
        let mut kept = HashMap::<(i64, i64), i64>::new();
        for row in transaction.query(&self.counts, &[&rows.ids(events)])? {
            kept.insert((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
        }
        let is_kept = |event: usize| {
            let id = rows.events()[event].id;
            // More rows than sent can be rows of the user.
            (0_i64..).zip(0..self.tables).all(|(number, table)| {
                let count = kept.get(&(number, id)).copied().unwrap_or(0);
                usize::try_from(count).is_ok_and(|count| count >= rows.count(event, table))
            })
        };
        match events.iter().find(|event| !is_kept(**event)) {
            Some(event) => Err(DatabaseError::Altered { event: *event }),
            None => Ok(()),
        }
    }

    fn code(&self, transaction: &mut Transaction<'_>) -> Result<TableCode, DatabaseError> {
        if let Some(found) = self.found.get() {
            return Ok(*found);
        }
        let mut found = TableCode::None;
        for row in transaction.query(&self.code, &[])? {
            let is_deferred: bool = row.try_get(1)?;
            found = if is_deferred || found == TableCode::Deferred {
                TableCode::Deferred
            } else {
                TableCode::Immediate
            };
        }
        Ok(*self.found.get_or_init(|| found))
    }
}

/// The query for enabled triggers and rules of users on the tables and their partitions. It selects a sentence about each, and
/// whether it is deferred to COMMIT. It has no parameters.
pub(crate) fn code_query(layout: Layout, schema: &str) -> String {
    let names: Vec<String> = layout.tables().iter().map(|table| format!("'{}'", table.name)).collect();
    format!(
        "WITH RECURSIVE ours (oid, name) AS (
           SELECT c.oid, c.relname::text FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = '{}' AND c.relname IN ({})
           UNION
           SELECT i.inhrelid, ours.name FROM pg_catalog.pg_inherits i JOIN ours ON ours.oid = i.inhparent)
         SELECT sentence, pg_catalog.bool_or(is_deferred) FROM (
           SELECT ours.name || ' has the trigger '::text || pg_catalog.quote_ident(t.tgname::text), t.tginitdeferred
           FROM pg_catalog.pg_trigger t JOIN ours ON ours.oid = t.tgrelid
           WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
           UNION ALL
           SELECT ours.name || ' has the rule '::text || pg_catalog.quote_ident(r.rulename::text), false
           FROM pg_catalog.pg_rewrite r JOIN ours ON ours.oid = r.ev_class
           WHERE r.ev_enabled IN ('O', 'A')) AS code (sentence, is_deferred)
         GROUP BY sentence ORDER BY sentence",
        schema.replace('\'', "''"),
        names.join(", ")
    )
}
