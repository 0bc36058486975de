//! The statements that write the rows of a difference table, and the checks that they had an effect.
//!
//! The server counts a row as updated although a trigger has kept its old values, or has changed its key or deleted it
//! afterwards. So in tables with triggers or rules the rows are looked up after the writes. A trigger may change the values
//! of a row, for example to normalize them.

use crate::database::failure::classify::ErrorClass;
use crate::database::failure::error::DatabaseError;
use crate::database::session::client_transaction::{SqlValues, first_column};
use crate::database::session::transaction::Transaction;
use crate::event::server::Server;
use crate::layout::identifier::{quote_identifier, quoted_list};
use crate::layout::table::Table;
use std::collections::HashMap;

/// The statements that write rows of a difference table.
#[derive(Debug)]
pub(crate) struct DifferenceWrite {
    delete: CheckedWrite,
    update: CheckedWrite,
    insert: CheckedWrite,
    /// Selects the events of deleted rows that are in the table again.
    returned: String,
    /// Selects the updated rows that are not under their keys or have their old values: event, key, and the place of the
    /// batch's values in the difference table. Of a row that is not under its key the place is NULL.
    ineffective: String,
    /// Selects the keys of the rows at places in the difference table that an INSERT stores as they are stored now.
    as_inserted: String,
}

#[derive(Debug)]
struct CheckedWrite {
    sql: String,
    /// Selects the events of rows that `sql` should have written, and did not.
    dropped: String,
}

/// The numbers of rows of a table to delete, to update and to insert.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowsToWrite {
    pub(crate) gone: u64,
    pub(crate) stored: u64,
    pub(crate) new: u64,
}

/// Quoted columns of `of`, which ends with a dot, separated by commas.
pub(crate) fn columns_of(of: &str, names: &[&str]) -> String {
    let names = names.iter().map(|name| format!("{of}{}", quote_identifier(name)));
    names.collect::<Vec<_>>().join(", ")
}

/// The columns outside of the key.
fn values_of(table: &Table) -> Vec<&'static str> {
    let names = table.columns.iter().map(|column| column.name);
    names.filter(|name| !table.key.contains(name)).collect()
}

/// The condition that the row `target` is at the place of the row `found` of a difference table.
const IS_PLACE: &str = "target.ctid = found.place AND target.tableoid = found.part";

/// The statement that adds the old values of the rows to update to a difference table. Their `gone` is NULL, and their
/// `place` is that of the batch's values in the difference table.
pub(crate) fn add_old(table: &Table, schema: &str, differences: &str) -> String {
    let all: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    format!(
        "INSERT INTO {differences} ({}, place, gone)
         SELECT {}, found.ctid, NULL::boolean FROM {differences} AS found, {} AS target
         WHERE NOT found.gone AND {IS_PLACE}",
        quoted_list(&all),
        columns_of("target.", &all),
        table.in_schema(schema)
    )
}

impl DifferenceWrite {
    /// The statements for the rows of `differences` that fulfill `which`, a condition that follows others. `schema` is
    /// quoted.
    pub(crate) fn new(table: &Table, schema: &str, server: Server, differences: &str, which: &str) -> Self {
        let (target, columns, id) = (table.in_schema(schema), table.column_list(), table.id_column());
        let (place, values) = (table.select_place(schema, server), values_of(table));
        let (is_gone, is_changed) =
            (format!("found.gone AND {IS_PLACE}{which}"), format!("NOT found.gone AND {IS_PLACE}{which}"));
        let is_new = format!("NOT found.gone AND found.place IS NULL{which}");
        // A deleted row and the old version of an updated row are invisible, so a visible row at the same place is unchanged.
        let unchanged = |condition: &str| {
            format!("SELECT found.{id} FROM {differences} AS found, {target} AS target WHERE {condition}")
        };
        let names = quoted_list(&values);
        let set = |of: &str| format!("({names}) = ROW ({})", columns_of(of, &values));
        let is_same = |one: &str, other: &str| {
            format!(
                "ROW ({}) IS NOT DISTINCT FROM ROW ({})",
                columns_of(one, &values),
                columns_of(other, &values)
            )
        };
        Self {
            delete: CheckedWrite {
                sql: format!("DELETE FROM {target} AS target USING {differences} AS found WHERE {is_gone}"),
                dropped: unchanged(&is_gone),
            },
            update: CheckedWrite {
                sql: format!(
                    "UPDATE {target} AS target SET {} FROM {differences} AS found WHERE {is_changed}",
                    set("found.")
                ),
                dropped: unchanged(&is_changed),
            },
            insert: CheckedWrite {
                sql: format!(
                    "INSERT INTO {target} ({columns}) SELECT {columns} FROM {differences} AS found
                     WHERE {is_new} ORDER BY {id}"
                ),
                dropped: format!(
                    "SELECT found.{id} FROM {differences} AS found LEFT JOIN LATERAL ({place}) AS stored ON true
                     WHERE {is_new} AND stored.place IS NULL"
                ),
            },
            returned: format!(
                "SELECT found.{id} FROM {differences} AS found CROSS JOIN LATERAL ({place}) AS stored
                 WHERE found.gone{which}"
            ),
            ineffective: format!(
                "SELECT found.{id}, ROW ({})::text, CASE WHEN stored.is_there THEN found.place::text END
                 FROM {differences} AS found LEFT JOIN LATERAL ({}) AS stored ON true
                 WHERE found.gone IS NULL{which} AND (stored.is_there IS NULL OR {})",
                columns_of("found.", table.key),
                table.select_by_key(schema, server, &format!("{names}, true AS is_there")),
                is_same("stored.", "found.")
            ),
            as_inserted: format!(
                "INSERT INTO {target} AS stored ({columns}) SELECT {columns} FROM {differences} AS found
                 WHERE found.ctid = ANY ($1::text[]::tid[]) ORDER BY {id}
                 ON CONFLICT ({}) DO UPDATE SET {} WHERE {} RETURNING ROW ({})::text",
                quoted_list(table.key),
                set("excluded."),
                is_same("stored.", "excluded."),
                columns_of("stored.", table.key)
            ),
        }
    }

