//! The planner's statistics of tables that a load has filled.
//!
//! Invariant: nothing here fails a load, and nobody waits for it: ANALYZE blocks neither reads nor writes.

use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::catalog::Catalog;
use crate::database::schemas::Schemas;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::{GenericClient as _, first_column};
use crate::database::session::deadline::Deadline;
use crate::database::session::progress::CallProgress;
use crate::error_chain::in_full;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;

/// A load that adds more than this part of the events that were stored before it analyzes the tables.
const GROWTH_PART: u64 = 10;

/// The wait for a table. Autovacuum gives way after a second by default, other sessions may not.
const SETTINGS: &str = "SET LOCAL lock_timeout = '3s'; SET LOCAL statement_timeout = '5min'";

/// Selects those of the tables in the second parameter that the role may analyze, in the schema of the first one.
const ANALYZABLE: &str =
    "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_database d ON d.datname = current_database()
     WHERE n.nspname = $1 AND c.relname = ANY ($2::text[]) AND c.relkind IN ('r', 'p')
       AND (pg_has_role(c.relowner, 'USAGE') OR pg_has_role(d.datdba, 'USAGE')
         OR CASE WHEN current_setting('server_version_num')::int >= 170000
              THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END)
     ORDER BY pg_catalog.array_position($2::text[], c.relname::text)";

/// Analyzes the tables if `inserted` events are much in comparison with those that `catalog`, from the start of the
/// load, has counted. Ends with `deadline`.
pub(crate) fn refresh(
    manager: &DatabaseManager,
    catalog: &Catalog,
    layout: Layout,
    schemas: &Schemas,
    inserted: u64,
    deadline: &Deadline,
) {
    let before = catalog.relations.get(layout.tables()[0].name).map_or(0, |table| table.rows);
    if inserted.saturating_mul(GROWTH_PART) <= before {
        return;
    }
    let schema = schemas.tables.clone();
    let analyzed = manager.run("analyzing the tables", deadline, move |client, progress| {
        // A failure is no reason to retry.
        if let Err(error) = analyze(client, progress, layout, &schema) {
            log::debug!("tables not analyzed: {}", in_full(&error));
        }
        Ok(())
    });
    if let Err(error) = analyzed {
        log::debug!("{}", in_full(&error));
    }
}

fn analyze(
    client: &mut Client,
    progress: &CallProgress,
    layout: Layout,
    schema: &str,
) -> Result<(), postgres::Error> {
    let names: Vec<&str> = layout.tables().iter().map(|table| table.name).collect();
    let analyzable: Vec<String> = first_column(&client.query(ANALYZABLE, &[&schema, &names])?)?;
    for name in names.iter().filter(|name| !analyzable.iter().any(|found| found == *name)) {
        log::debug!("{name} not analyzed: the role lacks the privilege");
    }
    progress.takes_long();
    for name in analyzable {
        // One transaction per table, so that a table is not locked while another is read.
        let statement =
            format!("{SETTINGS}; ANALYZE {}.{}", quote_identifier(schema), quote_identifier(&name));
        client.transaction_with("BEGIN", &statement)?.0.commit()?;
        progress.tick();
    }
    Ok(())
}
