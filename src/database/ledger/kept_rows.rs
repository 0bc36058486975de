//! Triggers and rules of users on the tables of events: whether they have removed or changed rows of a batch.
//!
//! A trigger can change the key of a row before its INSERT, or delete it afterwards. The row then counts as inserted, but its
//! event is not stored. The same holds for an UPDATE.

use crate::database::failure::error::DatabaseError;
use crate::database::session::transaction::Transaction;
use crate::layout::Layout;
use std::sync::OnceLock;

/// Whether the rows of written events must be checked, in the transaction of the batch. Not for Citus, which refuses
/// triggers on distributed tables.
#[derive(Debug)]
pub(crate) struct KeptRows {
    code: String,
    /// Looked up once per run.
    found: OnceLock<TableCode>,
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
    pub(crate) fn new(layout: Layout, schema: &str) -> Self {
        let names: Vec<&str> = layout.tables().iter().map(|table| table.name).collect();
        Self { code: code_query(schema, &names), found: OnceLock::new() }
    }

    /// Whether there are triggers or rules. Asks the database once per run.
    pub(crate) fn exist(&self, transaction: &mut Transaction<'_>) -> Result<bool, DatabaseError> {
        Ok(self.code(transaction)? != TableCode::None)
    }

    /// Runs deferred triggers. From here on they run at once, not at COMMIT. Asks the database only if a trigger is deferred.
    pub(crate) fn run_deferred(&self, transaction: &mut Transaction<'_>) -> Result<(), DatabaseError> {
        if self.code(transaction)? == TableCode::Deferred {
            transaction.move_rows("SET CONSTRAINTS ALL IMMEDIATE", &[])?;
        }
        Ok(())
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

/// The query for enabled triggers and rules of users on tables of a schema and their partitions. It selects a sentence about
/// each, and whether it is deferred to COMMIT. It has no parameters.
pub(crate) fn code_query(schema: &str, tables: &[&str]) -> String {
    let names: Vec<String> = tables.iter().map(|name| format!("'{name}'")).collect();
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