    /// Writes rows. Fails if a trigger or rule drops one, or returns a deleted one if `has_code`. The error names the events
    /// of all such rows.
    pub(crate) fn run(
        &self,
        transaction: &mut Transaction<'_>,
        rows: RowsToWrite,
        values: &SqlValues<'_>,
        has_code: bool,
    ) -> Result<(), DatabaseError> {
        let RowsToWrite { gone, stored, new } = rows;
        // Deletes first, because users may have added unique keys.
        self.delete.run(transaction, gone, values)?;
        if has_code && gone > 0 {
            // At once: a trigger may store the row of another key under this one later.
            let returned = transaction.query(&self.returned, values)?;
            if !returned.is_empty() {
                return Err(DatabaseError::Dropped(first_column(&returned)?));
            }
        }
        self.update.run(transaction, stored, values)?;
        self.insert.run(transaction, new, values)
    }

    /// Fails if updated rows are not under their keys, or have their old values. The latter is no failure if an INSERT would
    /// store these, too: then a trigger has changed the values of the batch into them.
    pub(crate) fn check(
        &self,
        transaction: &mut Transaction<'_>,
        values: &SqlValues<'_>,
    ) -> Result<(), DatabaseError> {
        let (mut lost, mut places, mut unchanged) = (Vec::new(), Vec::new(), HashMap::new());
        for row in transaction.query(&self.ineffective, values)? {
            let (event, key): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
            match row.try_get::<_, Option<String>>(2)? {
                Some(place) => {
                    unchanged.insert(key, event);
                    places.push(place);
                }
                None => lost.push(event),
            }
        }
        if !lost.is_empty() {
            return Err(DatabaseError::Altered(lost));
        }
        if places.is_empty() {
            return Ok(());
        }
        for key in self.stored_by_insert(transaction, &places)? {
            unchanged.remove(&key);
        }
        if unchanged.is_empty() {
            Ok(())
        } else {
            Err(DatabaseError::Dropped(unchanged.into_values().collect()))
        }
    }

    /// Tries to insert the rows at these places of the difference table. Returns the keys of those that an INSERT stores as
    /// they are stored now.
    fn stored_by_insert(
        &self,
        transaction: &mut Transaction<'_>,
        places: &[String],
    ) -> Result<Vec<String>, DatabaseError> {
        let mut savepoint = transaction.savepoint()?;
        let keys = match savepoint.move_returning(&self.as_inserted, &[&places]) {
            Ok(rows) => first_column(&rows)?,
            // A trigger refuses them, or the table has rules, which exclude ON CONFLICT.
            Err(error) if matches!(error.class(), ErrorClass::Data | ErrorClass::Fatal) => Vec::new(),
            Err(error) => return Err(error),
        };
        savepoint.rollback()?;
        Ok(keys)
    }
}

impl CheckedWrite {
    /// Writes this number of rows. The error names the events of all rows that a trigger or rule drops.
    fn run(
        &self,
        transaction: &mut Transaction<'_>,
        rows: u64,
        values: &SqlValues<'_>,
    ) -> Result<(), DatabaseError> {
        if rows > 0 && transaction.move_rows(&self.sql, values)? != rows {
            let dropped = transaction.query(&self.dropped, values)?;
            return Err(DatabaseError::Dropped(first_column(&dropped)?));
        }
        Ok(())
    }
}
