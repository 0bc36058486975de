//! The PostgreSQL schemas of a load: one for the tables, one for the ledger. They can be the same.
//!
//! Invariant: a ledger in a separate schema may serve the tables of several schemas. The keys of its segments and files
//! then contain the [`identity`] of the tables, and its runs name the schema of the tables.

use crate::database::pool::manager::DatabaseManager;
use crate::database::session::client_transaction::GenericClient as _;
use crate::database::session::deadline::Deadline;
use crate::database::store::StoreError;
use crate::layout::Layout;
use crate::layout::table::TableOwner;
use std::fmt;

/// The default schema of the ledger for tables with another owner, whose migrations must not find it.
pub(crate) const LEDGER_APART: &str = "aegis_kills";

/// The prefix of the ledger's table names. No other table has it.
const LEDGER_PREFIX: &str = "kill_load_";

/// The condition that a table `c` in the schema `n` belongs to a load. The parameters are the schemas of the tables and
/// of the ledger.
pub(crate) const IS_IN_SCHEMAS: &str = "n.nspname IN ($1::text, $2::text)
    AND n.nspname = CASE WHEN c.relname LIKE 'kill\\_load\\_%' THEN $2::text ELSE $1::text END";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schemas {
    pub tables: String,
    pub ledger: String,
}

impl Schemas {
    /// The requested schemas, or the defaults of a layout. A database may have a ledger elsewhere; see
    /// [`find`](crate::database::schema::locate::find).
    pub(crate) fn by_default(layout: Layout, tables: &str, ledger: Option<&str>) -> Self {
        let is_others = layout.tables().iter().any(|table| table.keeper == TableOwner::Others);
        let ledger = ledger.unwrap_or(if is_others { LEDGER_APART } else { tables });
        Self { tables: tables.to_owned(), ledger: ledger.to_owned() }
    }

    /// Whether the ledger is in another schema than the tables.
    pub(crate) fn is_apart(&self) -> bool {
        self.tables != self.ledger
    }

    /// The tables' schema as recorded in the ledger; `None` if the ledger is in the same schema.
    pub(crate) fn table_schema(&self) -> Option<&str> {
        self.is_apart().then_some(&*self.tables)
    }

    pub(crate) fn of_table(&self, name: &str) -> &str {
        if name.starts_with(LEDGER_PREFIX) { &self.ledger } else { &self.tables }
    }

    /// The distinct schemas, in an order that is the same for all loads.
    pub(crate) fn each(&self) -> Vec<&str> {
        let mut each = vec![&*self.tables, &*self.ledger];
        each.sort_unstable();
        each.dedup();
        each
    }
}

impl fmt::Display for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tables, ledger } = self;
        if self.is_apart() {
            write!(f, "schemas {tables:?} and {ledger:?}")
        } else {
            write!(f, "schema {tables:?}")
        }
    }
}

/// Identifies the tables among all tables, present or past, in the same ledger. Returns `None`, without a query, if the
/// ledger is in the tables' schema. Recreated tables have a new identity, because they lack the events that the ledger
/// records as loaded.
pub(crate) fn identity(
    manager: &DatabaseManager,
    layout: Layout,
    schemas: &Schemas,
) -> Result<Option<String>, StoreError> {
    let Some(schema) = schemas.table_schema().map(str::to_owned) else { return Ok(None) };
    let sql = "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = $1 AND c.relname = $2";
    let found = manager.run("looking up the tables", &Deadline::unbounded(), move |client, _| {
        let row = client.query_opt(sql, &[&schema, &layout.tables()[0].name])?;
        let oid: Option<u32> = row.map(|row| row.try_get(0)).transpose()?;
        Ok(oid.map(|oid| identity_text(oid, &schema)))
    })?;
    Ok(found)
}

/// The text of an [`identity`], from `pg_class.oid` of the first table.
pub(crate) fn identity_text(oid: u32, schema: &str) -> String {
    format!("{oid} {schema}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_have_default_ledger_schemas() {
        let of = |layout, ledger| Schemas::by_default(layout, "europe", ledger);
        let archive = of(Layout::Archive, None);
        assert_eq!((archive.ledger.as_str(), archive.table_schema()), ("europe", None));
        assert_eq!(archive.each(), ["europe"]);
        assert_eq!(archive.to_string(), "schema \"europe\"");
        let aegis = of(Layout::Aegis, None);
        assert_eq!((aegis.ledger.as_str(), aegis.table_schema()), ("aegis_kills", Some("europe")));
        assert_eq!(aegis.each(), ["aegis_kills", "europe"]);
        assert_eq!(aegis.to_string(), "schemas \"europe\" and \"aegis_kills\"");
        assert_eq!(
            (aegis.of_table("KillEvent"), aegis.of_table("kill_load_file")),
            ("europe", "aegis_kills")
        );
        for layout in Layout::ALL {
            assert_eq!(of(layout, Some("x")).ledger, "x");
            assert!(!of(layout, Some("europe")).is_apart());
        }
    }
}
