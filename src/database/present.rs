//! Which events are stored.

use super::client::GenericClient as _;
use super::manager::DatabaseManager;
use super::patience::Patience;
use super::store::StoreError;
use crate::kill::Server;
use crate::layout::{Layout, quote_identifier};
use std::collections::HashSet;

/// The ids among `ids` that are stored in the first table of the layout.
pub fn present_ids(
    manager: &DatabaseManager,
    layout: Layout,
    schema: &str,
    server: Server,
    ids: Vec<i64>,
) -> Result<HashSet<i64>, StoreError> {
    let sql = stored_query(layout, schema, server);
    manager.run("looking up stored events", &Patience::endless(), move |client, _| {
        let rows = client.query(&sql, &[&ids])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    })
}

/// The statement that is given ids and returns those that are stored.
pub(super) fn stored_query(layout: Layout, schema: &str, server: Server) -> String {
    let table = &layout.tables()[0];
    let id = table.id_column();
    format!("SELECT stored.{id} FROM {}", table.stored(&quote_identifier(schema), server, &id))
}
