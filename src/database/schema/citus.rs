//! Citus: PostgreSQL whose tables are distributed over nodes, and what has to be said to it otherwise.
//!
//! Invariant: the catalog alone says whether tables are distributed. A load, a `verify` and a health check look there; nothing
//! has to be set.
//!
//! - The rows of an event lie on one node, by its id; the ledger is on all nodes. So what a node commits of an event and of
//!   the ledger it commits by two-phase commit with all others.
//! - What a node refuses in a COPY comes as XX000, whatever it was; through a staging table it comes as what it is.

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

/// What a transaction's share on each node is set to. Its first statement there brings it along, so that it costs no round trip
/// but the one to the coordinator. (Citus sends on all of the text that a setting stands in.)
///
/// The nodes look rows up by the key alone, for the reason that the sessions' own settings give, and wait for locks no
/// longer than the session itself does.
pub(crate) const NODE_SETTINGS: &str = "SET LOCAL citus.propagate_set_commands = 'local';
    SET LOCAL enable_seqscan = 'off'; SET LOCAL lock_timeout = '30min'";

/// The tables of the ledger, which are the same on all nodes.
const LEDGER: [&str; 2] = ["kill_load_run", "kill_load_segment"];

/// Asks something of distributed tables.
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

/// Runs a statement that inserts what a staging table holds of events, once for each shard, with the ids that are the shard's
/// as its parameter, and returns all rows. `table` is the one whose shards they are.
///
/// For all shards at once Citus would open a connection for each of them.
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
    tables: BTreeMap<String, Way>,
}

/// How a table is distributed.
#[derive(Debug)]
struct Way {
    /// The column whose value says on which node a row is; none of a table that is whole on each.
    column: Option<String>,
    /// Tables that have it in common have rows of the same value on the same node.
    colocation: i64,
}

impl Distributed {
    /// Those of `schemas`; none where there is no Citus.
    pub(crate) fn of(client: &mut impl GenericClient, schemas: &Schemas) -> Result<Self, Error> {
        if !is_installed(client)? {
            return Ok(Self::default());
        }
        // Of a reference table no column is told, of a table that is on one node alone neither, which fits nothing.
        let rows = client.query(
            &format!(
                "SELECT c.relname::text, column_to_column_name(p.logicalrelid, p.partkey)::text, p.colocationid::bigint
             FROM pg_dist_partition p JOIN pg_class c ON c.oid = p.logicalrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE {IS_IN_SCHEMAS} AND (p.partmethod = 'h' OR p.partmethod = 'n' AND p.repmodel = 't')"
            ),
            &[&schemas.tables, &schemas.ledger],
        )?;
        let way =
            |row: &Row| Ok((row.try_get(0)?, Way { column: row.try_get(1)?, colocation: row.try_get(2)? }));
        Ok(Self { tables: rows.iter().map(way).collect::<Result<_, Error>>()? })
    }

    /// Whether tables of this program are among them, so that all of them are to be.
    pub(crate) fn distribution(&self, layout: Layout) -> Distribution {
        if names(layout).any(|name| self.tables.contains_key(name)) {
            Distribution::Citus
        } else {
            Distribution::OneServer
        }
    }

    /// The tables of a load that are not distributed at all, whether they are there or not.
    pub(crate) fn lacking(&self, layout: Layout) -> impl Iterator<Item = &'static str> {
        names(layout).filter(|name| !self.tables.contains_key(*name))
    }

    /// The tables that are not distributed as a load needs it, in words; `missing` are not there. Where none is distributed
    /// all is well.
    pub(crate) fn misfits(&self, layout: Layout, missing: &[&str]) -> Vec<String> {
        if self.distribution(layout) == Distribution::OneServer {
            return Vec::new();
        }
        let first = self.tables.get(layout.tables()[0].name).map(|way| way.colocation);
        let is_together = |table: &Table| {
            let fits = |way: &Way| way.column.as_deref() == Some(table.id) && Some(way.colocation) == first;
            self.tables.get(table.name).is_some_and(fits)
        };
        let events = layout.tables().iter().filter(|table| !is_together(table)).map(|table| {
            (table.name, format!("{} is not distributed by {} with the other tables", table.name, table.id))
        });
        let is_whole = |name: &str| self.tables.get(name).is_some_and(|way| way.column.is_none());
        let ledger = LEDGER.into_iter().filter(|name| !is_whole(name));
        let ledger = ledger.map(|name| (name, format!("{name} is no reference table")));
        let found = events.chain(ledger).filter(|(name, _)| !missing.contains(name));
        let remedy = "'aegis-kills schema apply --distributed citus' distributes what is not yet";
        found.map(|(_, words)| format!("{words} ({remedy})")).collect()
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

/// The statements that distribute those of a layout's tables and of the ledger's that are not, with all that is in them. They
/// are to be run in a transaction that begins with [`DISTRIBUTING`].
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

/// What a transaction begins with that distributes tables. Types and tables that were made in the same one can't be without
/// going from one shard to the other; and it takes as long as it takes to bring all rows to the nodes.
pub(crate) const DISTRIBUTING: &str =
    "SET LOCAL citus.multi_shard_modify_mode = 'sequential';\nSET LOCAL statement_timeout = 0;\n\n";

// Writing to a String can't fail, so that the results of write! are dropped.
fn distribute(sql: &mut String, table: &str, call: &str) {
    let _ = writeln!(
        sql,
        "SELECT {call}\n  WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = {table}::regclass);"
    );
    // What was in the table has been copied, and lies there unseen.
    let _ = writeln!(
        sql,
        "SELECT truncate_local_data_after_distributing_table({table})\n  WHERE pg_relation_size({table}) > 0;\n"
    );
}

/// A server that holds a part of the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its host and port, as the coordinator knows it.
    pub name: String,
    /// Whether the coordinator can connect to it.
    pub is_there: bool,
}

/// The nodes beside the coordinator; none where there is no Citus.
pub(crate) fn nodes(client: &mut Client) -> Result<Vec<Node>, Error> {
    // Whoever asks for the health is not to wait long for a node that says nothing.
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

/// Commits that have reached one node and not another, as a crash in between leaves them. Their rows are not seen before
/// Citus has finished them, which it does once a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HalfCommitted {
    /// There are none.
    None,
    /// There were some, and all are finished now.
    Finished,
    /// There are some: this role may not have them finished, or they are still on their way.
    Some,
}

/// Has Citus finish what is half committed, where it may be told to.
pub(crate) fn finish_commits(manager: &DatabaseManager) -> Result<HalfCommitted, StoreError> {
    manager.run("looking for half committed events", &Deadline::unbounded(), |client, _| {
        if !is_half_committed(client)? {
            return Ok(HalfCommitted::None);
        }
        if let Err(error) = client.query_opt("SELECT recover_prepared_transactions()", &[]) {
            // Superusers alone may, at its defaults.
            log::debug!("half committed events are left to Citus: {}", in_full(&error));
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

/// What is said where the tables are to be distributed and can't be.
pub(crate) fn refuse_without_citus(client: &mut Client) -> Result<(), DatabaseError> {
    if is_installed(client)? {
        return Ok(());
    }
    let what = "this database has no Citus: it is made there with CREATE EXTENSION citus, on the coordinator and on each \
                worker, and the workers are named to the coordinator by citus_add_node";
    Err(StoreError::refused(what).into())
}
