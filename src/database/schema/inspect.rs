//! Finds missing columns, enum labels and comments, and wrong types.
//!
//! Invariant: an object that can be added without rewriting a row is an [`Addition`]. Every other defect is a misfit, and
//! nothing is changed to fix it.

use crate::database::ledger::comments::LEDGER_COMMENTS;
use crate::database::schema::catalog::{Catalog, FoundColumn, FoundEnum};
use crate::database::schema::ledger_ddl;
use crate::database::schemas::{IS_IN_SCHEMAS, Schemas};
use crate::database::session::client_transaction::GenericClient;
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::ddl::{ROLES, comments};
use crate::layout::identifier::quote_identifier;
use crate::layout::table::{Column, ColumnType, Table, TableOwner};
use postgres::Error;
use std::collections::HashSet;

/// The command that creates or upgrades tables, in texts for a role without the privilege. The commands replace it by the whole
/// command, without the login of that role.
pub(crate) const OWNER_APPLY: &str = "in a shell as the owner: aegis-kills schema apply";

/// A missing object, and the statement that adds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addition {
    /// Its name in messages.
    pub(crate) name: String,
    /// The quoted name of the table or type that it belongs to.
    pub(crate) part_of: String,
    /// Fails unless the role owns the table or the type.
    pub(crate) statement: String,
}

/// The possible additions to existing tables and types. Ignores missing tables.
pub(crate) fn additions(catalog: &Catalog, layout: Layout, schemas: &Schemas) -> Vec<Addition> {
    let mut additions = Vec::new();
    let quoted = quote_identifier(&schemas.tables);
    for table in layout.tables().iter().filter(|table| table.keeper == TableOwner::Us) {
        let found = catalog.columns(table.name);
        if found.is_empty() {
            continue;
        }
        let missing = |name: &str| !found.contains_key(name);
        let optional = table.columns.iter().filter(|column| is_addable(column));
        let optional = optional.map(|column| (column.name, column.definition(&quoted)));
        let defaulted = table.defaulted.iter().map(|(name, definition)| (*name, (*definition).to_owned()));
        for (name, definition) in optional.chain(defaulted).filter(|(name, _)| missing(name)) {
            additions.push(column_addition(&table.in_schema(&quoted), table.name, name, &definition));
        }
    }
    additions.extend(ledger_additions(catalog, &schemas.ledger));
    additions.extend(missing_labels(catalog, layout.tables(), |_| true));
    additions
}

/// A hint at roles that have the missing privilege.
pub(crate) fn remedy(additions: &[Addition]) -> String {
    if additions.is_empty() {
        return format!("\nhint: run {OWNER_APPLY}");
    }
    let statements: Vec<&str> = additions.iter().map(|addition| addition.statement.as_str()).collect();
    // Both end at the end of a command, without quotes around it, so that they can be pasted.
    format!("\nhint: run in psql as the owner: {}; or {OWNER_APPLY}", statements.join("; "))
}

/// The message about a missing label of `server`, if an enum type of these tables lacks it. The database would reject each
/// statement about events of this server.
pub(crate) fn missing_server(
    catalog: &Catalog,
    tables: &[Table],
    schemas: &Schemas,
    server: Server,
) -> Option<String> {
    let labels = missing_labels(catalog, tables, |label| label == server.name());
    let names: Vec<&str> = labels.iter().map(|label| label.name.as_str()).collect();
    (!labels.is_empty()).then(|| {
        let verb = if labels.len() == 1 { "is" } else { "are" };
        format!("{} {verb} missing in {schemas}{}", names.join(", "), remedy(&labels))
    })
}

/// Whether this role owns the tables and types of all additions. It needs USAGE on their schemas.
pub(crate) fn may_add(client: &mut impl GenericClient, additions: &[Addition]) -> Result<bool, Error> {
    let names: Vec<&str> = additions.iter().map(|addition| addition.part_of.as_str()).collect();
    let sql = "SELECT bool_and(pg_has_role(coalesce(c.relowner, t.typowner), 'USAGE')) IS NOT FALSE
         FROM unnest($1::text[]) AS names (name)
         LEFT JOIN pg_class c ON c.oid = to_regclass(names.name)
         LEFT JOIN pg_type t ON t.oid = to_regtype(names.name)";
    client.query_opt(sql, &[&names])?.map_or(Ok(true), |row| row.try_get(0))
}

