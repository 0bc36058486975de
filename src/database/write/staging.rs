//! The staging tables of batches that are compared with stored events.

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
pub(crate) fn keep(table: &Table, stage: &str, stored: &str) -> Option<String> {
    let kept = table.columns.iter().filter(|column| column.keep_on_update);
    let names: Vec<String> = kept.map(|column| quote_identifier(column.name)).collect();
    if names.is_empty() {
        return None;
    }
    let known: Vec<String> =
        names.iter().map(|name| format!("{name} = coalesce(staged.{name}, stored.{name})")).collect();
    let missing: Vec<String> = names.iter().map(|name| format!("staged.{name} IS NULL")).collect();
    let id = table.id_column();
    Some(format!(
        "UPDATE {stage} AS staged SET {} FROM ({stored}) AS stored WHERE staged.{id} = stored.{id} AND ({})",
        known.join(", "),
        missing.join(" OR ")
    ))
}
