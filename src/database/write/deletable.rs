//! Checks whether events can be deleted from the existing tables.

use crate::database::failure::error::DatabaseError;
use crate::database::schema::catalog::Catalog;
use crate::database::schema::misfits::{Lack, misfits};
use crate::database::schema::{inspect, trust};
use crate::database::schemas::Schemas;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::GenericClient as _;
use crate::database::store::StoreError;
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use crate::layout::table::Distribution;

/// The events to delete: those of one layout, one pair of schemas and one game server.
#[derive(Debug, Clone)]
pub(crate) struct DeleteScope {
    pub layout: Layout,
    /// The schemas of the tables and the ledger.
    pub schemas: Schemas,
    /// The game server of the events.
    pub server: Server,
}

/// The optional columns and tables of the ledger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LedgerColumns {
    /// Whether its segments have event ranges.
    pub(crate) has_extents: bool,
    /// Whether it has `kill_load_file`.
    pub(crate) has_files: bool,
    /// SQL for the tables' schema of a run. NULL if they are in the ledger's schema, as always in earlier versions.
    pub(crate) table_schema: &'static str,
    /// Whether the role may mark running loads.
    pub(crate) may_mark: bool,
}

impl LedgerColumns {
    /// The condition for ledger rows that may hold events from `$4` to `$5`.
    pub(crate) fn between_ids(self) -> &'static str {
        if self.has_extents {
            "first_event_id <= $5 AND last_event_id >= $4 OR first_event_id IS NULL AND events > rejected"
        } else {
            "events > rejected"
        }
    }

    /// The condition for ledger rows that may hold events before `$3`, or the ascending ids `$4`.
    pub(crate) fn before_or_of_ids(self) -> String {
        self.before(
            "cardinality($4::bigint[]) > 0",
            "last_event_id >= ($4::bigint[])[1] AND first_event_id <= ($4::bigint[])[cardinality($4::bigint[])]
               AND EXISTS (SELECT FROM unnest($4::bigint[]) AS old (id)
                 WHERE old.id BETWEEN first_event_id AND last_event_id)",
        )
    }

    /// The condition for ledger rows that may hold events before `$3`. `any` is whether there are such events, and `holds`
    /// whether one of their ids is in the range of the row: the stored time may differ from that in the dump.
    pub(crate) fn before(self, any: &str, holds: &str) -> String {
        if self.has_extents {
            format!(
                "oldest_event < $3::text::timestamptz OR oldest_event IS NULL AND events > rejected AND {any} OR {holds}"
            )
        } else {
            format!("events > rejected AND {any} AND $3::text IS NOT NULL")
        }
    }
}

/// Fails if events cannot be deleted.
pub(crate) fn check(client: &mut Client, scope: &DeleteScope) -> Result<LedgerColumns, DatabaseError> {
    let DeleteScope { layout, schemas, server } = scope;
    let Schemas { tables: schema, ledger: ledger_schema } = schemas;
    let refuse = |what: String| -> Result<(), DatabaseError> { Err(StoreError::refused(what).into()) };
    let found = trust::check(client, *layout, schemas)?;
    let catalog = Catalog::read(client, *layout, schemas)?;
    let segments = catalog.columns("kill_load_segment");
    if let Some(message) = found.missing(layout.tables(), *layout, schema) {
        refuse(message)?;
    }
    if let Some(name) = ["kill_load_segment", "kill_load_run"].into_iter().find(|name| !found.has(name)) {
        refuse(format!(
            "schema {ledger_schema:?} has no table {name}, so no load of this program wrote the events; \
             hint: choose the tables with --schema and --layout, and the ledger with --ledger-schema"
        ))?;
    }
    if catalog.distributed.distribution(*layout) == Distribution::Citus {
        refuse("'delete' does not support tables that Citus distributes\nhint: delete the rows with SQL, and the \
                rows of their segments in kill_load_segment"
            .to_owned())?;
    }
    if let Some(misfits) = misfits(&catalog, *layout, schemas, Distribution::OneServer, Lack::Added) {
        refuse(misfits)?;
    }
    if let Some(message) = inspect::missing_server(&catalog, layout.tables(), schemas, *server) {
        refuse(message)?;
    }
    if let Some(remedy) = &catalog.read_only {
        refuse(format!("default_transaction_read_only is on, so nothing can be deleted\nhint: {remedy}"))?;
    }
    let table_schema = if catalog.columns("kill_load_run").contains_key("table_schema") {
        "run.table_schema"
    } else {
        "NULL::text"
    };
    let has_files = found.has("kill_load_file");
    let ledger = ["kill_load_segment", "kill_load_file"];
    let of_ledger = ledger.into_iter().take(1 + usize::from(has_files)).map(|name| (ledger_schema, name));
    let tables = layout.tables().iter().map(|table| (schema, table.name)).chain(of_ledger);
    let tables =
        tables.map(|(schema, name)| format!("{}.{}", quote_identifier(schema), quote_identifier(name)));
    refuse_without_privileges(client, &tables.collect::<Vec<_>>())?;
    if !layout.has_server_column() {
        refuse_other_server(client, scope, table_schema)?;
    }
    let runs = format!("{}.kill_load_run", quote_identifier(ledger_schema));
    let row = client.query_opt("SELECT has_table_privilege($1, 'UPDATE')", &[&runs])?;
    let may_mark = row.map_or(Ok(false), |row| row.try_get(0))?;
    Ok(LedgerColumns {
        has_extents: segments.contains_key("oldest_event"),
        has_files,
        table_schema,
        may_mark,
    })
}

fn refuse_without_privileges(client: &mut Client, tables: &[String]) -> Result<(), DatabaseError> {
    let tables = tables.to_vec();
    let row = client.query_opt(
        "SELECT current_user::text, quote_ident(current_user), string_agg(name, ', ')
         FROM unnest($1::text[]) AS names (name)
         WHERE to_regclass(name) IS NOT NULL
           AND NOT (has_table_privilege(name, 'SELECT') AND has_table_privilege(name, 'DELETE'))
         HAVING count(*) > 0",
        &[&tables],
    )?;
    let Some(row) = row else { return Ok(()) };
    let (role, quoted, lacking): (String, String, String) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Err(StoreError::refused(format!(
        "the role {role} lacks SELECT or DELETE on {lacking}\nhint: run in psql as the owner: GRANT SELECT, DELETE \
         ON {lacking} TO {quoted}"
    ))
    .into())
}

/// Fails if the ledger has loads only of other game servers: the rows do not name their server.
fn refuse_other_server(
    client: &mut Client,
    scope: &DeleteScope,
    table_schema: &str,
) -> Result<(), DatabaseError> {
    let ledger = quote_identifier(&scope.schemas.ledger);
    let of_tables = format!("{table_schema} IS NOT DISTINCT FROM $3");
    let sql = format!(
        "SELECT server FROM {ledger}.kill_load_run AS run WHERE layout = $1 AND server <> $2 AND {of_tables} AND NOT EXISTS (
           SELECT FROM {ledger}.kill_load_run AS run WHERE layout = $1 AND server = $2 AND {of_tables}) LIMIT 1"
    );
    let (layout, server) = (scope.layout.name(), scope.server.name());
    let Some(row) = client.query_opt(&sql, &[&layout, &server, &scope.schemas.table_schema()])? else {
        return Ok(());
    };
    let other: String = row.try_get(0)?;
    Err(StoreError::refused(format!(
        "schema {:?} holds the events of {other}, not of {server}\nhint: use --server {other}, or choose the schema \
         of {server} with --schema",
        scope.schemas.tables
    ))
    .into())
}
