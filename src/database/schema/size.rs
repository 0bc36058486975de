//! How much room the tables take.

use crate::database::session::client::Client;
use crate::database::session::client_transaction::GenericClient as _;
use crate::layout::Layout;
use crate::layout::table::Distribution;
use postgres::Error;

/// Who holds a table for himself is waited for no longer, as it can take long to move or rewrite one.
const WAIT: &str = "SET LOCAL lock_timeout = '500ms'";

/// The bytes of a layout's tables and their indexes, on all nodes and in all partitions.
pub(crate) fn of_tables(
    client: &mut Client,
    layout: Layout,
    schema: &str,
    distribution: Distribution,
) -> Result<u64, Error> {
    let size = match distribution {
        // Of a partitioned table itself it is nothing, and of one that is not there are no partitions.
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