/// The comments that existing tables and columns lack, as statements. Ignores tables of other roles, because only the owner
/// can run them.
pub(crate) fn missing_comments(
    client: &mut impl GenericClient,
    layout: Layout,
    schemas: &Schemas,
) -> Result<String, Error> {
    let names: Vec<&str> =
        layout.comments().iter().chain(&LEDGER_COMMENTS).map(|comments| comments.table).collect();
    let sql = format!(
        "WITH own AS MATERIALIZED (
           SELECT c.oid, c.relname::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE {IS_IN_SCHEMAS} AND c.relname = ANY ($3::text[]) AND c.relkind IN ('r', 'p')
             AND pg_has_role(c.relowner, 'USAGE'))
         SELECT name, NULL::text FROM own WHERE obj_description(oid, 'pg_class') IS NULL
         UNION ALL
         SELECT own.name, a.attname::text FROM own JOIN pg_attribute a ON a.attrelid = own.oid
         WHERE a.attnum > 0 AND NOT a.attisdropped AND col_description(own.oid, a.attnum) IS NULL"
    );
    let mut lacking = HashSet::<(String, Option<String>)>::new();
    for row in &client.query(&sql, &[&schemas.tables, &schemas.ledger, &names])? {
        lacking.insert((row.try_get(0)?, row.try_get(1)?));
    }
    let is_lacking =
        |table: &str, column: Option<&str>| lacking.contains(&(table.to_owned(), column.map(str::to_owned)));
    let of_tables = comments(layout.comments(), &schemas.tables, is_lacking);
    Ok(of_tables + &comments(&LEDGER_COMMENTS, &schemas.ledger, is_lacking))
}

/// The possible additions to existing tables of the ledger.
fn ledger_additions(catalog: &Catalog, schema: &str) -> Vec<Addition> {
    let mut additions = Vec::new();
    for table in ledger_tables() {
        let found = catalog.columns(&table.name);
        let missing = table.columns.iter().filter(|column| !found.contains_key(&*column.name));
        for column in missing.filter(|column| !found.is_empty() && column.is_addable()) {
            let target = format!("{}.{}", quote_identifier(schema), table.name);
            additions.push(column_addition(&target, &table.name, &column.name, &column.definition));
        }
    }
    additions
}

/// Whether the column can be added to a table with rows, which have no value for it.
pub(crate) fn is_addable(column: &Column) -> bool {
    !column.needed
}

fn column_addition(target: &str, table: &str, name: &str, definition: &str) -> Addition {
    Addition {
        name: format!("the column {table}.{name}"),
        part_of: target.to_owned(),
        statement: format!(
            "ALTER TABLE {target} ADD COLUMN IF NOT EXISTS {} {definition}",
            quote_identifier(name)
        ),
    }
}

/// The missing labels of enum types among those that are needed. The database would reject each event that has a missing
/// label.
fn missing_labels(catalog: &Catalog, tables: &[Table], is_needed: impl Fn(&str) -> bool) -> Vec<Addition> {
    let mut additions: Vec<Addition> = Vec::new();
    for table in tables {
        for column in table.columns {
            let (own_type, wanted) = match column.kind {
                ColumnType::Server => ("albion_server", Server::ALL.map(Server::name).to_vec()),
                ColumnType::Role => ("kill_role", ROLES.to_vec()),
                _ => continue,
            };
            let is_used = |found: &&FoundEnum| {
                if catalog.has(table.name) {
                    found.table == table.name && found.column == column.name
                } else {
                    // The table will be created with it.
                    found.table.is_empty() && found.name == own_type
                }
            };
            let found = catalog.enums.iter().find(is_used);
            let Some(FoundEnum { schema, name, labels: found, .. }) = found else { continue };
            let kind = format!("{}.{}", quote_identifier(schema), quote_identifier(name));
            let is_missing = |label: &str| !found.iter().any(|found| found == label);
            for label in wanted.into_iter().filter(|label| is_needed(label) && is_missing(label)) {
                let statement = format!("ALTER TYPE {kind} ADD VALUE IF NOT EXISTS '{label}'");
                let name = format!("the label '{label}' of {name}");
                let addition = Addition { name, part_of: kind.clone(), statement };
                if !additions.contains(&addition) {
                    additions.push(addition);
                }
            }
        }
    }
    additions
}

/// The message about missing columns of a table, if there are any.
pub(crate) fn lacking(table: &str, missing: &[&str]) -> Option<String> {
    match missing {
        [] => None,
        [one] => Some(format!("{table} has no column {one}")),
        several => Some(format!("{table} lacks the columns {}", several.join(", "))),
    }
}

/// The message about a column that the database generates, if it is one: no statement can write it.
pub(crate) fn generated(table: &str, column: &str, found: &FoundColumn) -> Option<String> {
    found.is_generated.then(|| format!("{table}.{column} is a generated column, a plain one is needed"))
}

