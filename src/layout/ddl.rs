//! The DDL of a layout, written from its tables' descriptions.

use super::Layout;
use super::table::{Column, ColumnType, Table};
use crate::kill::Server;
use std::fmt::Write as _;

/// The roles of a player in an event, in the order of the database's enum.
pub(super) const ROLES: [&str; 4] = ["killer", "victim", "participant", "group"];

/// An identifier in the quotes that SQL wants, whatever it holds.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn statements(layout: Layout, schema: &str) -> String {
    let schema = quote_identifier(schema);
    let mut sql = String::new();
    let tables = layout.tables();
    let uses = |kind| tables.iter().flat_map(|table| table.columns).any(|column| column.kind == kind);
    if uses(ColumnType::Server) {
        create_enum(&mut sql, &schema, "albion_server", &Server::ALL.map(Server::name));
    }
    if uses(ColumnType::Role) {
        create_enum(&mut sql, &schema, "kill_role", &ROLES);
    }
    for table in tables {
        create_table(&mut sql, &schema, table);
    }
    sql
}

// Writing to a String can't fail, so that the results of write! are dropped.
fn create_enum(sql: &mut String, schema: &str, name: &str, labels: &[&str]) {
    let labels = labels.join("', '");
    let mut quotes = "$$".to_owned();
    while schema.contains(&quotes) {
        quotes.insert(1, '_');
    }
    let _ = write!(
        sql,
        "DO {quotes} BEGIN\n  CREATE TYPE {schema}.{name} AS ENUM ('{labels}');\n\
         EXCEPTION WHEN duplicate_object THEN NULL;\nEND {quotes};\n\n",
    );
}

fn create_table(sql: &mut String, schema: &str, table: &Table) {
    let _ = writeln!(sql, "CREATE TABLE IF NOT EXISTS {schema}.{} (", table.name);
    for column in table.columns {
        let not_null = if column.needed { " NOT NULL" } else { "" };
        let _ = writeln!(sql, "  {} {}{not_null},", column.name, column_type(schema, column));
    }
    for (name, definition) in table.defaulted {
        let _ = writeln!(sql, "  {name} {definition},");
    }
    let _ = writeln!(sql, "  PRIMARY KEY ({})\n);\n", table.key.join(", "));
    for index in table.indexes {
        let _ = writeln!(
            sql,
            "CREATE INDEX IF NOT EXISTS {}\n  ON {schema}.{} {};\n",
            index.name, table.name, index.definition
        );
    }
}

fn column_type(schema: &str, column: &Column) -> String {
    match column.kind {
        ColumnType::Server => format!("{schema}.albion_server"),
        ColumnType::Role => format!("{schema}.kill_role"),
        ColumnType::Id => "text COLLATE \"C\"".to_owned(),
        ColumnType::Text => "text".to_owned(),
        ColumnType::Int2 => "smallint".to_owned(),
        ColumnType::Int4 => "integer".to_owned(),
        ColumnType::Int8 => "bigint".to_owned(),
        ColumnType::Float8 => "double precision".to_owned(),
        ColumnType::Bool => "boolean".to_owned(),
        ColumnType::Timestamptz => "timestamptz".to_owned(),
        ColumnType::Jsonb => "jsonb".to_owned(),
    }
}
