//! Looks up stored events, and child rows whose event is not stored.

use crate::database::failure::error::DatabaseError;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::citus;
use crate::database::session::client_transaction::{GenericClient as _, first_column};
use crate::database::session::deadline::Deadline;
use crate::database::session::transaction::Transaction;
use crate::database::store::StoreError;
use crate::database::write::update::OneServerUpdater;
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use crate::layout::rows::Rows;
use crate::layout::table::Distribution;
use postgres::Error;
use postgres::error::{DbError, SqlState};
use std::collections::HashSet;

/// The ids among `ids` that are stored in the first table of the layout.
pub(crate) fn present_ids(
    manager: &DatabaseManager,
    deadline: &Deadline,
    layout: Layout,
    schema: &str,
    server: Server,
    distribution: Distribution,
    ids: Vec<i64>,
) -> Result<HashSet<i64>, StoreError> {
    let sql = stored_query(layout, schema, server, distribution);
    let schema = schema.to_owned();
    manager.run("looking up stored events", deadline, move |client, _| {
        let rows = match distribution {
            Distribution::OneServer => client.query(&sql, &[&ids]),
            Distribution::Citus => citus::query(client, &sql, &[&ids]),
        };
        let rows = rows.map_err(|error| advised(&schema, error))?;
        Ok(first_column(&rows)?)
    })
}

/// Adds a remedy to the error if the tables are missing or incompatible, or the role cannot read them.
pub(crate) fn advised(schema: &str, error: Error) -> DatabaseError {
    let what = match error.code().map(SqlState::code) {
        // Commands check that the tables exist, so they have been dropped.
        Some("42P01" | "3F000") => format!("the tables in schema {schema:?} do not exist anymore"),
        // No such column; no such type, or operator of the types that are there.
        Some("42703" | "42704" | "42883") => {
            format!(
                "the tables in schema {schema:?} are incompatible\nhint: choose others with --schema and --layout"
            )
        }
        // The routine identifies the error. The message may be translated.
        Some("42501") if error.as_db_error().and_then(DbError::routine) == Some("check_enable_rls") => {
            // The server has a hint if this role is the owner: then the policies are forced.
            let remedy = if error.as_db_error().and_then(DbError::hint).is_some() {
                "set NO FORCE ROW LEVEL SECURITY for the table, or use a role with BYPASSRLS"
            } else {
                "use the owner of the tables or a role with BYPASSRLS"
            };
            return StoreError::new(
                format!(
                    "row-level security can hide rows in schema {schema:?} from this role, so their events cannot be \
                     checked\nhint: {remedy}"
                ),
                error,
            )
            .into();
        }
        Some("42501") => {
            format!(
                "this role cannot read the tables in schema {schema:?}\nhint: their owner can grant it USAGE on the schema and SELECT on the tables"
            )
        }
        _ => return error.into(),
    };
    StoreError::new(what, error).into()
}

/// The statement that selects the stored ids among its parameter.
pub(crate) fn stored_query(
    layout: Layout,
    schema: &str,
    server: Server,
    distribution: Distribution,
) -> String {
    let table = &layout.tables()[0];
    table.select_stored(&quote_identifier(schema), server, &table.id_column(), distribution)
}

/// The statements for each table, by which the end of a load looks up the ids among their parameter that have a row. None on
/// Citus.
pub(crate) fn confirming_queries(
    layout: Layout,
    schema: &str,
    server: Server,
    distribution: Distribution,
) -> Vec<String> {
    let schema = quote_identifier(schema);
    let tables = layout.tables().iter().filter(|_| distribution == Distribution::OneServer);
    tables.map(|table| table.select_ids_with_rows(&schema, server)).collect()
}

/// Child rows of events whose event rows were deleted by hand. Not for Citus.
#[derive(Debug)]
pub(crate) struct Leftovers {
    /// The statements that select the ids among their parameter that have rows, for each table but the first.
    queries: Vec<String>,
    updater: OneServerUpdater,
}

impl Leftovers {
    pub(crate) fn new(layout: Layout, schema: &str, server: Server) -> Self {
        let queries = confirming_queries(layout, schema, server, Distribution::OneServer);
        let updater = OneServerUpdater::new(layout, schema, server, 1);
        Self { queries: queries.into_iter().skip(1).collect(), updater }
    }

    /// Completes the child rows of those `events` that have some, as an update does. Returns the other events.
    ///
    /// The transaction must have inserted the event rows. Otherwise another load may have committed the child rows since.
    pub(crate) fn complete(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<Vec<usize>, DatabaseError> {
        let ids = rows.ids(events);
        let mut found = HashSet::new();
        for query in &self.queries {
            found.extend(first_column::<i64, Vec<_>>(&transaction.query(query, &[&ids])?)?);
        }
        let (with_rows, without_rows) = split(rows, events, &found);
        if !with_rows.is_empty() {
            self.updater.update(transaction, rows, &with_rows, None)?;
        }
        Ok(without_rows)
    }
}

/// Splits `events` into those with a stored id and the others.
pub(crate) fn split(rows: &Rows, events: &[usize], stored: &HashSet<i64>) -> (Vec<usize>, Vec<usize>) {
    events.iter().partition(|&&event| stored.contains(&rows.events()[event].id))
}

/// The first and the last of ascending ids, if the ids are dense, as in a dump of all kills.
///
/// Each shard of Citus looks up every requested id, even ids of other shards. For dense ids a range query is faster.
pub(crate) fn close_together(ids: &[i64]) -> Option<(i64, i64)> {
    const BETWEEN_MAX: i64 = 16;
    let (first, last) = (*ids.first()?, *ids.last()?);
    let between = last.checked_sub(first)?;
    (between / BETWEEN_MAX <= i64::try_from(ids.len()).ok()?).then_some((first, last))
}
