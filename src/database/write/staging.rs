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
/// statements then treat these values as staged. `None` if there are no such columns.
///
/// `stored` returns the stored value of a column, and `of_rows` the clauses after SET for a condition. In both, `alias` is
/// the staged row.
pub(crate) fn keep(
    table: &Table,
    stage: &str,
    alias: &str,
    stored: impl Fn(&str) -> String,
    of_rows: impl FnOnce(&str) -> String,
) -> Option<String> {
    let kept = table.columns.iter().filter(|column| column.keep_on_update);
    let names: Vec<String> = kept.map(|column| quote_identifier(column.name)).collect();
    let known = names.iter().map(|name| format!("{name} = coalesce({alias}.{name}, {})", stored(name)));
    let known = known.collect::<Vec<_>>().join(", ");
    let missing: Vec<String> = names.iter().map(|name| format!("{alias}.{name} IS NULL")).collect();
    let of_rows = of_rows(&missing.join(" OR "));
    (!names.is_empty()).then(|| format!("UPDATE {stage} AS {alias} SET {known} {of_rows}"))
}
