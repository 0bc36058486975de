//! The staging tables of batches that are compared with stored events.

use crate::event::server::Server;
use crate::layout::identifier::quote_identifier;
use crate::layout::table::Table;

/// The staging table of the layout's `number`th table.
pub(crate) fn stage(number: usize) -> String {
    format!("pg_temp.{}", stage_name(number))
}

/// The same name without its schema.
pub(crate) fn stage_name(number: usize) -> String {
    format!("aegis_kills_update_{number}")
}

/// The statement that replaces NULLs in staged rows by the stored values, for columns with `keep_on_update`. Later
/// statements then treat these values as staged.
///
/// It looks up each row by its key. In a join, the planner could look up all events once per staged row, because it knows
/// nothing about new staging tables.
pub(crate) fn keep(table: &Table, schema: &str, server: Server, stage: &str) -> Option<String> {
    let kept = table.columns.iter().filter(|column| column.keep_on_update);
    let names: Vec<String> = kept.map(|column| quote_identifier(column.name)).collect();
    if names.is_empty() {
        return None;
    }
    let stored = |name: &str| table.select_by_key(schema, server, name);
    let known: Vec<String> =
        names.iter().map(|name| format!("{name} = coalesce(found.{name}, ({}))", stored(name))).collect();
    let missing: Vec<String> = names.iter().map(|name| format!("found.{name} IS NULL")).collect();
    Some(format!("UPDATE {stage} AS found SET {} WHERE {}", known.join(", "), missing.join(" OR ")))
}
