//! Citus, which distributes tables over nodes, and the statements that it needs.
//!
//! Invariant: only the catalog determines whether tables are distributed. `load`, `verify` and health checks read it;
//! there is no setting.
//!
//! - The rows of an event are on one node, chosen by its id. The ledger is on all nodes, so a segment commits by
//!   two-phase commit on all nodes.
//! - If a node refuses rows of a COPY, Citus reports XX000 for every cause. Through a staging table it reports the real
//!   error.

use crate::database::failure::error::DatabaseError;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schemas::{IS_IN_SCHEMAS, Schemas};
use crate::database::session::client::Client;
use crate::database::session::client_transaction::GenericClient;
use crate::database::session::deadline::Deadline;
use crate::database::session::transaction::Transaction;
use crate::database::store::StoreError;
use crate::error_chain::in_full;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use crate::layout::table::{Distribution, Table};
use postgres::types::ToSql;
use postgres::{Error, Row};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The settings of a transaction on each node. They cost one round trip, to the coordinator: the first statement on a
/// node carries them. (Citus forwards the whole text that contains a setting.)
///
/// The nodes look up rows by the key only, for the same reason as the sessions, and use the sessions' lock timeout.
pub(crate) const NODE_SETTINGS: &str = "SET LOCAL citus.propagate_set_commands = 'local';
    SET LOCAL enable_seqscan = 'off'; SET LOCAL lock_timeout = '30min'";

/// The ledger's tables, which are reference tables.
const LEDGER: [&str; 2] = ["kill_load_run", "kill_load_segment"];

/// Queries distributed tables.
pub(crate) fn query(
    client: &mut Client,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Error> {
    let mut transaction = client.transaction()?;
    transaction.batch_execute(NODE_SETTINGS)?;
    let rows = transaction.query(sql, values)?;
    transaction.commit()?;
    Ok(rows)
}

/// Runs a statement that inserts events from a staging table, once per shard of `table`. Its parameter is the ids of
/// that shard. Returns the rows of all runs.
///
/// For all shards at once, Citus would open one connection per shard.
pub(crate) fn each_shard(
    transaction: &mut Transaction<'_>,
    table: &str,
    ids: &[i64],
    sql: &str,
) -> Result<Vec<Row>, DatabaseError> {
    const SHARDS: &str = "SELECT pg_catalog.array_agg(id ORDER BY id) FROM
           (SELECT id, get_shard_id_for_distribution_column($2::text::regclass, id) AS shard
            FROM pg_catalog.unnest($1::bigint[]) AS ids (id)) AS placed
         GROUP BY shard ORDER BY shard";
    let shards = transaction.query(SHARDS, &[&ids, &table])?;
    let mut rows = Vec::new();
    for shard in shards {
        let ids: Vec<i64> = shard.try_get(0)?;
        rows.extend(transaction.move_returning(sql, &[&ids])?);
    }
    Ok(rows)
}

/// The distributed tables of a schema.
#[derive(Debug, Default)]
pub(crate) struct Distributed {
    tables: BTreeMap<String, TableDistribution>,
}

#[derive(Debug)]
struct TableDistribution {
    /// The distribution column; `None` for a reference table.
    column: Option<String>,
    /// The colocation group: its tables have rows with equal distribution values on the same node.
    colocation: i64,
}

impl Distributed {
    /// The distributed tables of `schemas`; empty without Citus.
    pub(crate) fn of(client: &mut impl GenericClient, schemas: &Schemas) -> Result<Self, Error> {
        if !is_installed(client)? {
            return Ok(Self::default());
        }
        // Reference tables have no distribution column. Nor do single-shard tables, which are excluded because no load
        // supports them.
        let rows = client.query(
            &format!(
                "SELECT c.relname::text, column_to_column_name(p.logicalrelid, p.partkey)::text, p.colocationid::bigint
             FROM pg_dist_partition p JOIN pg_class c ON c.oid = p.logicalrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE {IS_IN_SCHEMAS} AND (p.partmethod = 'h' OR p.partmethod = 'n' AND p.repmodel = 't')"
            ),
            &[&schemas.tables, &schemas.ledger],
        )?;
        let table = |row: &Row| {
            Ok((row.try_get(0)?, TableDistribution { column: row.try_get(1)?, colocation: row.try_get(2)? }))
        };
        Ok(Self { tables: rows.iter().map(table).collect::<Result<_, Error>>()? })
    }

    /// [`Distribution::Citus`] if any table of this program is distributed; then all of them must be.
    pub(crate) fn distribution(&self, layout: Layout) -> Distribution {
        if names(layout).any(|name| self.tables.contains_key(name)) {
            Distribution::Citus
        } else {
            Distribution::OneServer
        }
    }

    /// The tables of a load that are not distributed, whether they exist or not.
    pub(crate) fn lacking(&self, layout: Layout) -> impl Iterator<Item = &'static str> {
        names(layout).filter(|name| !self.tables.contains_key(*name))
    }

    /// Messages about wrongly distributed tables, except those that are `missing`. None if no table is distributed.
    pub(crate) fn misfits(&self, layout: Layout, missing: &[&str]) -> Vec<String> {
        if self.distribution(layout) == Distribution::OneServer {
            return Vec::new();
        }
        let first = self.tables.get(layout.tables()[0].name).map(|table| table.colocation);
        let is_together = |table: &Table| {
            self.tables.get(table.name).is_some_and(|found| {
                found.column.as_deref() == Some(table.id) && Some(found.colocation) == first
            })
        };
        let events = layout.tables().iter().filter(|table| !is_together(table)).map(|table| {
            (table.name, format!("{} is not distributed by {} with the other tables", table.name, table.id))
        });
        let is_reference = |name: &str| self.tables.get(name).is_some_and(|table| table.column.is_none());
        let ledger = LEDGER.into_iter().filter(|name| !is_reference(name));
        let ledger = ledger.map(|name| (name, format!("{name} is not a reference table")));
        let found = events.chain(ledger).filter(|(name, _)| !missing.contains(name));
        let remedy = "run: aegis-kills schema apply --distributed citus";
        found.map(|(_, misfit)| format!("{misfit} ({remedy})")).collect()
    }
}

