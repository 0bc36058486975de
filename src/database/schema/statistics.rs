//! The planner's statistics of tables that a load has filled.
//!
//! Invariant: nothing here fails a load, and nobody waits for it: ANALYZE blocks neither reads nor writes.
//!
//! Only the loader's columns are analyzed, by a sample that is small in comparison with the load. Because of the list of
//! columns, PostgreSQL does not count this as an ANALYZE of the table, so autovacuum's next visit does a complete one.

use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::catalog::Catalog;
use crate::database::schemas::Schemas;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::{GenericClient as _, first_column};
use crate::database::session::deadline::Deadline;
use crate::database::session::progress::CallProgress;
use crate::error_chain::in_full;
use crate::layout::Layout;
use crate::layout::identifier::{quote_identifier, quoted_list};
use crate::layout::table::{ColumnType, Table};

/// A load that adds more than this part of the events that were stored before it analyzes the tables.
const GROWTH_PART: u64 = 10;

/// The time to open a table's indexes or partitions. A locked table is skipped.
const SETTINGS: &str = "SET LOCAL lock_timeout = '3s'; SET LOCAL statement_timeout = '5min'";

/// The inserted events per unit of the statistics target. The time of ANALYZE is proportional to the target, about
/// 6 ms per unit for the three tables, so it is a few percent of the time of the load.
const EVENTS_PER_TARGET: u64 = 3_000;

/// The lowest statistics target: samples of 3,000 rows. The documented queries have good plans with it.
const TARGET_MIN: u64 = 10;

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
        if let Err(error) = analyze(client, progress, layout, &schema, target(inserted)) {
            log::debug!("tables not analyzed: {}", in_full(&error));
        }
        Ok(())
    });
    if let Err(error) = analyzed {
        log::debug!("{}", in_full(&error));
    }
}

/// The statistics target after this number of inserted events, unless the session's is lower.
fn target(inserted: u64) -> u64 {
    (inserted / EVENTS_PER_TARGET).max(TARGET_MIN)
}

/// The columns whose values queries compare: all but JSON.
fn analyzed_columns(table: &Table) -> String {
    let columns = table.columns.iter().filter(|column| column.kind != ColumnType::Jsonb);
    quoted_list(&columns.map(|column| column.name).collect::<Vec<_>>())
}

fn analyze(
    client: &mut Client,
    progress: &CallProgress,
    layout: Layout,
    schema: &str,
    target: u64,
) -> Result<(), postgres::Error> {
    let names: Vec<&str> = layout.tables().iter().map(|table| table.name).collect();
    let analyzable: Vec<String> = first_column(&client.query(ANALYZABLE, &[&schema, &names])?)?;
    for name in names.iter().filter(|name| !analyzable.iter().any(|found| found == *name)) {
        log::debug!("{name} not analyzed: the role lacks the privilege");
    }
    progress.takes_long();
    let schema = quote_identifier(schema);
    for table in layout.tables().iter().filter(|table| analyzable.iter().any(|name| name == table.name)) {
        // One transaction per table, so that a table is not locked while another is read.
        let statement = format!(
            "{SETTINGS}; SELECT pg_catalog.set_config('default_statistics_target',
               least(pg_catalog.current_setting('default_statistics_target')::int, {target})::text, true);
             ANALYZE (SKIP_LOCKED) {} ({})",
            table.in_schema(&schema),
            analyzed_columns(table)
        );
        client.transaction_with("BEGIN", &statement)?.0.commit()?;
        progress.tick();
    }
    Ok(())
}