/// Adds the misfits of existing ledger tables to `misfits`.
pub(crate) fn ledger_misfits(catalog: &Catalog, misfits: &mut Vec<String>) {
    let is_other = |name: &str| catalog.relations.get(name).is_some_and(|relation| !relation.is_table);
    let tables = ledger_tables();
    let mut others: Vec<&str> =
        tables.iter().map(|table| &*table.name).filter(|name| is_other(name)).collect();
    others.sort_unstable();
    misfits.extend(others.iter().map(|name| format!("{name} is not a table")));
    for table in &tables {
        let mut found = catalog.columns(&table.name);
        if found.is_empty() || is_other(&table.name) {
            continue;
        }
        let mut missing = Vec::new();
        for column in &table.columns {
            match found.remove(&*column.name) {
                None if column.is_addable() => {}
                None => missing.push(&*column.name),
                Some(FoundColumn { kind, .. }) if *kind != column.kind => misfits.push(format!(
                    "{}.{} is of type {kind}, {} is needed",
                    table.name, column.name, column.kind
                )),
                Some(found) => misfits.extend(generated(&table.name, &column.name, found)),
            }
        }
        misfits.extend(lacking(&table.name, &missing));
        for (column, _) in found.iter().filter(|(_, found)| found.must_be_given) {
            misfits.push(format!(
                "{} has a column {column} that is unknown, NOT NULL and without a default",
                table.name
            ));
        }
        if !catalog.has_key_of(&table.name, &table.key) {
            misfits.push(format!("{} has no unique key ({})", table.name, table.key.join(", ")));
        }
    }
}

#[derive(Debug)]
pub(crate) struct LedgerTable {
    pub(crate) name: String,
    columns: Vec<LedgerColumn>,
    /// The columns of its primary key.
    key: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct LedgerColumn {
    pub(crate) name: String,
    /// The text after the name in the DDL.
    definition: String,
    /// Its type, as in `pg_type.typname`.
    kind: String,
}

impl LedgerColumn {
    /// Whether the column can be added to a table with rows, which have no value for it.
    fn is_addable(&self) -> bool {
        !self.definition.contains("NOT NULL") || self.definition.contains("DEFAULT")
    }
}

/// The ledger's tables, parsed from their DDL, which is the only definition.
pub(crate) fn ledger_tables() -> Vec<LedgerTable> {
    let mut tables: Vec<LedgerTable> = Vec::new();
    let ddl = ledger_ddl::ddl("x");
    let mut is_within = false;
    for line in ddl.lines() {
        if let Some(name) = line.strip_prefix("CREATE TABLE IF NOT EXISTS \"x\".") {
            let name = name.trim_end_matches(" (").to_owned();
            tables.push(LedgerTable { name, columns: Vec::new(), key: Vec::new() });
            is_within = true;
        } else if line.starts_with(')') {
            is_within = false;
        } else if let (true, Some(table)) = (is_within, tables.last_mut()) {
            if let Some(columns) = line.strip_prefix("  PRIMARY KEY (") {
                let columns = columns.trim_end_matches([')', ',']).split(", ");
                table.key = columns.map(str::to_owned).collect();
            } else if let Some(column) = ledger_column(line) {
                if column.definition.ends_with("PRIMARY KEY") {
                    table.key = vec![column.name.clone()];
                }
                table.columns.push(column);
            }
        }
    }
    tables
}

/// The column in a line of DDL; `None` for keys and the end of the table.
fn ledger_column(line: &str) -> Option<LedgerColumn> {
    let (name, definition) = line.strip_prefix("  ")?.trim_end_matches(',').split_once(' ')?;
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let kind = match definition.split(' ').next()? {
        "bigint" => "int8".to_owned(),
        "integer" | "int" => "int4".to_owned(),
        "boolean" => "bool".to_owned(),
        kind => kind.strip_suffix("[]").map_or_else(|| kind.to_owned(), |element| format!("_{element}")),
    };
    Some(LedgerColumn { name: name.to_owned(), definition: definition.to_owned(), kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_and_column_of_the_ledger_has_a_comment() {
        let all = comments(&LEDGER_COMMENTS, "x", |_, _| true);
        let mut wanted = 0;
        for table in ledger_tables() {
            let columns =
                table.columns.iter().map(|column| format!("COLUMN \"x\".{}.{}", table.name, column.name));
            for object in columns.chain([format!("TABLE \"x\".{}", table.name)]) {
                assert!(all.contains(&format!("COMMENT ON {object} IS '")), "{object}");
                wanted += 1;
            }
        }
        assert_eq!(all.lines().filter(|line| !line.is_empty()).count(), wanted);
    }

    #[test]
    fn ledger_tables_are_parsed_from_the_ddl() {
        let tables = ledger_tables();
        let table =
            |name: &str| tables.iter().find(|table| table.name == name).expect("a table of the ledger");
        let column = |table: &LedgerTable, name: &str| {
            let found = table.columns.iter().find(|column| column.name == name).expect("a column");
            (found.kind.clone(), found.is_addable())
        };
        let (run, segment) = (table("kill_load_run"), table("kill_load_segment"));
        assert_eq!(column(run, "sources"), ("_text".to_owned(), false));
        assert_eq!(column(run, "error"), ("text".to_owned(), true));
        assert_eq!(column(run, "lines"), ("int8".to_owned(), true));
        assert_eq!(column(segment, "hash"), ("bytea".to_owned(), false));
        assert!(segment.columns.iter().all(|column| column.name != "PRIMARY"));
        assert_eq!((&*run.key.join(" "), &*segment.key.join(" ")), ("id", "hash server layout"));
        assert_eq!(table("kill_load_file").key.join(" "), "name server layout reading");
    }
}