fn names(layout: Layout) -> impl Iterator<Item = &'static str> {
    layout.tables().iter().map(|table| table.name).chain(LEDGER)
}

/// Whether the database has Citus.
pub(crate) fn is_installed(client: &mut impl GenericClient) -> Result<bool, Error> {
    let row = client.query_opt("SELECT FROM pg_extension WHERE extname = 'citus'", &[])?;
    Ok(row.is_some())
}

/// The statements that distribute the remaining tables of a layout and of the ledger, including their rows. Their
/// transaction must begin with [`DISTRIBUTING`].
pub(crate) fn ddl(layout: Layout, schemas: &Schemas) -> String {
    let (schema, ledger) = (quote_identifier(&schemas.tables), quote_identifier(&schemas.ledger));
    let literal = |name: &str| format!("'{}'", name.replace('\'', "''"));
    let mut sql = String::new();
    for name in LEDGER {
        let name = literal(&format!("{ledger}.{name}"));
        distribute(&mut sql, &name, &format!("create_reference_table({name})"));
    }
    let mut with = "'none'".to_owned();
    for table in layout.tables() {
        let name = literal(&table.in_schema(&schema));
        let call = format!("create_distributed_table({name}, '{}', colocate_with => {with})", table.id);
        distribute(&mut sql, &name, &call);
        if with == "'none'" {
            with = name;
        }
    }
    sql
}

/// The settings of a transaction that distributes tables. Citus requires sequential mode for types and tables created
/// in the same transaction. There is no statement timeout, because all rows move to the nodes.
pub(crate) const DISTRIBUTING: &str =
    "SET LOCAL citus.multi_shard_modify_mode = 'sequential';\nSET LOCAL statement_timeout = 0;\n\n";

// Writing to a String can't fail, so the results of write! are ignored.
fn distribute(sql: &mut String, table: &str, call: &str) {
    let _ = writeln!(
        sql,
        "SELECT {call}\n  WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = {table}::regclass);"
    );
    // The rows have been copied to the nodes; their originals remain in the local table, invisible.
    let _ = writeln!(
        sql,
        "SELECT truncate_local_data_after_distributing_table({table})\n  WHERE pg_relation_size({table}) > 0;\n"
    );
}

/// A Citus worker node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its host and port, as registered with the coordinator.
    pub name: String,
    /// Whether the coordinator can connect to it.
    pub is_there: bool,
}

/// The worker nodes; empty without Citus.
pub(crate) fn nodes(client: &mut Client) -> Result<Vec<Node>, Error> {
    // A health check must not wait long for an unresponsive node.
    const WAIT: &str = "SET LOCAL citus.node_connection_timeout = '1500ms'";
    if !is_installed(client)? {
        return Ok(Vec::new());
    }
    let mut transaction = client.transaction()?;
    transaction.batch_execute(WAIT)?;
    let rows = transaction.query(
        "SELECT pg_catalog.format('%s:%s', nodename, nodeport), citus_check_connection_to_node(nodename, nodeport)
         FROM pg_dist_node WHERE isactive AND noderole = 'primary' AND groupid <> 0 ORDER BY 1",
        &[],
    )?;
    transaction.commit()?;
    rows.iter().map(|row| Ok(Node { name: row.try_get(0)?, is_there: row.try_get(1)? })).collect()
}

/// Two-phase commits that a crash left prepared on some nodes. Their rows are invisible until Citus finishes them,
/// which it does once per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HalfCommitted {
    None,
    /// There were some, and all are finished now.
    Finished,
    /// There are some. This role lacks the privilege to finish them, or they are still in progress.
    Some,
}

/// Makes Citus finish half-committed transactions, if the role has the privilege.
pub(crate) fn finish_commits(
    manager: &DatabaseManager,
    deadline: &Deadline,
) -> Result<HalfCommitted, StoreError> {
    manager.run("looking for half-committed events", deadline, |client, _| {
        if !is_half_committed(client)? {
            return Ok(HalfCommitted::None);
        }
        if let Err(error) = client.query_opt("SELECT recover_prepared_transactions()", &[]) {
            // By default, only superusers have the privilege.
            log::debug!("leaving half-committed events to Citus: {}", in_full(&error));
            return Ok(HalfCommitted::Some);
        }
        Ok(if is_half_committed(client)? { HalfCommitted::Some } else { HalfCommitted::Finished })
    })
}

fn is_half_committed(client: &mut Client) -> Result<bool, DatabaseError> {
    let row = client.query_opt(
        r"SELECT FROM run_command_on_workers($$SELECT pg_catalog.count(*) FROM pg_prepared_xacts
           WHERE database = current_database() AND gid LIKE 'citus\_%'$$) WHERE result <> '0' LIMIT 1",
        &[],
    )?;
    Ok(row.is_some())
}

/// Fails if tables are to be distributed and the database has no Citus.
pub(crate) fn refuse_without_citus(client: &mut Client) -> Result<(), DatabaseError> {
    if is_installed(client)? {
        return Ok(());
    }
    let what = "this database has no Citus\nhint: run CREATE EXTENSION citus on the coordinator and on each worker, then \
                add the workers on the coordinator with citus_add_node";
    Err(StoreError::refused(what).into())
}
