//! Detects user code that runs within our statements: triggers, rules, checks and defaults that call functions.
//!
//! The search path of our sessions is `pg_catalog` only. User functions may depend on the search path of the role or
//! the database, so transactions restore it if there is user code.

use crate::database::failure::error::DatabaseError;
use crate::database::schema::ledger_ddl::LEDGER;
use crate::database::schemas::{IS_IN_SCHEMAS, Schemas};
use crate::database::session::client_transaction::{GenericClient, first_column};
use crate::layout::Layout;
use std::sync::OnceLock;

/// Whether the tables of one layout and the ledger have user code.
#[derive(Debug)]
pub(crate) struct UserCode {
    schemas: Schemas,
    tables: Vec<&'static str>,
    /// Looked up once per run.
    found: OnceLock<bool>,
}

/// The query for user code. Its parameters are the schemas of the tables and of the ledger, and `tables`. Event
/// triggers of extensions do not count, because they do not depend on the search path.
pub(crate) fn question(tables: &str) -> String {
    format!("
    WITH RECURSIVE ours (oid) AS (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {IS_IN_SCHEMAS} AND c.relname = ANY ({tables}::text[])
        UNION SELECT inhrelid FROM pg_inherits JOIN ours ON ours.oid = inhparent
    ), parts (class, oid) AS (
        SELECT 'pg_constraint'::regclass::oid, oid FROM pg_constraint WHERE conrelid IN (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_attrdef'::regclass::oid, oid FROM pg_attrdef WHERE adrelid IN (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_policy'::regclass::oid, oid FROM pg_policy WHERE polrelid IN (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_class'::regclass::oid, indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM ours)
    )
    SELECT EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM ours))
        OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class IN (SELECT oid FROM ours))
        OR EXISTS (SELECT FROM pg_depend d JOIN parts ON parts.class = d.classid AND parts.oid = d.objid
                   WHERE d.refclassid = 'pg_proc'::regclass)
        OR EXISTS (SELECT FROM pg_event_trigger e WHERE evtenabled <> 'D' AND NOT EXISTS (
                       SELECT FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid
                       AND d.deptype = 'e'))"
    )
}

/// The tables that a segment is written to.
pub(crate) fn tables(layout: Layout) -> Vec<&'static str> {
    layout.tables().iter().map(|table| table.name).chain(["kill_load_segment"]).collect()
}

/// Messages about triggers and rules of users that run when a load writes into the ledger. Of an event's tables, only an event
/// is at fault if they fail or drop a row; of the ledger, the whole load.
pub(crate) fn of_ledger(client: &mut impl GenericClient, ledger: &str) -> Result<Vec<String>, DatabaseError> {
    // Bits 4 and 16 of a trigger's type are INSERT and UPDATE, types 2 and 3 of a rule UPDATE and INSERT. A rule prevents
    // ON CONFLICT even if it is disabled.
    let sql = "SELECT format('%s has the %s %I: a load fails if it drops or refuses a row there; the owner of the table can run: '
             || CASE code.kind WHEN 'trigger' THEN 'ALTER TABLE %4$I.%1$I DISABLE TRIGGER %3$I'
                               ELSE 'DROP RULE %3$I ON %4$I.%1$I' END,
             c.relname, code.kind, code.name, n.nspname)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN (SELECT tgrelid, 'trigger', tgname FROM pg_trigger
               WHERE NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgtype & (4 + 16) <> 0
               UNION ALL
               SELECT ev_class, 'rule', rulename FROM pg_rewrite WHERE ev_type IN ('2', '3')) AS code (oid, kind, name)
           ON code.oid = c.oid
         WHERE n.nspname = $1 AND c.relname = ANY ($2) AND c.relkind IN ('r', 'p')
         ORDER BY c.relname, code.kind DESC, code.name";
    Ok(first_column(&client.query(sql, &[&ledger, &LEDGER.as_slice()])?)?)
}

impl UserCode {
    pub(crate) fn new(layout: Layout, schemas: &Schemas) -> Self {
        Self { schemas: schemas.clone(), tables: tables(layout), found: OnceLock::new() }
    }

    /// The same with the known answer to [`question`].
    pub(crate) fn known(layout: Layout, schemas: &Schemas, is_found: bool) -> Self {
        Self { found: OnceLock::from(is_found), ..Self::new(layout, schemas) }
    }

    /// Whether the tables have no user code. False if that is not known yet.
    pub(crate) fn is_absent(&self) -> bool {
        self.found.get() == Some(&false)
    }

    /// The statement that restores the search path of the role and the database in a transaction; empty without user
    /// code. Queries the database once.
    pub(crate) fn path(&self, client: &mut impl GenericClient) -> Result<&'static str, DatabaseError> {
        let found = if let Some(found) = self.found.get() {
            *found
        } else {
            let row = client
                .query_opt(&question("$3"), &[&self.schemas.tables, &self.schemas.ledger, &self.tables])?;
            let found = row.map_or(Ok(false), |row| row.try_get(0))?;
            *self.found.get_or_init(|| found)
        };
        Ok(if found { "SET LOCAL search_path TO DEFAULT" } else { "" })
    }
}
