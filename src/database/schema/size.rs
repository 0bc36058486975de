//! The size of the tables.

use crate::database::session::client::Client;
use crate::database::session::client_transaction::GenericClient as _;
use crate::layout::Layout;
use crate::layout::table::Distribution;
use postgres::Error;

/// Limits the wait for an exclusive lock on a table: rewriting a table can take long.
const WAIT: &str = "SET LOCAL lock_timeout = '500ms'";

/// The size of a layout's tables and their indexes in bytes, on all nodes and in all partitions.
pub(crate) fn of_tables(
    client: &mut Client,
    layout: Layout,
    schema: &str,
    distribution: Distribution,
) -> Result<u64, Error> {
    let size = match distribution {
        // A partitioned table itself has size 0, and an unpartitioned table has no partitions.
        Distribution::OneServer => {
            "pg_total_relation_size(c.oid)
             + coalesce((SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree(c.oid)), 0)"
        }
        Distribution::Citus => "citus_total_relation_size(c.oid)",
    };
    let names: Vec<&str> = layout.tables().iter().map(|table| table.name).collect();
    let sql = format!(
        "SELECT coalesce(sum({size}), 0)::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = ANY ($2)"
    );
    let mut transaction = client.transaction()?;
    transaction.batch_execute(WAIT)?;
    let row = transaction.query_opt(&sql, &[&schema, &names])?;
    transaction.commit()?;
    let bytes: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}
