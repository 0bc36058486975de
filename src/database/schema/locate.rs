//! Finds the schemas of a command and the existing tables in them.
//!
//! Invariant: each command that uses a database calls [`find`] or [`of`] before any other statement names a table of this
//! program.

use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::trust::{TrustError, TrustedTables, check};
use crate::database::schemas::{LEDGER_APART, Schemas};
use crate::database::session::client_transaction::GenericClient;
use crate::database::session::deadline::Deadline;
use crate::database::store::StoreError;
use crate::layout::Layout;
use postgres::Error;

/// The schemas of a command, and the checked tables in them.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    pub(crate) schemas: Schemas,
    pub(crate) tables: TrustedTables,
}

/// The requested schemas, or the defaults of a layout. An existing ledger in the tables' schema stays in use unless another
/// schema is requested.
pub(crate) fn find(
    manager: &DatabaseManager,
    layout: Layout,
    tables: &str,
    ledger: Option<&str>,
) -> Result<Located, StoreError> {
    let (tables, ledger) = (tables.to_owned(), ledger.map(str::to_owned));
    manager.run("looking up the tables", &Deadline::unbounded(), move |client, _| {
        Ok(of(client, layout, &tables, ledger.as_deref())?)
    })
}

/// The schemas of a load. Without a query if they are decided, because `ensure` checks the tables as well.
pub(crate) fn schemas(
    manager: &DatabaseManager,
    layout: Layout,
    tables: &str,
    ledger: Option<&str>,
) -> Result<Schemas, StoreError> {
    let schemas = Schemas::by_default(layout, tables, ledger);
    if ledger.is_some() || !schemas.is_apart() {
        return Ok(schemas);
    }
    find(manager, layout, tables, ledger).map(|located| located.schemas)
}

/// Like [`find`], with a session.
pub(crate) fn of(
    client: &mut impl GenericClient,
    layout: Layout,
    tables: &str,
    ledger: Option<&str>,
) -> Result<Located, TrustError> {
    let schemas = Schemas::by_default(layout, tables, ledger);
    let found = check(client, layout, &schemas)?;
    let is_decided = ledger.is_some() || !schemas.is_apart();
    if is_decided || is_ledger_apart(client, layout, tables, &found)? {
        return Ok(Located { schemas, tables: found });
    }
    let schemas = Schemas { ledger: schemas.tables.clone(), ..schemas };
    let found = check(client, layout, &schemas)?;
    Ok(Located { schemas, tables: found })
}

/// Checks the tables again, for tables that were created since.
pub(crate) fn check_again(
    manager: &DatabaseManager,
    layout: Layout,
    schemas: &Schemas,
    deadline: &Deadline,
) -> Result<TrustedTables, StoreError> {
    let schemas = schemas.clone();
    manager.run("checking the tables", deadline, move |client, _| Ok(check(client, layout, &schemas)?))
}

/// Whether the ledger of these tables is the separate one. `found` are the tables of the separate ledger.
fn is_ledger_apart(
    client: &mut impl GenericClient,
    layout: Layout,
    tables: &str,
    found: &TrustedTables,
) -> Result<bool, Error> {
    // The ledger in the tables' schema may belong to another layout and be newer than the separate one.
    let sql = "SELECT bool_or(n.nspname = $1 AND c.relname = 'kill_load_segment') IS TRUE,
           bool_or(n.nspname = $2 AND c.relname = 'kill_load_run' AND has_schema_privilege(n.oid, 'USAGE')
             AND has_table_privilege(c.oid, 'SELECT')) IS TRUE
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname IN ($1, $2) AND c.relname IN ('kill_load_segment', 'kill_load_run')";
    let (is_beside, is_readable): (bool, bool) = match client.query_opt(sql, &[&tables, &LEDGER_APART])? {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (false, false),
    };
    if !is_beside {
        return Ok(true);
    }
    // A ledger of release 0.1.0 has no column table_schema, so it is read through JSON.
    let known = format!(
        "SELECT FROM {LEDGER_APART}.kill_load_run AS run
         WHERE to_jsonb(run) ->> 'table_schema' = $1 AND layout = $2 LIMIT 1"
    );
    let has_runs = found.has("kill_load_run") && is_readable;
    Ok(has_runs && client.query_opt(&known, &[&tables, &layout.name()])?.is_some())
}
