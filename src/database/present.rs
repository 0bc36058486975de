//! Which events are stored.

use super::citus;
use super::client::{GenericClient as _, first_column};
use super::error::DatabaseError;
use super::manager::DatabaseManager;
use super::patience::Patience;
use super::store::StoreError;
use crate::kill::Server;
use crate::layout::{Distribution, Layout, quote_identifier};
use postgres::Error;
use postgres::error::{DbError, SqlState};
use std::collections::HashSet;

/// The ids among `ids` that are stored in the first table of the layout.
pub fn present_ids(
    manager: &DatabaseManager,
    layout: Layout,
    schema: &str,
    server: Server,
    distribution: Distribution,
    ids: Vec<i64>,
) -> Result<HashSet<i64>, StoreError> {
    let sql = stored_query(layout, schema, server, distribution);
    let schema = schema.to_owned();
    manager.run("looking up stored events", &Patience::endless(), move |client, _| {
        let rows = match distribution {
            Distribution::OneServer => client.query(&sql, &[&ids]),
            Distribution::Citus => citus::query(client, &sql, &[&ids]),
        };
        let rows = rows.map_err(|error| advised(&schema, error))?;
        Ok(first_column(&rows)?)
    })
}

/// The error with its remedy, where the tables are not those that a load makes, or may not be read.
pub(super) fn advised(schema: &str, error: Error) -> DatabaseError {
    let what = match error.code().map(SqlState::code) {
        // No such table, column or schema; no such type, or operator of the types that are there.
        Some("42P01" | "42703" | "3F000" | "42704" | "42883") => format!(
            "schema {schema:?} has no tables of this layout, or they are of another make; a load makes them, and \
             --schema and --layout choose others"
        ),
        // The message is PostgreSQL's own, and may be translated.
        Some("42501") if error.as_db_error().and_then(DbError::routine) == Some("check_enable_rls") => {
            return StoreError::new(
                format!(
                    "row-level security hides rows in schema {schema:?} from this role, so that nothing can be said of \
                     them; use the owner of the tables or a role with BYPASSRLS"
                ),
                error,
            )
            .into();
        }
        Some("42501") => {
            format!(
                "this role may not read the tables in schema {schema:?}; their owner can grant it USAGE and SELECT"
            )
        }
        _ => return error.into(),
    };
    StoreError::new(what, error).into()
}

/// The statement that is given ids and returns those that are stored.
pub(super) fn stored_query(
    layout: Layout,
    schema: &str,
    server: Server,
    distribution: Distribution,
) -> String {
    let table = &layout.tables()[0];
    table.select_stored(&quote_identifier(schema), server, &table.id_column(), distribution)
}
